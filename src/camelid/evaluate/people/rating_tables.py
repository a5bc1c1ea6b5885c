"""Tables of ratings: wide ones with a column a rater, long ones with a row a rating (item, rater, label).

Rater columns are those named annotator1, annotation_2, rater_ann, label b and the like, or the ones given.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from camelid.evaluate.people.ratings import PANDALM_COLUMN, Ratings, build, listed
from camelid.rows import Row, columns, read_rows

RATER_COLUMN = re.compile(
    r"(?:annotator|annotation|rater|label(?:l?er)?)(?:[ _-]?(?:\d+|[a-z])|[_-](?P<name>\w+))", re.I
)
NO_RATERS = {"id", "name", "note", "notes", "comment", "comments", "reason", "time", "text", "count", "agreement"}
"""What `rater_...` is called where it is about a rating and none itself."""
ITEM_NAMES = ("item", "item_id", "id", "idx", "question_id", "unit", "example")


class Table(NamedTuple):
    """Labels as they stand in a file: `values[i][r]` of item i by rater r, None where there is none."""

    items: list[str]
    raters: list[str]
    values: list[list[Any]]
    pandalm: bool
    """The columns are those of PandaLM's test set, so the labels are its codes."""


def read_ratings(
    path: str | os.PathLike[str], *, raters: Sequence[str] = (), scale: Sequence[str] = (), tie: str = ""
) -> Ratings:
    """Ratings from a file. `raters`: columns to read; `scale`: all labels in order; `tie`: the label that is a tie.

    Raises ValueError where there are no rater columns, no ratings, or fewer than two raters.
    """
    table = read_table(path, raters)
    if len(table.raters) < 2:
        raise ValueError(
            f"{path}: one rater only, {table.raters[0]!r}, where two or more are wanted; name columns with --raters"
        )
    return build(str(path), table.items, table.raters, table.values, scale=scale, tie=tie, verdicts=table.pandalm)


def read_table(path: str | os.PathLike[str], raters: Sequence[str] = ()) -> Table:
    """Items, raters and labels. Raises ValueError where a column is not there, or none looks like a rater's."""
    rows = read_rows(path)
    names = columns(rows)
    unknown = [name for name in raters if name not in names]
    if unknown:
        raise ValueError(f"{path}: no column {unknown[0]!r}; there are {listed(names)}")
    long = _long_columns(names)
    if long and not raters:
        return _long(path, rows, *long)
    wide = list(raters) or [name for name in names if is_rater_column(name)]
    if not wide:
        raise ValueError(
            f"{path}: no columns of raters; name them with --raters, or give a row a rating with item, rater and "
            f"label. There are {listed(names)}"
        )
    _check_twice(rows)
    pandalm = all(PANDALM_COLUMN.fullmatch(name) for name in wide) and {"response1", "response2"} <= set(names)
    return Table(item_names(rows), wide, [[row.values.get(name) for name in wide] for row in rows], pandalm)


def _check_twice(rows: list[Row]) -> None:
    """Raise ValueError for a row with an id that stands there again, the same in all columns.

    Rows of one id that differ are let be: ids may be those of instructions that several pairs share.
    """
    seen: dict[str, Row] = {}
    for row in rows:
        if any(name in row.values for name in ITEM_NAMES):
            before = seen.setdefault(json.dumps(row.values, sort_keys=True), row)
            if before is not row:
                raise ValueError(f"{row.place}: the same as row {before.number}; it would count twice, so keep one")


def is_rater_column(name: str) -> bool:
    """Whether a column's name says that it holds one rater's labels."""
    match = RATER_COLUMN.fullmatch(name.strip())
    return match is not None and (match["name"] or "").casefold() not in NO_RATERS


def _long_columns(names: list[str]) -> tuple[str, str, str] | None:
    lowered = {name.casefold(): name for name in names}
    item = next((lowered[name] for name in ITEM_NAMES if name in lowered), None)
    rater = next((lowered[name] for name in ("rater", "annotator", "worker", "labeler") if name in lowered), None)
    label = next((lowered[name] for name in ("label", "verdict", "rating", "vote") if name in lowered), None)
    return (item, rater, label) if item and rater and label else None


def _long(path: str | os.PathLike[str], rows: list[Row], item: str, rater: str, label: str) -> Table:
    cells: dict[tuple[str, str], Any] = {}
    for row in rows:
        key = str(row.values.get(item)), str(row.values.get(rater))
        if key in cells:
            raise ValueError(f"{row.place}: {key[1]} has rated item {key[0]} before; keep one of the two")
        cells[key] = row.values.get(label)
    items, who = list(dict.fromkeys(i for i, _ in cells)), sorted({r for _, r in cells})
    return Table(items, who, [[cells.get((i, r)) for r in who] for i in items], pandalm=False)


def item_names(rows: list[Row]) -> list[str]:
    """Ids where every row has one of its own, else row numbers."""
    for name in ITEM_NAMES:
        found = [str(row.values[name]) for row in rows if row.values.get(name) not in (None, "")]
        if len(set(found)) == len(rows):
            return found
    return [str(row.number) for row in rows]
