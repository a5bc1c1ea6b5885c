"""Two models side by side: how like a reference each writes, how often a judge prefers it, what each knows.

The differences are paired: over the same prompts for style, and over tasks for facts, where the two accuracies are
taken as independent (their files do not say which items were right, so the interval is wider than a paired one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camelid.evaluate.imitation.answer_files import Answers, common_keys
from camelid.evaluate.imitation.facts import Facts, less, mean_accuracy
from camelid.evaluate.imitation.measures import Style, style_of
from camelid.evaluate.imitation.plain import percent, plain
from camelid.functional.length_control import length_controlled_win_rate
from camelid.functional.statistics import (
    Estimate,
    paired_bootstrap_difference,
    win_rate,
)
from camelid.functional.style import has_list, ngram_overlap, num_words, opening_tone


@dataclass(frozen=True)
class Side:
    """What was measured of one of the models."""

    name: str
    style: Style
    facts: Facts | None = None
    knowledge: Estimate | None = None
    """Mean accuracy over the tasks that both have."""
    wins: Estimate | None = None
    """Win rate against the reference, by the judge."""
    wins_length_controlled: Estimate | None = None

    def as_json(self) -> dict[str, Any]:
        """Shares in percent; correlations, indices and overlaps as they are."""
        return {
            "name": self.name,
            "style": self.style.as_json(),
            "facts": percent(self.facts),
            "knowledge": percent(self.knowledge),
            "win_rate": percent(self.wins),
            "length_controlled_win_rate": percent(self.wins_length_controlled),
        }


@dataclass(frozen=True)
class Comparison:
    """Two models against one reference."""

    reference: str
    n: int
    """Prompts that all three answered."""
    unpaired: dict[str, int]
    """Answers left out because another has none to that prompt, by name."""
    sides: tuple[Side, ...]
    differences: dict[str, Estimate]
    """First less second."""

    def as_json(self) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "n": self.n,
            "unpaired": self.unpaired,
            "models": [side.as_json() for side in self.sides],
            "differences": plain(self.differences),
        }


def compare(
    models: Sequence[Answers],
    reference: Answers,
    *,
    facts: Sequence[Facts] = (),
    scores: Sequence[dict[str, float]] = (),
    tie_within: float = 0.05,
) -> Comparison:
    """`models` against `reference`. `facts`: accuracies of each model.

    `scores`: a judge's, by prompt, of each model and last of the reference; closer than `tie_within` is a tie.
    """
    keys = common_keys(*models, reference)
    theirs = [reference.texts[key] for key in keys]
    tasks = sorted(set.intersection(*(set(f) for f in facts))) if facts else []
    if facts and not tasks:
        raise ValueError(f"no task in common: {' against '.join(', '.join(f) for f in facts)}")
    sides = []
    for i, model in enumerate(models):
        ours = [model.texts[key] for key in keys]
        won, controlled = _wins(keys, scores[i], scores[-1], ours, theirs, tie_within) if scores else (None, None)
        sides.append(
            Side(
                name=model.name,
                style=style_of(ours, theirs),
                facts=facts[i] if facts else None,
                knowledge=mean_accuracy(facts[i], tasks) if facts else None,
                wins=won,
                wins_length_controlled=controlled,
            )
        )
    unpaired = {a.name: len(a.texts) - len(keys) for a in (*models, reference) if len(a.texts) > len(keys)}
    differences = _differences(models, theirs, keys) if len(models) == 2 else {}
    if facts and len(models) == 2:
        differences["knowledge"] = less(*(mean_accuracy(accuracies, tasks) for accuracies in facts))
    return Comparison(reference.name, len(keys), unpaired, tuple(sides), differences)


def _wins(
    keys: Sequence[str],
    ours: dict[str, float],
    theirs: dict[str, float],
    texts: Sequence[str],
    references: Sequence[str],
    tie_within: float,
) -> tuple[Estimate, Estimate]:
    gaps = [ours[key] - theirs[key] for key in keys]
    outcomes = [0.5 if abs(gap) <= tie_within else float(gap > 0) for gap in gaps]
    longer = [num_words(text) - num_words(reference) for text, reference in zip(texts, references, strict=True)]
    return win_rate(outcomes), length_controlled_win_rate(outcomes, longer)


def _differences(models: Sequence[Answers], theirs: Sequence[str], keys: Sequence[str]) -> dict[str, Estimate]:
    """What is measured prompt by prompt, first less second, with paired intervals."""

    def of(measure: Any) -> Estimate:
        first, second = ([measure(m.texts[k], r) for k, r in zip(keys, theirs, strict=True)] for m in models)
        return paired_bootstrap_difference(np.array(first, float), np.array(second, float))

    return {
        "same_list_use": of(lambda answer, reference: has_list(answer) == has_list(reference)),
        "unigram_f1": of(lambda answer, reference: ngram_overlap(answer, reference, 1).f1),
        "bigram_f1": of(lambda answer, reference: ngram_overlap(answer, reference, 2).f1),
        "same_tone": of(lambda answer, reference: opening_tone(answer) == opening_tone(reference)),
        "words": of(lambda answer, reference: num_words(answer)),
    }
