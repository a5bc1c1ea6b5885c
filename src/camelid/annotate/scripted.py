"""A scripted annotator that stands in for people where nobody annotates: a reward model on held-back comparisons.

It is no person, and reports say so. It sees only comparisons that the trained reward model never saw, so a round
teaches the reward model something about the policy's own completions that it did not know.
"""

from __future__ import annotations

import math
from typing import Any

from camelid.models.model_settings import ModelSettings
from camelid.models.rewards import Rewards
from camelid.runs import Run, Settings
from camelid.types import Comparison, Preference, Rating, kind_of, read_records, write_records

THRESHOLDS: tuple[tuple[float, Rating], ...] = (
    (0.95, "significantly better"),
    (0.85, "better"),
    (0.65, "slightly better"),
    (0.0, "negligibly better"),
)
"""A rating from the annotator's probability that its choice is the better one, sigmoid of the score difference."""


class ScriptedSettings(Settings):
    """Scripted annotator."""

    model: ModelSettings = ModelSettings()
    """How the annotator is held in memory."""
    chat_format: str = "model"
    """Chat format of the annotator."""


def annotate_by_reward_model(run: Run) -> dict[str, Any]:
    """Stage: `comparisons`, `reward_model`, optional `safety_reward_model` -> preferences.jsonl."""
    s: ScriptedSettings = run.settings
    comparisons = read_records(run.inputs["comparisons"], Comparison)
    safety = run.inputs.get("safety_reward_model")
    annotator = Rewards.load(run.inputs["reward_model"], safety, s.model, s.chat_format)
    with run.progress("verdicts", 2 * len(comparisons)) as tick:
        first = annotator.score(comparisons, [c.first for c in comparisons], tick)
        second = annotator.score(comparisons, [c.second for c in comparisons], tick)
    scores = zip(comparisons, first, second, strict=True)
    gaps = [annotator.of(c).preference_logits(a, b).item() for c, a, b in scores]
    preferences = [verdict(c, gap) for c, gap in zip(comparisons, gaps, strict=True)]
    write_records(run.path / "preferences.jsonl", preferences)
    ratings = [p.rating for p in preferences]
    newest = [
        c.first_model == "newest" if gap > 0 else c.second_model == "newest"
        for c, gap in zip(comparisons, gaps, strict=True)
    ]
    return {
        "num_preferences": len(preferences),
        "newest_chosen": sum(newest) / max(len(newest), 1),
        "ratings": {rating: ratings.count(rating) for _, rating in THRESHOLDS},
    }


def verdict(comparison: Comparison, gap: float) -> Preference:
    """The preference that a score difference `gap` (first minus second, in logits) expresses."""
    first_better = gap > 0
    certainty = 1 / (1 + math.exp(-abs(gap)))
    return Preference(
        prompt=comparison.prompt,
        chosen=comparison.first if first_better else comparison.second,
        rejected=comparison.second if first_better else comparison.first,
        rating=next(rating for threshold, rating in THRESHOLDS if certainty >= threshold),
        kind=kind_of(comparison),
        annotator="scripted",
        source=comparison.source,
        licence=comparison.licence,
        tags=comparison.tags,
    )
