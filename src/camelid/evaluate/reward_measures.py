"""What can be said of a reward model from its scores on pairs that somebody judged.

Everywhere beside it stand two judges that read nothing: "the longer wins", and a bag of words fitted on the training
pairs or, where there are none, on the other prompts' pairs by cross-validation. A reward model that does not beat both
has learned less than it seems.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from camelid.evaluate.pair_scores import PairScore
from camelid.functional import pair_accuracy
from camelid.functional.calibration import confidences, reliability, temperature
from camelid.functional.detection import describe_detection
from camelid.functional.logistic import sigmoid
from camelid.functional.pair_accuracy import (
    Floats,
    by_length_ratio,
    gain,
    length_balanced,
    longer_wins,
    shares,
    shares_by_label,
)
from camelid.functional.tfidf import cross_validated_tfidf_wins, tfidf_wins
from camelid.types import RATINGS, Preference, prompt_name


def describe_pairs(
    preferences: Sequence[Preference],
    scores: Sequence[PairScore],
    train: Sequence[Preference] = (),
    *,
    folds: int = 5,
    num_bins: int = 10,
) -> dict[str, Any]:
    """Accuracy in all, by rating, kind, source, with length taken out, beside the baselines; calibration. JSON-able."""
    prompts = [prompt_name(p.prompt) for p in preferences]
    won, fitted_on = judges(preferences, scores, train, prompts, folds)
    return {
        "n": len(preferences),
        "num_prompts": len(set(prompts)),
        "prompts_in_train": len(set(prompts) & {prompt_name(p.prompt) for p in train}),
        "score_ties": int((won["accuracy"] == 0.5).sum()),
        **shares(won, prompts),
        "tfidf_fitted_on": fitted_on,
        "gain_over": {
            name: gain(won["accuracy"], y, prompts)._asdict() for name, y in won.items() if name != "accuracy"
        },
        "length": by_length(preferences, won, prompts),
        "by_rating": _by_rating(won, preferences, prompts),
        "by_kind": shares_by_label(won, [p.kind for p in preferences], prompts),
        "by_source": shares_by_label(won, [p.source or "no source" for p in preferences], prompts),
        "calibration": calibration(scores, prompts, num_bins),
        **safety(preferences, scores, prompts),
    }


def judges(
    preferences: Sequence[Preference],
    scores: Sequence[PairScore],
    train: Sequence[Preference],
    prompts: Sequence[str],
    folds: int,
) -> tuple[dict[str, Floats], str]:
    """Wins of the model and of the two baselines, and what the bag of words was fitted on."""
    pairs = [(p.chosen, p.rejected) for p in preferences]
    won = {
        "accuracy": pair_accuracy.wins([s.chosen for s in scores], [s.rejected for s in scores]),
        "longer_wins": longer_wins([a for a, _ in pairs], [b for _, b in pairs]),
    }
    if train:
        won["tfidf"] = np.array(tfidf_wins([(p.chosen, p.rejected) for p in train], pairs))
        return won, f"{len(train)} training pairs"
    if len(set(prompts)) < folds:
        return won, ""
    won["tfidf"] = np.array(cross_validated_tfidf_wins(pairs, prompts, folds=folds))
    return won, f"the pairs of other prompts, {folds} folds"


def by_length(preferences: Sequence[Preference], won: dict[str, Floats], prompts: Sequence[str]) -> dict[str, Any]:
    """Length-balanced shares of every judge, and the model's accuracy by ratio of lengths in characters."""
    lengths = np.array([(len(p.chosen), len(p.rejected)) for p in preferences])
    difference = lengths[:, 0] - lengths[:, 1]
    balanced = {name: length_balanced(y, difference, prompts) for name, y in won.items()}
    return {
        "chosen_longer": int((difference > 0).sum()),
        "chosen_shorter": int((difference < 0).sum()),
        "balanced": {name: estimate._asdict() for name, estimate in balanced.items() if estimate},
        "by_ratio": [
            {"low": b.low, "high": None if b.high == float("inf") else b.high, "accuracy": b.accuracy._asdict()}
            for b in by_length_ratio(won["accuracy"], lengths[:, 0], lengths[:, 1], prompts)
        ],
    }


def calibration(scores: Sequence[PairScore], prompts: Sequence[str], num_bins: int) -> dict[str, Any]:
    """Sigmoid of the score differences against the share of pairs that people saw the same way."""
    differences = np.array([s.chosen - s.rejected for s in scores])
    best = temperature(differences)
    found = reliability(*confidences(differences), prompts, num_bins=num_bins)
    return found | {"temperature": best if np.isfinite(best) else None}


def safety(preferences: Sequence[Preference], scores: Sequence[PairScore], prompts: Sequence[str]) -> dict[str, Any]:
    """How well the sigmoid of a score finds answers that are labelled unsafe; nothing where none is labelled."""
    answers = [
        (score, safe, prompt)
        for p, pair, prompt in zip(preferences, scores, prompts, strict=True)
        for score, safe in ((pair.chosen, p.chosen_safe), (pair.rejected, p.rejected_safe))
        if safe is not None
    ]
    if not answers:
        return {}
    values, safe, names = zip(*answers, strict=True)
    return {"safety": describe_detection(sigmoid(np.array(values)), ~np.array(safe), names)}


def _by_rating(won: dict[str, Floats], preferences: Sequence[Preference], prompts: Sequence[str]) -> dict[str, Any]:
    """Strongest rating first; unrated pairs are in none."""
    found = shares_by_label(won, [p.rating for p in preferences], prompts)
    return {rating: found[rating] for rating in RATINGS if rating in found}
