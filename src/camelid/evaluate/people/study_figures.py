"""A study of people's verdicts summed up, after LLaMA-2 (arXiv:2307.09288, section 3.4.2 and appendix A.3.7).

As there: two answers side by side, seven degrees, three raters, wins, ties and losses apart, Gwet's AC1 and AC2 as
reliability. The paper does not say how three verdicts become one, nor AC2's weights: here the majority of win, tie and
loss counts, a tie where there is none, and weights are linear unless told otherwise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from camelid.evaluate.people.agreement import agreement
from camelid.evaluate.people.ratings import build
from camelid.evaluate.people.study import Study, side
from camelid.evaluate.people.swap import OUTCOME
from camelid.evaluate.people.verdicts import majority
from camelid.functional.agreement import Weighting
from camelid.functional.statistics import Estimate, proportion, win_rate

SCALE = [str(step) for step in range(-3, 4)]


def study_figures(study: Study, *, weighting: Weighting = "linear") -> dict[str, Any]:
    """Everything said of a study, JSON-able, from the side of the first model.

    In percent: `win_percent`, `tie_percent`, `loss_percent` of the items, and `win_rate`, where a tie counts one half
    as everywhere in camelid. Agreement is in fractions.
    """
    verdicts = {item: majority(side(step) for step in steps.values()) for item, steps in _by_item(study).items()}
    given = [verdict for verdict in verdicts.values() if verdict]
    counts = Counter(given)
    rate = win_rate([OUTCOME[verdict] for verdict in given])
    return {
        "models": [study.key.a, study.key.b],
        "n": len(given),
        "items": len(study.key.pairs),
        "raters": len(study.key.raters),
        "verdicts": len(study.steps),
        "missing": len(study.key.pairs) * len(study.key.raters) - len(study.steps),
        "wins": counts["first"],
        "ties": counts["tie"],
        "losses": counts["second"],
        **_percent("win_percent", proportion(counts["first"], len(given))),
        **_percent("tie_percent", proportion(counts["tie"], len(given))),
        **_percent("loss_percent", proportion(counts["second"], len(given))),
        **_percent("win_rate", rate),
        "standard_error": 100 * rate.standard_error,
        "steps": {step: sum(s == int(step) for s in study.steps.values()) for step in SCALE},
        **_reliability(study, weighting),
        "by_rater": {rater: _rater(study, rater) for rater in study.key.raters},
        "invalid": sum(study.problems.values()),
        "invalid_rows": study.problems,
        "identical": study.key.identical,
        "unmatched": study.key.unmatched,
    }


def _by_item(study: Study) -> dict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (item, rater), step in study.steps.items():
        found[item][rater] = step
    return found


def _reliability(study: Study, weighting: Weighting) -> dict[str, Any]:
    """Agreement over the seven degrees, and over win, tie and loss; None where no item was judged twice."""
    by_item = _by_item(study)
    items, raters = list(by_item), list(study.key.raters)
    values = [[by_item[item].get(rater) for rater in raters] for item in items]
    if not any(sum(v is not None for v in row) > 1 for row in values):
        return {"gwet_ac2": None, "gwet_ac1": None, "seven_degrees": None, "win_tie_loss": None}
    degrees = agreement(build("sheets", items, raters, values, scale=SCALE, tie="0"), weighting=weighting)
    signs = [[None if v is None else (v > 0) - (v < 0) for v in row] for row in values]
    three = agreement(build("sheets", items, raters, signs, scale=["-1", "0", "1"], tie="0"), weighting=weighting)
    return {
        "gwet_ac2": degrees["gwet_ac2"],
        "gwet_ac2_interval": degrees["intervals"]["gwet_ac2"],
        "gwet_ac1": three["gwet_ac1"],
        "gwet_ac1_interval": three["intervals"]["gwet_ac1"],
        "seven_degrees": degrees,
        "win_tie_loss": three,
    }


def _rater(study: Study, rater: str) -> dict[str, Any]:
    """One rater's counts, and the preference for the answer shown first: one half is none."""
    steps = {item: step for (item, who), step in study.steps.items() if who == rater}
    sides = Counter(side(step) for step in steps.values())
    shown = [OUTCOME[side(step if study.key.shows_a_first(item, rater) else -step)] for item, step in steps.items()]
    bias = win_rate(shown) if shown else None
    return {
        "n": len(steps),
        "wins": sides["first"],
        "ties": sides["tie"],
        "losses": sides["second"],
        "position_bias": bias and bias.value,
        "position_bias_interval": bias and [bias.low, bias.high],
    }


def _percent(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: 100 * estimate.value, f"{name}_interval": [100 * estimate.low, 100 * estimate.high]}
