"""Conversations as the page shows them: answers in the order of the versions, and which of them are open at first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camelid.evaluate.report.page_numbers import number
from camelid.evaluate.report.page_tables import headline_versions

Report = dict[str, Any]


def page_example(example: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A conversation with its answers in the order of the versions; `place` is the version's, None for a stranger."""
    answers = []
    for answer in example.get("answers") or []:
        score = answer.get("judge_score")
        version = answer["version"]
        answers.append(
            {
                "version": version,
                "place": names.index(version) if version in names else None,
                "text": answer.get("text") or "",
                "refused": bool(answer.get("refused")),
                "score": None if score is None else number(score, 2, signed=True),
            }
        )
    answers.sort(key=lambda answer: len(names) if answer["place"] is None else answer["place"])
    return {"prompt": example["prompt"], "tags": example.get("tags") or [], "answers": answers}


def first_shown(report: Report) -> list[bool]:
    """Which versions' answers are open at first where there are many: the first two and the headline's, or the last.

    Of several runs, the very first and each run's last. The page's script closes the others; without it all are shown.
    """
    versions = report["versions"]
    if len(versions) <= 4:
        return [True] * len(versions)
    ends = {version.get("run"): version["version"] for version in versions}  # the last of a run wins
    names = [version["version"] for version in versions]
    shown = headline_versions(report).intersection(names) or set(ends.values())
    return [place < (2 if len(ends) == 1 else 1) or name in shown for place, name in enumerate(names)]
