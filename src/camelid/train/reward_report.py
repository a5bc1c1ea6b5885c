"""What is said of a reward model after training, on verdicts that it never saw: accuracy.json.

Scores are in the unit that they were trained in (logits), whatever scale they were brought to afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camelid.functional.bimodality import bimodality_coefficient
from camelid.functional.calibration import confidences, cross_fitted, reliability, temperature_with_interval
from camelid.functional.detection import describe_detection
from camelid.functional.logistic import sigmoid
from camelid.functional.pair_accuracy import mean_over_pairs, share_of_wins, wins
from camelid.models.reward_model import RewardModel
from camelid.train.judged import Judged
from camelid.train.pairs import accuracy_beside_floors
from camelid.types import RATINGS, prompt_name

Floats = NDArray[np.float64]


def describe(reward: RewardModel, train: Sequence[Judged], held_out: Sequence[Judged]) -> dict[str, Any]:
    """Accuracy beside its floors, gaps of scores, calibration, safety. `train` is told by as many verdicts of it."""
    scores = raw_scores(reward, held_out)
    seen = train[: len(held_out)]
    chosen, rejected = _of_pairs(scores, held_out)
    trained = share_of_wins(wins(*_of_pairs(raw_scores(reward, seen), seen)), _prompts(seen))
    preferences = [p for j in held_out for p in j.preferences]
    before = [p for j in train for p in j.preferences]
    return {
        **accuracy_beside_floors(chosen, rejected, before, preferences),
        "train_accuracy": trained._asdict(),
        **describe_gaps(chosen - rejected, scores, held_out),
        "calibration": calibrate(chosen - rejected, _prompts(held_out)),
        **describe_safety(scores, held_out),
    }


def describe_gaps(gaps: Floats, scores: Sequence[Floats], held_out: Sequence[Judged]) -> dict[str, Any]:
    """Mean of score(chosen) - score(rejected), in all and by rating, and whether the scores fall into two heaps.

    LLaMA-2 saw a large margin do the latter (arXiv:2307.09288, appendix A.3.3).
    """
    prompts = _prompts(held_out)
    ratings = [p.rating for j in held_out for p in j.preferences]
    by_rating = {}
    for rating in RATINGS:
        mine = [i for i, other in enumerate(ratings) if other == rating]
        if mine:
            by_rating[rating] = mean_over_pairs(gaps[mine], [prompts[i] for i in mine])._asdict()
    heaps = bimodality_coefficient(np.concatenate(scores), _names(held_out))
    return {
        "gap": mean_over_pairs(gaps, prompts)._asdict(),
        "gap_by_rating": by_rating,
        "bimodality": heaps and heaps._asdict(),
    }


def calibrate(gaps: Floats, prompts: Sequence[str]) -> dict[str, Any]:
    """The table of reliability as trained; the temperature that fits best, and the errors with it.

    Those are measured with temperatures fitted on other prompts' pairs.
    """
    fitted = temperature_with_interval(gaps, prompts)
    mended = None if fitted is None else cross_fitted(gaps, prompts)
    found = reliability(*confidences(gaps), prompts) | {"temperature": fitted and fitted._asdict()}
    if fitted is None:
        found["no_temperature"] = (
            "all held-out pairs are ordered right" if (gaps >= 0).all() else "no better than chance"
        )
    if mended is not None:
        found["at_temperature"] = reliability(*confidences(mended), prompts)
    return found


def describe_safety(scores: Sequence[Floats], held_out: Sequence[Judged]) -> dict[str, Any]:
    """How well P(safe) finds the answers that are labelled unsafe; nothing where no answer is labelled."""
    flat, names = np.concatenate(scores), _names(held_out)
    labels = [label for j in held_out for label in j.safe]
    known = [i for i, label in enumerate(labels) if label is not None]
    if not known:
        return {}
    unsafe = [not labels[i] for i in known]
    return {"safety": describe_detection(sigmoid(flat[known]), unsafe, [names[i] for i in known])}


def raw_scores(reward: RewardModel, judged: Sequence[Judged]) -> list[Floats]:
    """A raw score of every completion, an array a verdict."""
    raw = reward.raw(reward.score([row for j in judged for row in j.rows])).double().numpy()
    ends = np.cumsum([len(j.rows) for j in judged])
    return np.split(raw, ends[:-1])


def _of_pairs(scores: Sequence[Floats], judged: Sequence[Judged]) -> tuple[Floats, Floats]:
    """Scores of the better and of the worse completion of every pair."""
    pairs = [(own[i], own[k]) for own, j in zip(scores, judged, strict=True) for i, k in j.pairs]
    return np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])


def _prompts(judged: Sequence[Judged]) -> list[str]:
    """The name of each pair's prompt."""
    return [prompt_name(p.prompt) for j in judged for p in j.preferences]


def _names(judged: Sequence[Judged]) -> list[str]:
    """The name of each completion's prompt."""
    return [prompt_name(j.preferences[0].prompt) for j in judged for _ in j.rows]
