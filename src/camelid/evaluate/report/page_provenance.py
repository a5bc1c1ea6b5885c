"""What went in and what it took: data with licences, teachers with their cost, stages with time and memory."""

from __future__ import annotations

from typing import Any

from camelid.evaluate.report.page_numbers import Cell, memory_text, number_cell
from camelid.evaluate.report.page_tables import Column, Row, Table
from camelid.table import shown_seconds

Report = dict[str, Any]


def data_table(report: Report) -> Table | None:
    """What was trained and tested on. A missing licence is said, not hidden."""
    rows = [
        Row(
            data["name"],
            [
                number_cell(data.get("rows"), 0),
                number_cell(data.get("set_aside"), 0),
                Cell(data.get("source") or "not stated"),
                Cell(data.get("licence") or "not stated"),
            ],
        )
        for data in report.get("data") or []
    ]
    text = [Column("source", numeric=False), Column("licence", numeric=False)]
    aside = Column("set aside", note="Rows removed before use, such as overlaps with the test prompts")
    return Table("data", [Column("rows"), aside, *text], rows) if rows else None


def teachers_table(report: Report) -> Table | None:
    """What teachers were asked, and what each row that was kept took; dollars where prices were given."""
    rows = [
        Row(
            teacher["name"],
            [
                number_cell(teacher.get("asked"), 0),
                number_cell(teacher.get("kept"), 0),
                number_cell(teacher.get("tokens_a_row"), 0),
                number_cell(teacher.get("usd_a_row"), 5),
            ],
        )
        for teacher in report.get("teachers") or []
    ]
    everything = "Of all that was asked, what was set aside included"
    tokens, dollars = Column("tokens a row", note=everything), Column("dollars a row", note=everything)
    return Table("stage", [Column("questions"), Column("rows kept"), tokens, dollars], rows) if rows else None


def stages_table(report: Report) -> Table | None:
    """What ran, for how long, in how much memory; at the foot the total time and the highest peak."""
    stages = report.get("stages") or []
    if not stages:
        return None
    rows = [Row(s["name"], _stage_cells(s.get("path"), s.get("seconds"), s.get("peak_memory_bytes"))) for s in stages]
    seconds = [s["seconds"] for s in stages if s.get("seconds") is not None]
    peaks = [s["peak_memory_bytes"] for s in stages if s.get("peak_memory_bytes") is not None]
    total = Row("together", _stage_cells("", sum(seconds), max(peaks, default=None)))
    columns = [Column("folder", numeric=False), Column("time"), Column("peak memory")]
    return Table("stage", columns, rows, total=total)


def _stage_cells(path: str | None, seconds: float | None, peak_bytes: float | None) -> list[Cell]:
    return [
        Cell(path or ""),
        Cell() if seconds is None else Cell(shown_seconds(seconds), f"{seconds:.1f} s", seconds),
        Cell() if peak_bytes is None else Cell(memory_text(peak_bytes), f"{peak_bytes:,.0f} bytes", peak_bytes),
    ]
