"""The stage that makes a run's report at its end. `camelid report` makes one of any runs at any time."""

from __future__ import annotations

from typing import Any

from camelid.evaluate.report.gather import gather
from camelid.evaluate.report.sources import Source
from camelid.evaluate.report.write import write_all
from camelid.runs import Run, Settings, read_manifest


class ReportSettings(Settings):
    """The report."""

    title: str = "run"
    """Title of the page."""
    num_examples: int = 16
    """Conversations shown side by side."""
    notes: tuple[str, ...] = ()
    """What readers must know besides what the manifests say by themselves."""


def write_run_report(run: Run) -> dict[str, Any]:
    """Stage: `stages` (directories of finished stages) -> report.html, report.json, report.csv, cards/, figures/."""
    s: ReportSettings = run.settings
    stages = [(path, manifest) for path in run.inputs["stages"] if (manifest := read_manifest(path))]
    source = Source(s.title, run.path.parent, stages)
    report = gather([source], s.title, s.num_examples) | {"recipe": s.title}
    report["notes"] += s.notes
    write_all([source], report, run.path)
    headline = report["headline"] or {}
    return {key: value["value"] for key, value in headline.items() if isinstance(value, dict)}
