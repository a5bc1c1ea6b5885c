"""The report's tables as data: columns with their n, rows of cells. The template only lays them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camelid.evaluate.report.page_measures import QUALITY_MEASURES, REWARD_MEASURES, SHAPE_MEASURES, Entry, Measure, at
from camelid.evaluate.report.page_numbers import (
    Cell,
    Estimate,
    estimate_cell,
    number_cell,
    sample_sizes,
)
from camelid.evaluate.report.sources import label
from camelid.types import RATINGS

Report = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column's head: `group` spans neighbours of the same name; `n` is the number of observations behind it."""

    label: str
    group: str = ""
    n: str = ""
    note: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """`head` names the row; `swatch` is the index of a version's colour, None for no colour."""

    head: str
    cells: list[Cell]
    swatch: int | None = None
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """`corner` is the head of the column of names."""

    corner: str
    columns: list[Column]
    rows: list[Row]
    absent: tuple[str, ...] = ()
    """Columns left out because no row has a value."""
    total: Row | None = None
    """Stays at the foot, however the rows are sorted."""

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns of one group: its name and how many columns it spans."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans


def quality_table(report: Report) -> Table:
    """One row a version: is it better, is it safer; the version of the headline is marked."""
    return _version_table(report, QUALITY_MEASURES, _group_columns(report))


def shape_table(report: Report) -> Table:
    """One row a version: how far it moved and what its answers look like."""
    counts = [number_cell(version.get("n"), 0) for version in report["versions"]]
    column = Column("answers", note="Prompts answered by each version")
    return _version_table(report, SHAPE_MEASURES, {column: counts})


def sources_table(report: Report) -> Table | None:
    """Refusals by the source of the prompts; None where no version has them."""
    sources: dict[str, dict[str, None]] = {}  # source -> kinds, both in order of appearance
    for version in report["versions"]:
        for source, kinds in (version.get("refusals_by_source") or {}).items():
            sources.setdefault(source, {}).update(dict.fromkeys(kinds))
    measures = [
        Measure(f"{source}, %", f"{kind} {'↑' if kind == 'unsafe' else '↓'}", at("refusals_by_source", source, kind))
        for source, kinds in sources.items()
        for kind in kinds
    ]
    return _version_table(report, measures) if measures else None


def rewards_table(report: Report) -> Table | None:
    """Accuracy of every reward model beside its baselines."""
    return _table("reward model", report.get("rewards") or [], REWARD_MEASURES)


def ratings_table(report: Report) -> Table | None:
    """Accuracy by rating, the numbers of figure 4: the model's and that of preferring the longer answer."""
    rewards = report.get("rewards") or []
    present = {rating for reward in rewards for rating in reward.get("by_rating") or {}}
    ratings = [r for r in RATINGS if r in present] + sorted(present.difference(RATINGS))
    measures = [
        Measure(f"{rating}, %", label, at("by_rating", rating, key))
        for rating in ratings
        for label, key in (("model", "accuracy"), ("longer wins", "longer_wins"))
    ]
    return _table("reward model", rewards, measures) if measures else None


def headline_versions(report: Report) -> set[str]:
    """The versions that headlines are of, one a run, as they are named in the tables."""
    one = {(report.get("headline") or {}).get("version")}
    several = {label(run["name"], run["headline"]["version"]) for run in report.get("runs") or [] if run["headline"]}
    return {name for name in one | several if name}


def _group_columns(report: Report) -> dict[Column, list[Cell]]:
    """Where not all versions may be compared, a letter for each group of those that may."""
    groups = (report.get("comparison") or {}).get("groups") or []
    if len(groups) < 2:
        return {}
    letters = {name: chr(ord("A") + i % 26) for i, group in enumerate(groups) for name in group["versions"]}
    column = Column("group", note="Compare within a group only: same prompts, same judge", numeric=False)
    return {column: [Cell(letters.get(version["version"], "none")) for version in report["versions"]]}


def _version_table(
    report: Report, measures: Sequence[Measure], before: Mapping[Column, list[Cell]] | None = None
) -> Table:
    """A table over versions with their colours; `before` has columns that are no measures, with their cells."""
    versions, before = report["versions"], before or {}
    marked = headline_versions(report)
    columns, values, absent = _columns(versions, measures)
    rows = []
    for i, version in enumerate(versions):
        first = [cells[i] for cells in before.values()]
        rows.append(Row(version["version"], first + values[i], i, version["version"] in marked))
    return Table("version", [*before, *columns], rows, absent)


def _table(corner: str, entries: Sequence[Entry], measures: Sequence[Measure]) -> Table | None:
    if not entries:
        return None
    columns, values, absent = _columns(entries, measures)
    return Table(corner, columns, [Row(e["name"], cells) for e, cells in zip(entries, values, strict=True)], absent)


def _columns(
    entries: Sequence[Entry], measures: Sequence[Measure]
) -> tuple[list[Column], list[list[Cell]], tuple[str, ...]]:
    """Heads and cells (one list an entry) of the measures that some entry has, and the names of the others."""
    columns: list[Column] = []
    values: list[list[Cell]] = [[] for _ in entries]
    absent = []
    for measure in measures:
        taken = [measure.take(entry) for entry in entries]
        if all(value is None for value in taken):
            absent.append(measure.name)
            continue
        columns.append(Column(measure.label, measure.group, _n(measure, taken), measure.note))
        for cells, value in zip(values, taken, strict=True):
            cells.append(_cell(measure, value))
    return columns, values, tuple(absent)


def _n(measure: Measure, values: Sequence[Estimate | None]) -> str:
    return sample_sizes(values) if measure.scale else ""


def _cell(measure: Measure, value: Any) -> Cell:
    return estimate_cell(value, measure.scale) if measure.scale else number_cell(value, measure.places)
