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
