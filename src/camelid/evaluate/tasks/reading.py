"""Rows of benchmark files, with errors that say where."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def json_lines(*columns: str) -> Callable[[Path], Rows]:
    """A reader of JSON Lines whose rows have at least `columns`."""

    def read(path: Path) -> Rows:
        rows = []
        # Not splitlines(): it would also split at U+2028 inside a string.
        for number, line in enumerate(_text(path).split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error}); is this a .jsonl file?") from None
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: not an object, but {type(row).__name__}")
            check_columns(row, columns, f"{path}, line {number}")
            rows.append(row)
        return rows

    return read


def _text(path: Path) -> str:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return content.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text ({type(error).__name__}: {error})") from None


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
