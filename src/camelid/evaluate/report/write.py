"""Writes a report with all its twins: the page, its JSON, the long CSV table, and a card for every version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.evaluate.report.card import write_cards
from camelid.evaluate.report.page import write_report
from camelid.evaluate.report.sources import Source
from camelid.evaluate.report.twins import comparison_rows, measures_csv


def write_all(sources: Sequence[Source], report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write report.html, report.json, report.csv, cards/ and figures/ into `folder`; returns their paths by kind."""
    page = write_report(report, folder)
    table = folder / "report.csv"
    table.write_text(measures_csv([*report["measures"], *comparison_rows(report)]), encoding="utf-8", newline="")
    cards = write_cards(sources, report, folder / "cards")
    return {"html": page, "json": folder / "report.json", "csv": table, "cards": cards}
