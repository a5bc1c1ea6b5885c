"""The report's numbers as one long CSV table: run, version, measure, value, low, high, n, stage.

It opens in any spreadsheet. Names come from other people's files: one that a spreadsheet would take for a formula gets
an apostrophe before it (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from camelid.evaluate.report.sources import label

COLUMNS = ("run", "version", "measure", "value", "low", "high", "n", "stage")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""First characters of a formula, after spaces; full-width ones count in some spreadsheets."""


def measures_csv(measures: Iterable[dict[str, Any]]) -> str:
    """The table as text, UTF-8 when written; numbers unrounded, what was not measured empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([[guarded(row[column]) for column in COLUMNS] for row in measures])
    return file.getvalue()


def comparison_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The win rates between comparable versions as rows of the long table; their stage is empty, no stage has them."""
    run_of = {version["version"]: version.get("run", report.get("name", "")) for version in report["versions"]}
    groups = (report.get("comparison") or {}).get("groups") or []
    return [
        {
            "run": run_of[row["version"]],
            "version": row["version"].removeprefix(label(run_of[row["version"]], "")),
            "measure": f"win_rate_over.{row['over']}",
            "stage": "",
            **row["win_rate"],
        }
        for group in groups
        for row in group["win_rates"]
    ]


def guarded(value: Any) -> Any:
    """Text that no spreadsheet runs; numbers as they are."""
    if isinstance(value, str) and (value.startswith(FORMULA_STARTS) or value.lstrip().startswith(FORMULA_STARTS)):
        return f"'{value}"
    return value
