"""Tables that know no measure by name: everything that any stage measured, and every version against every other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from camelid.evaluate.report.page_numbers import PLAIN, SHARE, Cell, estimate_cell, number_cell
from camelid.evaluate.report.page_tables import Column, Row, Table
from camelid.evaluate.report.sources import label

Report = dict[str, Any]
SHOWN_ELSEWHERE = ("evaluate_version", "train_reward")
"""Functions whose most important measures have tables of their own; the rest of theirs is folded away."""


@dataclass(frozen=True)
class Kind:
    """All results of one kind of stage: a row a measure, a column a version or a stage."""

    name: str
    table: Table
    folded: bool
    rows: list[dict[str, Any]]


def kinds(report: Report) -> list[Kind]:
    """A table for each kind of stage that measured anything, in order of appearance, folded ones last."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for row in report.get("measures") or []:
        by_kind.setdefault(row["kind"], []).append(row)
    several = len({row["run"] for rows in by_kind.values() for row in rows}) > 1
    found = [
        Kind(_kind_name(kind), _kind_table(rows, several=several), kind.endswith(SHOWN_ELSEWHERE), rows)
        for kind, rows in by_kind.items()
    ]
    return sorted(found, key=lambda kind: kind.folded)


def matrices(report: Report) -> list[tuple[str, Table]]:
    """For each group of comparable versions its caption and its table of win rates, row over column."""
    groups = (report.get("comparison") or {}).get("groups") or []
    return [
        (f"{len(group['versions'])} versions, {group['n']} prompts", _matrix(report, group))
        for group in groups
        if group["win_rates"]
    ]


def _kind_name(kind: str) -> str:
    return kind.rpartition(".")[2].replace("_", " ") or "results without a manifest"


def _kind_table(rows: Sequence[dict[str, Any]], *, several: bool) -> Table:
    stages = list(dict.fromkeys((row["run"], row["version"], row["stage"]) for row in rows))
    names = list(dict.fromkeys(row["measure"] for row in rows))
    cells = {(row["run"], row["version"], row["stage"], row["measure"]): _cell(row) for row in rows}
    versions = [(run, version) for run, version, _ in stages]
    columns = [
        Column(version, run if several else "", stage if versions.count((run, version)) > 1 else "")
        for run, version, stage in stages
    ]
    absent = Cell(hover="not measured")
    counts = {name: _counts([row["n"] for row in rows if row["measure"] == name]) for name in names}
    body = [Row(name, [counts[name], *(cells.get((*stage, name), absent) for stage in stages)]) for name in names]
    return Table("measure", [Column("n", note="Observations behind each value"), *columns], body)


def _counts(sizes: Sequence[int | None]) -> Cell:
    """'240', or '236–240' where the columns differ."""
    known = sorted({size for size in sizes if size is not None})
    ends = dict.fromkeys((f"{known[0]:g}", f"{known[-1]:g}")) if known else {"": None}
    return Cell("–".join(ends), order=known[0] if known else None)


def _cell(row: dict[str, Any]) -> Cell:
    if row["low"] is None:
        value = row["value"]
        whole = number_cell(value, 0)
        return whole if float(value).is_integer() else Cell(f"{value:.4g}".replace("-", "−"), f"{value}", value)
    return estimate_cell(row, PLAIN)


def _matrix(report: Report, group: dict[str, Any]) -> Table:
    rates = {(row["version"], row["over"]): row["win_rate"] for row in group["win_rates"]}
    names = [name for name in group["versions"] if any(name in pair for pair in rates)]
    runs = {version["version"]: version.get("run", "") for version in report["versions"]}
    columns = [Column(name.removeprefix(label(runs[name], "")), runs[name]) for name in names]
    places = {version["version"]: place for place, version in enumerate(report["versions"])}
    even = Cell("=", "itself")
    rows = [
        Row(
            name,
            [estimate_cell(rates[name, other], SHARE) if other != name else even for other in names],
            places[name],
        )
        for name in names
    ]
    return Table("win rate, %, of", columns, rows)
