"""Rows of benchmark files, with errors that say where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camelid.rows import read_rows

Rows = list[dict[str, Any]]


def json_lines(*columns: str) -> Callable[[Path], Rows]:
    """A reader of files whose rows have at least `columns`."""

    def read(path: Path) -> Rows:
        rows = read_rows(path, ", ".join(columns))
        for _, place, values in rows:
            check_columns(values, columns, place)
        return [row.values for row in rows]

    return read


def check_columns(row: dict[str, Any], columns: tuple[str, ...], place: str) -> None:
    """Raise ValueError naming the columns that a row lacks, and those it has."""
    missing = [name for name in columns if row.get(name) is None]
    if missing:
        raise ValueError(f"{place}: no {', '.join(missing)}; the row has {', '.join(map(str, row)) or 'nothing'}")


def check_gold(gold: Any, num_choices: int, place: str) -> int:
    """The number of the right choice. Raises ValueError where it is none."""
    if not isinstance(gold, int) or not 0 <= gold < num_choices:
        raise ValueError(f"{place}: the right choice is {gold!r}, which is none of 0 to {num_choices - 1}")
    return gold
