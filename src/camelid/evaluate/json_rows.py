"""Rows of a JSON file: one list of objects, or an object a line. Errors name the file and the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Rows = list[tuple[str, dict[str, Any]]]
"""(place in words, object)."""


def read_rows(path: Path) -> Rows:
    """All objects of a file. Raises ValueError where there is none, or where something is no object."""
    try:
        text = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, IsADirectoryError, FileNotFoundError) as error:
        raise ValueError(f"{path}: cannot be read as text ({type(error).__name__})") from None
    rows = _list(path, text) if text.lstrip().startswith("[") else _lines(path, text)
    if not rows:
        raise ValueError(f"{path} is empty")
    for place, row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{place}: a JSON object is wanted, not {type(row).__name__}")
    return rows


def _list(path: Path, text: str) -> Rows:
    try:
        return [(f"{path}, row {number}", row) for number, row in enumerate(json.loads(text), 1)]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: no JSON ({error.msg})") from None


def _lines(path: Path, text: str) -> Rows:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines(): U+2028 may stand inside a text
        if line.strip():
            try:
                rows.append((f"{path}, line {number}", json.loads(line)))
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: no JSON ({error.msg}); one object a line is wanted") from None
    return rows
