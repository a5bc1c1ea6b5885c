"""The instructions in raw rows of data files, without inputs and answers: what self-instruct filters and compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

TURNS = ("messages", "conversations", "prompt")


class Instruction(NamedTuple):
    """An instruction and where it stands."""

    text: str
    file: str
    number: int
    """Of the row in its file, from 1."""
    row: Mapping[str, Any]


def instruction_of(row: Mapping[str, Any]) -> str | None:
    """`instruction` of an Alpaca row, else the user's first turn in a list of turns, else a prompt in plain text."""
    if isinstance(row.get("instruction"), str):
        return row["instruction"]
    for name in TURNS:
        value = row.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return _first_of_the_user(value)
    return None


def distinct(instructions: Iterable[Instruction]) -> tuple[list[Instruction], int]:
    """Rows that repeat an earlier one in full are dropped; their number."""
    seen: set[str] = set()
    kept = []
    count = 0
    for found in instructions:
        count += 1
        content = repr(sorted(found.row.items()))
        if content not in seen:
            seen.add(content)
            kept.append(found)
    return kept, count - len(kept)


def _first_of_the_user(turns: list[Any]) -> str | None:
    for turn in turns:
        if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in ("user", "human"):
            content = turn.get("content", turn.get("value"))
            return content if isinstance(content, str) else None
    return None
