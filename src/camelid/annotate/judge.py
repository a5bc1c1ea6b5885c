"""Preferences from an AI judge behind a chat server, each pair asked in both orders.

How replies are kept, and asked for again after a kill: `camelid.judges.asking`. Left out: several judges that vote,
chain of thought asked for. Ways of asking for an evaluation, scores among them: `camelid eval judge`.
Imports no torch.

    camelid judge --comparisons comparisons.jsonl --set remote.base_url=http://localhost:8000/v1 --set remote.model=NAME
    camelid judge --comparisons comparisons.jsonl --question my_question.txt --set ...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.annotate.verdicts import (
    QUESTION,
    Judged,
    Verdict,
    ask,
    check_question,
    parse_verdict,
    summary,
)
from camelid.durable import write_json
from camelid.judges.asking import Journal, Names, ask_what_is_missing
from camelid.judges.case import ORDERS
from camelid.models.remote import RemoteSettings
from camelid.runs import Run, Settings
from camelid.types import Comparison, Messages, Preference, kind_of, read_records, write_records


class JudgeSettings(Settings):
    """AI judge."""

    remote: RemoteSettings = RemoteSettings()
    """Where the judge is and how it is asked."""


def annotate_by_judge(run: Run) -> dict[str, Any]:
    """Stage: `comparisons`, optional `question` (text) -> replies.jsonl, preferences.jsonl, verdicts.json.

    Ties and comparisons with a reply that cannot be read leave no preference; both are counted.
    """
    s: JudgeSettings = run.settings
    comparisons = _distinct(run.inputs["comparisons"])
    question = check_question(run.inputs["question"].read_text("utf-8")) if "question" in run.inputs else QUESTION
    rows = _ask(run, comparisons, question)
    replies = {(row["comparison"], row["order"]): row["text"] for row in rows}
    judged = [Judged(c, *(parse_verdict(replies[c.id, order], order) for order in ORDERS)) for c in comparisons]
    preferences = [p for j in judged if (p := preference(j, s.remote.model))]
    write_records(run.path / "preferences.jsonl", preferences)
    metrics = summary(judged) | {"num_requests": sum(row["attempts"] for row in rows)}
    write_json(run.path / "verdicts.json", {"summary": metrics, "verdicts": [_verdict_row(j) for j in judged]})
    return metrics


def preference(judged: Judged, annotator: str) -> Preference | None:
    """What a comparison teaches; None for a tie or where the judge could not be understood."""
    verdict, comparison = judged.verdict, judged.comparison
    if verdict is None or verdict.better == "tie":
        return None
    first, second = comparison.first, comparison.second
    return Preference(
        prompt=comparison.prompt,
        chosen=first if verdict.better == "first" else second,
        rejected=second if verdict.better == "first" else first,
        rating=verdict.rating,
        kind=kind_of(comparison),
        annotator=annotator,
        source=comparison.source,
        licence=comparison.licence,
        tags=comparison.tags,
    )


def _distinct(path: Path) -> list[Comparison]:
    """The comparisons, those with the same id once. Raises ValueError where an id stands for two different ones."""
    found: dict[str, Comparison] = {}
    for comparison in read_records(path, Comparison):
        if found.setdefault(comparison.id, comparison) != comparison:
            raise ValueError(f"{path}: two different comparisons have the id {comparison.id!r}; give each its own")
    return list(found.values())


def _ask(run: Run, comparisons: Sequence[Comparison], question: str) -> list[dict[str, Any]]:
    """Rows of replies.jsonl, at least one for each comparison and order."""
    journal = Journal(run.path / "replies.jsonl")
    by_id = {c.id: c for c in comparisons}
    wanted: list[Names] = [{"comparison": c.id, "order": order} for c in comparisons for order in ORDERS]

    def messages(names: Names) -> Messages:
        return ask(by_id[names["comparison"]], "given" if names["order"] == "given" else "swapped", question)

    with run.progress("replies", len(wanted), len(wanted) - len(journal.missing(wanted))) as tick:
        ask_what_is_missing(journal, run.settings.remote, wanted, messages, tick)
    return journal.rows


def _verdict_row(judged: Judged) -> dict[str, Any]:
    def said(verdict: Verdict | None) -> str:
        return ", ".join(filter(None, verdict)) if verdict else "invalid"

    return {
        "comparison": judged.comparison.id,
        "verdict": said(judged.verdict),
        "given": said(judged.given),
        "swapped": said(judged.swapped),
    }
