"""What the stages that choose among rows share: reading the pool, the texts of a row, rows set aside with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from camelid.parts import answers_of, messages_of
from camelid.runs import Run
from camelid.types import KINDS, Conversation, Record, read_records


class SetAside(BaseModel):
    """A row that was not kept, and why: `reason: detail`."""

    model_config = ConfigDict(frozen=True)

    id: str
    reason: str
    row: dict[str, Any]

    @property
    def category(self) -> str:
        return self.reason.partition(":")[0]


def by_reason(rows: Iterable[SetAside]) -> dict[str, int]:
    """How many rows each reason set aside, the most frequent first."""
    return dict(Counter(row.category for row in rows).most_common())


def files_of(value: Path | Sequence[Path]) -> list[Path]:
    """An input as a list."""
    return [value] if isinstance(value, Path) else list(value)


def read_pool(run: Run, kind: str) -> list[Record]:
    """All rows of the input `rows`. Raises ValueError where there are none."""
    files = files_of(run.inputs["rows"])
    rows = [row for file in files for row in read_records(file, KINDS[kind])]
    if not rows:
        raise ValueError(f"no row in {', '.join(map(str, files))}: nothing to choose from")
    return rows


def instruction_of(row: Record) -> str:
    """The first turn of the user."""
    return next((message.content for message in messages_of(row) if message.role == "user"), "")


def answers_in(row: Record) -> list[str]:
    """All turns of the assistant, and the answers that a verdict is about."""
    said = [message.content for message in messages_of(row) if message.role == "assistant"]
    return said if isinstance(row, Conversation) else [*said, *answers_of(row)]


def text_of_row(row: Record) -> str:
    """All turns and answers of a row, one under the other, without the roles."""
    answers = () if isinstance(row, Conversation) else answers_of(row)
    return "\n".join([*(message.content for message in messages_of(row)), *answers])
