"""Rows of a small file, whoever wrote it: JSON, JSON Lines, CSV; one reader for all that is read whole.

A JSON array gives a row an element, JSON Lines a row a line, and one object over many lines is one row, or, where it
holds a list under `data`, `annotations` or `verdicts`, the rows of that list. CSV may come back from a spreadsheet:
with a byte order mark, or with semicolons or tabs between the fields; its values are texts. What rows mean is the
business of the caller. Left out: files of training data, which may be long, packed or broken (`collect/files.py`), and
our own records (`types.read_records`). Imports no torch.

    for row in read_rows("answers.jsonl", "prompt and text"):
        print(row.place, row.values["text"])
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MAX_FIELD = 10_000_000
"""Characters in one field of a CSV file; answers can be longer than the csv module's own limit."""
HOLDERS = ("data", "annotations", "verdicts")
"""Names under which one object may hold the rows."""

LABELS = ("id", "source", "licence", "license", "tags", "role", "from", "annotator")
"""Keys of a row whose values are about its text."""


class Value(NamedTuple):
    """Any JSON value of a file, and where it stands."""

    number: int
    """Counted from 1, without a header."""
    place: str
    """File and line, or file and row, as errors name it."""
    value: Any


class Row(NamedTuple):
    """A value that is an object."""

    number: int
    place: str
    values: dict[str, Any]


def read_rows(path: str | os.PathLike[str], wanted: str = "") -> list[Row]:
    """All rows of a file, at least one; `wanted` says in words what a row has, for the errors.

    Raises ValueError with file, place, problem and mend where there is none, or where something is no object.
    """
    rows = []
    more = f" with {wanted}" if wanted else ""
    for number, place, value in read_values(path):
        if not isinstance(value, dict):
            raise ValueError(
                f"{place}: a JSON object{more} is wanted, not {type(value).__name__} {json.dumps(value)[:40]}"
            )
        rows.append(Row(number, place, value))
    if not rows:
        raise ValueError(f"{path} is empty; rows{more} are wanted")
    return rows


def read_values(path: str | os.PathLike[str]) -> list[Value]:
    """What stands in a file, none where it is empty. Raises ValueError where it is no text, or neither JSON nor CSV."""
    path = Path(path)
    text = read_text(path)
    found = (
        _csv(path, text)
        if Path(str(path).removesuffix(".gz")).suffix.lower() in (".csv", ".tsv")
        else _json(path, text)
    )
    return [Value(number, place, value) for number, (place, value) in enumerate(found, 1)]


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark; unpacked where the name ends in .gz."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file")
    content = path.read_bytes()
    try:
        packed = path.suffix == ".gz"
        content = gzip.decompress(content) if packed else content
        return content.decode("utf-8-sig")  # as bytes: line ends stay as they are, for the csv module
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); fetch it again") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error.reason}, byte {error.start}); unpack it, convert it with `iconv -t "
            "utf-8`, or in a spreadsheet save it as CSV in UTF-8"
        ) from None


def columns(rows: Iterable[Row]) -> list[str]:
    """Names that any row has, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.values))


def finite(value: Any) -> float | None:
    """A JSON number as a float; None for anything else: texts, true, NaN, Infinity, whole numbers beyond a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def examples_of(value: Any) -> list[Any]:
    """The items in a value: BIG-bench's files are one object with a list of examples; elsewhere a row is an item."""
    if isinstance(value, dict) and isinstance(value.get("examples"), list):
        return value["examples"]
    return [value]


def text_of(row: Any, fields: Sequence[str] = ()) -> str:
    """All text in a row, in its order, lists and objects opened, labels left out; with `fields` that of those keys."""
    if isinstance(row, str):
        return row
    if isinstance(row, Mapping):
        keys = [key for key in row if key not in LABELS] if not fields else [key for key in fields if key in row]
        return "\n".join(text for key in keys if (text := text_of(row[key])))
    if isinstance(row, list | tuple):
        return "\n".join(text for value in row if (text := text_of(value)))
    return ""


def _json(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        whole = _loads(str(path), text)
    except json.JSONDecodeError as error:
        return _lines(path, text, error)
    if isinstance(whole, dict):
        whole = next((whole[name] for name in HOLDERS if isinstance(whole.get(name), list)), whole)
    if isinstance(whole, list):
        return [(f"{path}, row {number}", value) for number, value in enumerate(whole, 1)]
    blank = text[: len(text) - len(text.lstrip())]
    number = 1 + blank.count("\n")
    return [(f"{path}, line {number}", whole)]


def _loads(place: str, text: str) -> Any:
    """`json.loads`, whose errors about monstrous values name no file. Raises JSONDecodeError where it is no JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise ValueError(f"{place}: brackets nested too deep to be rows; is this the right file?") from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise ValueError(f"{place}: a number with thousands of digits; is this the right file?") from None


def _lines(path: Path, text: str, as_a_whole: json.JSONDecodeError) -> list[tuple[str, Any]]:
    """A value a line, in a text that is not one value; `as_a_whole` says why it is not."""
    values: list[tuple[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines(): U+2028 may stand inside a text
        if line.strip():
            try:
                values.append((f"{path}, line {number}", _loads(f"{path}, line {number}", line)))
            except json.JSONDecodeError as here:
                # An array, or an object over many lines, breaks where it breaks, not in its first line.
                many = not values and line.lstrip()[0] in "[{" and as_a_whole.lineno > number
                number, error = (as_a_whole.lineno, as_a_whole) if many else (number, here)
                raise ValueError(
                    f"{path}, line {number}: no JSON ({error.msg}); a JSON array, one object a line or a .csv is wanted"
                ) from None
    return values


def _csv(path: Path, text: str) -> list[tuple[str, Any]]:
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
            rows.append((f"{path}, row {number}", row))
    except csv.Error as error:
        raise ValueError(f"{path}: broken CSV ({error})") from None
    return rows
