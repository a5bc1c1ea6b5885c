"""The records that stages exchange: frozen, JSON-able, each with an id, a source and a licence.

Files on disk are JSON Lines of these records, nothing else; foreign formats are converted at the border (`collect/`).
Imports no torch, so that people who only collect, annotate or read need none.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from camelid.durable import write_synced

Role = Literal["system", "user", "assistant"]
TRAIN_LAST = "train-last"
"""Tag of a conversation of which the last answer alone trains, whatever else would: a row of Ghost Attention beside
rows of which every answer does. A tag, since tags are no part of a row's id."""
Rating = Literal["significantly better", "better", "slightly better", "negligibly better"]
RATINGS: tuple[Rating, ...] = ("significantly better", "better", "slightly better", "negligibly better")
"""LLaMA-2's four degrees of preference (arXiv:2307.09288, section 3.2.1), strongest first."""


class Record(BaseModel):
    """Base of all records. Unknown keys are errors: a misspelt field must not vanish in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = ""
    """Stable name of the row; left empty, it is the hash of the row's content."""
    source: str = ""
    """Where the row comes from: a data set, a file, a person, a model."""
    licence: str = ""
    """SPDX name of the licence, or empty if nobody stated one."""
    tags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _name_by_content(self) -> Self:
        if not self.id:
            content = self.model_dump(exclude={"id", "source", "licence", "tags"})
            object.__setattr__(self, "id", content_hash(content)[:16])
        return self


Kind = Literal["helpfulness", "safety"]
"""What a comparison was judged on."""


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str


Messages = tuple[Message, ...]


def check_turns(messages: Messages, *, last: Role) -> None:
    """Raise ValueError unless `messages` is [system], then user and assistant in turn, ending with a turn of `last`."""
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise ValueError("a conversation needs at least one user turn")
    for i, message in enumerate(turns):
        expected = "user" if i % 2 == 0 else "assistant"
        if message.role != expected:
            raise ValueError(f"turn {i + 1} is by {message.role!r} where {expected!r} was due; merge or drop that turn")
        if not message.content.strip():
            raise ValueError(f"turn {i + 1} ({message.role}) is empty")
    if turns[-1].role != last:
        raise ValueError(f"the last turn must be by {last!r}, not {turns[-1].role!r}")


def as_text(messages: Messages) -> str:
    """A conversation for a reader: one turn as it is, several with the role before each."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in messages)


class Conversation(Record):
    """A demonstration: a whole conversation that ends with the assistant."""

    messages: Messages

    @model_validator(mode="after")
    def _turns(self) -> Self:
        check_turns(self.messages, last="assistant")
        return self


class Prompt(Record):
    """A conversation that waits for the assistant's turn."""

    prompt: Messages
    answer: str = ""
    """What a verifiable reward compares with: the right answer, a regular expression, or a test program. Where it is
    empty it is not written, so that rows without one keep their id."""

    @model_serializer(mode="wrap")
    def _without_an_empty_answer(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row = write(self)
        if not row.get("answer"):
            row.pop("answer", None)
        return row

    @model_validator(mode="after")
    def _turns(self) -> Self:
        check_turns(self.prompt, last="user")
        return self


class Comparison(Prompt):
    """Two completions of one prompt before anybody judged them, in the order in which they are shown."""

    first: str
    second: str
    first_model: str = ""
    second_model: str = ""


class Preference(Prompt):
    """A verdict: which of two completions is better, by how much, and whether each is safe."""

    chosen: str
    rejected: str
    rating: Rating | None = None
    """How much better; None where the source does not say (it then trains without a margin)."""
    kind: Kind = "helpfulness"
    chosen_safe: bool | None = None
    rejected_safe: bool | None = None
    annotator: str = ""
    """Who judged: a person's pseudonym, a judge model, a reward model's artifact."""


class Ranking(Prompt):
    """A verdict on K completions of one prompt: their order, and whether each is safe. K = 2 says what a pair does."""

    completions: tuple[str, ...]
    ranks: tuple[int, ...]
    """One a completion; the smallest is the best, equal ones are ties."""
    kind: Kind = "helpfulness"
    safe: tuple[bool | None, ...] = ()
    """One a completion; left empty, nobody said."""
    annotator: str = ""
    """As in `Preference`."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        number = len(self.completions)
        for name, given in (("ranks", self.ranks), ("safe", self.safe or self.completions)):
            if len(given) != number:
                raise ValueError(f"{len(given)} {name} for {number} completions; give one for each")
        if len(set(self.ranks)) < 2:
            raise ValueError(f"ranks {list(self.ranks)} put nothing before anything else; leave the row out")
        of_text: dict[str, int] = {}
        for text, rank in zip(self.completions, self.ranks, strict=True):
            if of_text.setdefault(text, rank) != rank:
                raise ValueError(f"one completion has the ranks {of_text[text]} and {rank}; give equal texts one rank")
        return self

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(better, worse) completions by their places, K (K - 1) / 2 of them less those that are tied."""
        places = range(len(self.ranks))
        return tuple((i, j) for i in places for j in places if self.ranks[i] < self.ranks[j])

    def preferences(self) -> tuple[Preference, ...]:
        """A preference for each of `pairs`, in their order."""
        safe = self.safe or (None,) * len(self.completions)
        return tuple(
            Preference(
                id=f"{self.id}-{i}-{j}",
                source=self.source,
                licence=self.licence,
                tags=self.tags,
                prompt=self.prompt,
                chosen=self.completions[i],
                rejected=self.completions[j],
                kind=self.kind,
                chosen_safe=safe[i],
                rejected_safe=safe[j],
                annotator=self.annotator,
            )
            for i, j in self.pairs
        )


class Rule(Record):
    """One thing that the assistant must not do, in plain language (Glaese et al. 2022, arXiv:2209.14375)."""

    text: str
    """What models and people read."""
    topic: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.text.strip():
            raise ValueError(f"rule {self.id!r} has no text")
        return self


class RuleJudgement(Prompt):
    """Whether a completion breaks one rule."""

    completion: str
    rule: str
    """Id of the rule."""
    violated: float
    """1 where the rule is broken, 0 where it is kept; in between, the share of raters who say broken."""
    annotator: str = ""
    """Who judged: a person's pseudonym, a data set's raters, a model's artifact."""
    proxy: str = ""
    """The label that stands for this rule, where nobody was asked about the rule itself; empty where somebody was."""

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        if not 0 <= self.violated <= 1:
            raise ValueError(f"violated is {self.violated}; it must lie in [0, 1]: 1 broken, 0 kept")
        if not self.rule:
            raise ValueError("rule is empty; name the rule by its id")
        return self


KINDS: dict[str, type[Record]] = {
    "conversations": Conversation,
    "preferences": Preference,
    "prompts": Prompt,
    "rankings": Ranking,
}
"""Records that files are made of, by the name that settings and commands give them."""


def kind_of(record: Record) -> Kind:
    """What a row is about: a verdict says so itself, anything else by its tags `unsafe` and `borderline`."""
    if isinstance(record, Preference | Ranking):
        return record.kind
    return "safety" if {"unsafe", "borderline"} & set(record.tags) else "helpfulness"


def prompt_name(prompt: Messages) -> str:
    """A short name of a prompt by its content, the same in all rows about it."""
    return content_hash([message.model_dump() for message in prompt])[:12]


R = TypeVar("R", bound=Record)
T = TypeVar("T")


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON-able value in its canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_records(path: str | os.PathLike[str], record: type[R]) -> list[R]:
    """All rows of a JSON Lines file of `record`. Raises ValueError with file, line and reason on the first bad row."""
    rows = []
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(record.model_validate_json(line))
            except ValidationError as error:
                raise ValueError(
                    f"{path}, line {number}: not a {record.__name__}: {reasons(error)}. "
                    f"Convert foreign formats with `camelid data convert`."
                ) from None
    return rows


def reasons(error: ValidationError) -> str:
    """A validation error in one line: which field, what is wrong with it."""
    parts = []
    for item in error.errors():
        place = ".".join(str(p) for p in item["loc"])
        parts.append(f"{place}: {item['msg']}" if place else item["msg"].removeprefix("Value error, "))
    return "; ".join(parts)


def write_records(path: str | os.PathLike[str], rows: Iterable[BaseModel]) -> int:
    """Write rows as JSON Lines, whole or not at all (written aside, then renamed). Returns the number of rows."""
    return write_synced(Path(path), (row.model_dump_json() for row in rows))


def draw(rows: Sequence[T], number: int, seed: int) -> list[T]:
    """At most `number` rows (0: all) in their old order, drawn so that a larger draw contains a smaller one."""
    if not number:
        return list(rows)
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    return [rows[i] for i in sorted(order[:number])]


def iterate_json_lines(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file as plain dictionaries (metrics, samples)."""
    with Path(path).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
