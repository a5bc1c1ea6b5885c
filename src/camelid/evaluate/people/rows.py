"""Rows of a table of verdicts: JSON, JSON Lines, CSV. JSON may be an array, or hold one under `data` or `verdicts`.

CSV may come back from a spreadsheet: with a byte order mark, or with semicolons or tabs between the fields. Values stay
as they are; what they mean is the business of the caller.
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

MAX_FIELD = 10_000_000
"""Characters in one field of a CSV file; answers can be longer than the csv module's own limit."""


class Row(NamedTuple):
    """One row, and where it stands in its file: counted from 1, without the header."""

    number: int
    values: dict[str, Any]


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """All rows of a file. Raises ValueError with file and place where it holds none, or something else."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; in a spreadsheet, save as CSV in UTF-8") from None
    if not text.strip():
        raise ValueError(f"{path} is empty")
    found = _csv(path, text) if path.suffix.lower() in (".csv", ".tsv") else _json(path, text)
    for number, values in enumerate(found, 1):
        if not isinstance(values, dict):
            raise ValueError(f"{path}, row {number}: {str(values)[:40]!r} is no object with named values")
    if not found:
        raise ValueError(f"{path} holds no rows")
    return [Row(number, values) for number, values in enumerate(found, 1)]


def columns(rows: list[Row]) -> list[str]:
    """Names that any row has, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.values))


def _json(path: Path, text: str) -> list[Any]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        first = text.lstrip()[:1]
        if first not in "{[":
            raise ValueError(f"{path}: starts with {text.lstrip()[:20]!r}: neither JSON, JSON Lines nor .csv") from None
        if first == "[":
            raise ValueError(f"{path}, line {error.lineno}: broken JSON ({error.msg})") from None
        return _json_lines(path, text)
    if isinstance(whole, dict):
        held = next((whole[name] for name in ("data", "verdicts") if isinstance(whole.get(name), list)), None)
        return [whole] if held is None else held
    return whole if isinstance(whole, list) else [whole]


def _json_lines(path: Path, text: str) -> list[Any]:
    rows = []
    # Not splitlines(): it would also split at U+2028 or U+0085 inside a JSON string.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: no JSON ({error.msg}); one object a line is wanted") from None
    return rows


def _csv(path: Path, text: str) -> list[Any]:
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    csv.field_size_limit(MAX_FIELD)
    rows = []
    try:
        for number, row in enumerate(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter), 1):
            if None in row or None in row.values():
                raise ValueError(
                    f"{path}, row {number}: not as many fields as the header; quote fields that hold {delimiter!r}"
                )
            rows.append(row)
    except csv.Error as error:
        raise ValueError(f"{path}: broken CSV ({error})") from None
    return rows
