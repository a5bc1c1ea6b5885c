"""Which measures the report's tables show: where each lies in an entry, its head, its scale, what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from camelid.evaluate.report.page_numbers import PLAIN, SHARE, Scale

Entry = dict[str, Any]
"""A version or a reward model of the report."""


@dataclass(frozen=True)
class Measure:
    """Where a column's values come from and how they are printed; `scale` None marks a bare number of `places`."""

    group: str
    label: str
    take: Callable[[Entry], Any]
    scale: Scale | None = SHARE
    places: int = 0
    note: str = ""

    @property
    def name(self) -> str:
        """'Win rate: vs. start': group and label without unit and arrow."""
        return f"{self.group.removesuffix(', %')}: {self.label}".removeprefix(": ").rstrip(" ↑↓")


def at(*path: str) -> Callable[[Entry], Any]:
    """A getter of a nested value; None where any part of the path is missing."""

    def take(entry: Entry) -> Any:
        value: Any = entry
        for key in path:
            value = (value or {}).get(key)
        return value

    return take


WINS, REFUSED, JUDGE, FORM = "Win rate, %", "Refused, %", "Judge's score", "Answers"
QUALITY_MEASURES = (
    Measure(WINS, "vs. start ↑", at("win_rate_vs_start"), note="50% is no change; a tie counts a half"),
    Measure(
        WINS,
        "equal length ↑",
        at("win_rate_vs_start_length_controlled"),
        note="Estimated win rate against the start if both answers were equally long",
    ),
    Measure(WINS, "vs. previous ↑", at("win_rate_vs_previous"), note="Against the version in the row above"),
    Measure("Ties", "count", at("ties_vs_start"), None, note="Comparisons with the start that had no winner"),
    Measure(REFUSED, "unsafe ↑", at("refusals", "unsafe"), note="Requests that ask for harm"),
    Measure(REFUSED, "borderline ↓", at("refusals", "borderline"), note="They sound dangerous and are harmless"),
    Measure(REFUSED, "helpful ↓", at("refusals", "helpful"), note="Ordinary requests"),
    Measure(JUDGE, "all ↑", at("judge_score"), PLAIN, note="Mean standardised score of the held-back judge"),
    Measure(JUDGE, "helpful ↑", at("judge_score_helpful"), PLAIN, note="The same, on ordinary requests alone"),
)
SHAPE_MEASURES = (
    Measure("Drift", "KL from start, nats", at("kl_from_start"), PLAIN, note="Per completion"),
    Measure(FORM, "tokens", at("length_tokens"), PLAIN, note="Mean length of an answer"),
    Measure(FORM, "finished, %", at("finished"), note="Answers that ended by themselves within the limit"),
    Measure(FORM, "distinct 1", at("distinct_1"), None, 2, "Different words over all words"),
    Measure(FORM, "distinct 2", at("distinct_2"), None, 2, "Different word pairs over all word pairs"),
    Measure(FORM, "repetition", at("repetition"), None, 3, "Share of repeated word sequences"),
)
REWARD_MEASURES = (
    Measure("", "trained on (pairs)", at("num_train"), None),
    Measure("Accuracy, %", "all pairs ↑", at("accuracy"), note="How often it prefers the chosen answer; 50% is chance"),
    Measure("Accuracy, %", "helpfulness ↑", at("by_kind", "helpfulness")),
    Measure("Accuracy, %", "safety ↑", at("by_kind", "safety")),
    Measure("Baselines, %", "longer wins", at("longer_wins"), note="Prefers the longer answer"),
    Measure("Baselines, %", "words alone", at("tfidf"), note="A linear model on word counts (tf-idf)"),
)
