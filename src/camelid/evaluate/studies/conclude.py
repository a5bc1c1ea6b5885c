"""The stage that ends a study: all cells, brought together over seeds, beside what was expected before they ran.

A study is a recipe: stages that train and measure, one cell each for every arm and seed, and then this one. It reads
the JSON files that the cells left and computes nothing of its own but means, differences and their intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camelid.durable import write_json
from camelid.evaluate.imitation.plain import plain
from camelid.evaluate.plain_page import Table, shown, write_plain_page
from camelid.evaluate.report.figure_style import Panel
from camelid.evaluate.studies.claims import Claim, judge
from camelid.evaluate.studies.figures import Figure, arms_panel, curve_panel, plane_panel
from camelid.evaluate.studies.readings import (
    Cell,
    Curve,
    Measure,
    estimate_of,
    joined,
    joined_curve,
    points_of,
    read_cells,
    value_at,
)
from camelid.functional.statistics import Estimate
from camelid.runs import Run, Settings


class ConcludeSettings(Settings):
    """What a study asks."""

    title: str
    question: str
    """What it wants to know, and on what."""
    cells: tuple[Cell, ...]
    """In the order of the input `results`."""
    measures: tuple[Measure, ...]
    curves: tuple[Curve, ...] = ()
    claims: tuple[Claim, ...] = ()
    """What is expected, written down before the study runs."""
    figures: tuple[Figure, ...] = ()
    folds: bool = False
    """An arm's runs were tested on different items, folds of the data, and not on the same ones with other seeds."""
    notes: tuple[str, ...] = ()
    """What a reader must know before believing a number."""


def conclude(run: Run) -> dict[str, Any]:
    """Stage: `results` (a JSON file a cell) -> study.json, report.html, tables.md, figures/."""
    study = Study(run.settings, run.inputs["results"])
    write_json(run.path / "study.json", study.as_json())
    s: ConcludeSettings = run.settings
    claimed = [verdict for _, _, verdict in study.claims]
    write_plain_page(run.path, s.title, [s.question, *s.notes], study.panels(), study.tables())
    return {verdict: claimed.count(verdict) for verdict in ("shown", "contradicted", "undecided")}


class Study:
    """The cells as read, arm by arm."""

    def __init__(self, s: ConcludeSettings, files: Sequence[Any]):
        self.s = s
        self.arms = list(dict.fromkeys(cell.name for cell in s.cells))
        self.read: dict[str, list[tuple[str, Any]]] = {name: [] for name in self.arms}
        for cell, content in zip(s.cells, read_cells(s.cells, files), strict=True):
            self.read[cell.name].append((f"{cell.name}, seed {cell.seed}", content))
        self.known = {measure.name: measure for measure in s.measures}
        self.claims = [(claim, *judge(claim, self.estimates, folds=s.folds)) for claim in s.claims]

    def estimates(self, arm: str, measure: str) -> list[Estimate]:
        """An arm's estimates, a run each. Raises ValueError for an arm or a measure that the study does not have."""
        if measure not in self.known or arm not in self._having(self.known[measure]):
            raise ValueError(f"no {measure!r} of {arm!r}; arms: {', '.join(self.arms)}; measures: {list(self.known)}")
        path = self.known[measure].path
        return [estimate_of(value_at(content, path, place), place) for place, content in self.read[arm]]

    def arms_of(self, measure: str) -> list[tuple[str, Estimate]]:
        """The estimate of each arm that has the measure, over its runs."""
        return [(arm, self.joined(arm, measure)) for arm in self._having(self.known[measure])]

    def joined(self, arm: str, measure: str) -> Estimate:
        """An arm's estimate over its runs."""
        return joined(self.estimates(arm, measure), folds=self.s.folds)

    def curves_of(self, name: str) -> list[tuple[str, list[tuple[float, Estimate]]]]:
        """Each arm's curve over its runs."""
        curve = next((curve for curve in self.s.curves if curve.name == name), None)
        if curve is None:
            raise ValueError(f"the study has no curve {name!r}; it has {[curve.name for curve in self.s.curves]}")
        found = []
        for arm in self._having(curve):
            runs = [points_of(content, curve, place) for place, content in self.read[arm]]
            found.append((arm, joined_curve(runs, folds=self.s.folds)))
        return found

    def as_json(self) -> dict[str, Any]:
        """All numbers, each run's too."""
        arms = {
            arm: {
                "runs": len(self.read[arm]),
                "measures": {
                    name: plain(self.joined(arm, name)) | {"by_run": self._values(arm, name)}
                    for name, measure in self.known.items()
                    if arm in self._having(measure)
                },
            }
            for arm in self.arms
        }
        curves = {
            curve.name: {arm: [{"x": x, **plain(y)} for x, y in points] for arm, points in self.curves_of(curve.name)}
            for curve in self.s.curves
        }
        claims = [
            {"text": claim.text, "verdict": verdict, "difference": plain(found), "claim": claim.model_dump()}
            for claim, found, verdict in self.claims
        ]
        return {
            "title": self.s.title,
            "question": self.s.question,
            "notes": self.s.notes,
            "arms": arms,
            "curves": curves,
            "claims": claims,
        }

    def panels(self) -> dict[str, tuple[str, Panel]]:
        """Title and panel by file name."""
        return {f"figure-{number}": (f.title, self._panel(f)) for number, f in enumerate(self.s.figures, 1)}

    def tables(self) -> list[Table]:
        """Arms, and what became of the claims, as text."""
        columns = [
            "arm",
            "folds" if self.s.folds else "seeds",
            *(m.name + (", %" if m.share else "") for m in self.s.measures),
        ]
        rows = []
        for arm in self.arms:
            found = [
                shown(self.joined(arm, m.name), self._factor(m.name)) if arm in self._having(m) else "–"
                for m in self.s.measures
            ]
            rows.append([arm, str(len(self.read[arm])), *found])
        claimed = [
            [claim.text, verdict, shown(found, self._factor(claim.measure)), str(found.n)]
            for claim, found, verdict in self.claims
        ]
        tables = [Table("Arms", columns, rows)]
        if claimed:
            tables.append(Table("Expected, and found", ["expected", "verdict", "difference", "n"], claimed))
        return tables

    def _having(self, what: Measure | Curve) -> list[str]:
        """The arms that have a measure or a curve."""
        return [arm for arm in self.arms if not what.arms or arm in what.arms]

    def _values(self, arm: str, measure: str) -> list[float]:
        return [estimate.value for estimate in self.estimates(arm, measure)]

    def _factor(self, measure: str) -> float:
        return 100.0 if self.known[measure].share else 1.0

    def _panel(self, figure: Figure) -> Panel:
        if figure.kind == "curve":
            lines = [(name, arm, points) for name in figure.measures for arm, points in self.curves_of(name)]
            different = [len({line[part] for line in lines}) > 1 for part in (0, 1)]
            return curve_panel(figure, [(_label(name, arm, *different), points) for name, arm, points in lines])
        if figure.kind == "plane":
            across, up = figure.measures
            factors = self._factor(across), self._factor(up)
            return plane_panel(figure, self.arms_of(across), self.arms_of(up), factors)
        return arms_panel(figure, [(name, self._factor(name), self.arms_of(name)) for name in figure.measures])


def _label(curve: str, arm: str, curves_differ: bool, arms_differ: bool) -> str:
    """What tells a line from the others of its figure."""
    if not curves_differ:
        return arm
    return f"{curve}, {arm}" if arms_differ else curve
