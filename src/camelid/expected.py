"""What stages read, or will read once the stages before them have run: rows and their lengths, sizes of models.

Tokens are counted by a rule, not by a tokenizer: a plan must cost nothing. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from camelid.collect.readers import look, read
from camelid.models.shape import Shape
from camelid.parts import answers_of, messages_of
from camelid.runs import Input, Output, Stage
from camelid.types import Conversation, Record

BYTES_A_TOKEN = 4.0
"""SmolLM2's tokenizer on the starter set: 3.95 to 4.13 bytes of English a token. Other languages give fewer."""
TOKENS_A_TURN = 5
"""What a chat format writes around a turn; ChatML's `<|im_start|>user\\n` and `<|im_end|>\\n`."""


class Rows(NamedTuple):
    """A file of rows, as far as costs depend on it: mean lengths, in tokens."""

    number: float
    prompt_tokens: float
    answer_tokens: float = 0.0
    """Of one answer: a conversation's last turn, one side of a pair."""
    answers: float = 1.0
    """Answers a row, counted where the rows are there: a pair has two, a ranking as many as were put in order."""

    @property
    def tokens(self) -> float:
        """A prompt with one answer."""
        return self.prompt_tokens + self.answer_tokens

    def first(self, number: float) -> Rows:
        """At most so many of the rows; 0 for all."""
        return self._replace(number=min(self.number, number or self.number))

    @classmethod
    def join(cls, parts: list[Rows]) -> Rows:
        """Several files as one."""
        number = sum(part.number for part in parts)
        prompts = sum(part.number * part.prompt_tokens for part in parts)
        answers = sum(part.number * part.answer_tokens for part in parts)
        each = sum(part.number * part.answers for part in parts)
        return cls(number, *(total / max(number, 1) for total in (prompts, answers, each)))

    @classmethod
    def of(cls, records: list[Any]) -> Rows:
        """Counted by bytes and turns."""
        prompts = [_prompt_tokens(record) for record in records]
        answers = [tokens_of(answer) for record in records for answer in answers_of(record)]
        prompt, answer = (sum(lengths) / max(len(lengths), 1) for lengths in (prompts, answers))
        return cls(len(records), prompt, answer, len(answers) / max(len(records), 1))


def _prompt_tokens(record: Record) -> float:
    turns = messages_of(record)
    return sum(tokens_of(m.content) for m in (turns[:-1] if isinstance(record, Conversation) else turns))


def tokens_of(text: str) -> float:
    return len(text.encode()) / BYTES_A_TOKEN + TOKENS_A_TURN


class UnknownError(Exception):
    """Something that is not there, or left by a stage of a kind that TABLE does not have."""


Left = dict[str, Rows | Shape]
"""What a stage will leave, by file or folder."""


@dataclass
class Known:
    """What stages read: files that are there, and what stages that have not run yet will leave."""

    finished: Mapping[str, Path]
    left: dict[str, Left] = field(default_factory=dict)
    in_place: Rows | None = None
    """What rows are taken to be that a stage was not given; None where all must be given."""

    def rows(self, source: Input) -> Rows:
        """Rows of a file of records. Raises UnknownError."""
        if isinstance(source, Output) and source.stage not in self.finished:
            return self._expected(source, Rows)
        path = self._path(source)
        return Rows.of(read(path, want=look(path)[1]).rows)

    def shape(self, source: Input) -> Shape:
        """Size of a model. Raises UnknownError."""
        if isinstance(source, Output) and source.stage not in self.finished:
            return self._expected(source, Shape)
        return Shape.read(self._path(source))

    def _path(self, source: Input) -> Path:
        return self.finished[source.stage] / source.file if isinstance(source, Output) else source

    def _expected(self, source: Output, kind: type) -> Any:
        expected = self.left.get(source.stage, {}).get(source.file)
        if not isinstance(expected, kind):
            raise UnknownError(f"{source.stage}/{source.file}")
        return expected


@dataclass
class Reads:
    """The inputs of one stage, as its estimate sees them."""

    stage: Stage
    known: Known

    def __contains__(self, name: str) -> bool:
        return name in self.stage.inputs

    def sources(self, name: str) -> list[Input]:
        """An input as a list. Raises ValueError where the stage has none of this name."""
        if name not in self and not name.endswith("model") and self.known.in_place is not None:
            raise UnknownError(f"no {name} given")
        if name not in self.stage.inputs:
            raise ValueError(f"stage {self.stage.name!r} has no input {name!r}; it has {', '.join(self.stage.inputs)}")
        value = self.stage.inputs[name]
        return [value] if isinstance(value, Input) else list(value)

    def rows(self, name: str) -> Rows:
        if name not in self and self.known.in_place is not None:
            return self.known.in_place
        return Rows.join([self.known.rows(source) for source in self.sources(name)])

    def shape(self, name: str) -> Shape:
        return self.known.shape(self.sources(name)[0])
