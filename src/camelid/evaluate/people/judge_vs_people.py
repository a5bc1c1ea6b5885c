"""Does a judge say what people say? Agreement with its floor: what a judge would get that always says the same.

Known: GPT-4 in one order of display agrees with FairEval's people on .525 of 80 questions, a constant on .5125.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from camelid.evaluate.people.swap import Verdict
from camelid.evaluate.people.verdicts import Verdicts
from camelid.functional.agreement import Coefficient, coefficient, cohen_kappa, gwet_ac1, tie_weights
from camelid.functional.statistics import proportion, win_rate

SIDES: tuple[Verdict, ...] = ("first", "tie", "second")
CREDIT = tie_weights(3, 1)
"""LIMA's tie-discounted credit of two verdicts, in the order of SIDES."""
Pair = tuple[Verdict, Verdict]


def judge_against_people(judge: Verdicts, people: Verdicts) -> dict[str, Any]:
    """All figures, JSON-able, in fractions. Raises ValueError where the two are not about the same items."""
    items = match(judge, people)
    found = [(judge.by_item[a], people.by_item[b]) for a, b in items]
    pairs = [(a, b) for a, b in found if a and b]
    if not pairs:
        raise ValueError(
            f"{judge.source} and {people.source}: none of the {len(items)} items has a verdict on both sides"
        )
    exact = proportion(sum(a == b for a, b in pairs), len(pairs))
    discounted = win_rate([_credit(a, b) for a, b in pairs])
    one_hot = np.array(
        [[[float(side == verdict) for side in SIDES] for verdict in pair] for pair in pairs]
    )  # (N, 2, 3)
    kappa = coefficient(one_hot.sum(1), lambda draws: cohen_kappa(one_hot[:, 0], one_hot[:, 1], draws))
    ac1 = coefficient(one_hot.sum(1), lambda draws: gwet_ac1(one_hot.sum(1), draws))
    counted = Counter(pairs)
    return {
        "n": len(pairs),
        "invalid": len(items) - len(pairs),
        "unmatched": {"judge": len(judge.by_item) - len(items), "people": len(people.by_item) - len(items)},
        "decided_only": judge.without_ties or people.without_ties,
        "names": judge.names or people.names,
        "exact": exact.value,
        "tie_discounted": discounted.value,
        "cohen_kappa": kappa.value,
        "gwet_ac1": ac1.value,
        "intervals": {
            "exact": [exact.low, exact.high],
            "tie_discounted": [discounted.low, discounted.high],
            "cohen_kappa": _interval(kappa),
            "gwet_ac1": _interval(ac1),
        },
        "undefined": {k: c.reason for k, c in (("cohen_kappa", kappa), ("gwet_ac1", ac1)) if c.value is None},
        "floor": floor([person for _, person in pairs]),
        "confusion": {a: {b: counted[a, b] for b in SIDES} for a in SIDES},
        "people_among_themselves": among_themselves(people.raters),
    }


def match(judge: Verdicts, people: Verdicts) -> list[tuple[str, str]]:
    """Names of the same item on both sides: by name, or by place where one side has no names."""
    if judge.partial or people.partial:
        both = [(item, item) for item in judge.by_item if item in people.by_item]
        if not both:
            raise ValueError(f"{judge.source} and {people.source} have no item in common")
        return both
    if set(judge.by_item) == set(people.by_item):
        return [(item, item) for item in judge.by_item]
    if len(judge.by_item) != len(people.by_item):
        raise ValueError(
            f"{judge.source} has {len(judge.by_item)} items, {people.source} has {len(people.by_item)}: they must be "
            "about the same questions"
        )
    if judge.numbered or people.numbered:
        return list(zip(_in_order(judge), _in_order(people), strict=True))
    lacking = sorted(set(judge.by_item) - set(people.by_item))
    raise ValueError(
        f"{people.source} has no verdict on {len(lacking)} items of {judge.source}, such as {lacking[0]!r}"
    )


def floor(people: Sequence[Verdict]) -> dict[str, float]:
    """The best that a judge gets who gives every item the same verdict."""
    constants: list[Verdict] = list(SIDES)
    return {
        "exact": max(sum(constant == p for p in people) for constant in constants) / len(people),
        "tie_discounted": max(sum(_credit(constant, p) for p in people) for constant in constants) / len(people),
    }


def among_themselves(raters: Sequence[Sequence[Verdict | None]]) -> dict[str, float] | None:
    """Agreement of the people behind a majority, over all pairs of verdicts on one item; None where there is one."""
    pairs = [(a, b) for row in raters for a, b in combinations(row, 2) if a and b]
    if not pairs:
        return None
    return {
        "exact": sum(a == b for a, b in pairs) / len(pairs),
        "tie_discounted": sum(_credit(a, b) for a, b in pairs) / len(pairs),
    }


def _credit(a: Verdict, b: Verdict) -> float:
    return float(CREDIT[SIDES.index(a), SIDES.index(b)])


def _in_order(verdicts: Verdicts) -> list[str]:
    """Questions by number where all have one, else as they stand."""
    items = list(verdicts.by_item)
    return sorted(items, key=int) if all(item.isdecimal() for item in items) else items


def _interval(c: Coefficient) -> list[float] | None:
    return None if c.low is None or c.high is None else [c.low, c.high]
