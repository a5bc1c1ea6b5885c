"""How far raters agree on the items that they all judged: shares, and coefficients corrected for chance.

    figures = agreement(read_ratings("testset.json"))
    figures["gwet_ac1"], figures["intervals"]["gwet_ac1"]

All figures are fractions. A coefficient that is not defined, such as kappa where all ratings are one label, is None and
stands in `undefined` with its reason. Intervals are about other items, judged by the same raters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camelid.evaluate.people.ratings import Ratings
from camelid.functional.agreement import (
    Chance,
    Coefficient,
    Floats,
    Weighting,
    coefficient,
    fleiss_kappa,
    gwet_ac1,
    gwet_ac2,
    ordered_weights,
    tie_weights,
)
from camelid.functional.krippendorff import krippendorff_interval, krippendorff_nominal, krippendorff_ordinal
from camelid.functional.statistics import bootstrap, proportion

NO_ORDER = "the labels have no order; give the scale from one end to the other"
NO_TIE = "none of the labels is a tie; name the one that is"


def agreement(ratings: Ratings, *, weighting: Weighting = "linear") -> dict[str, Any]:
    """All figures of `ratings`, JSON-able. Raises ValueError where no item has two ratings.

    `weighting` is AC2's. With linear weights and the tie in the middle, its observed agreement is LIMA's
    tie-discounted agreement.
    """
    counts = ratings.counts
    n = int((counts.sum(1) >= 2).sum())
    if not n:
        raise ValueError("no item has two ratings, so there is nothing to compare; are the raters' columns right?")
    shares = {"exact": np.eye(len(ratings.scale))}
    if ratings.tie is not None:
        shares["tie_discounted"] = tie_weights(len(ratings.scale), ratings.tie)
    found = {name: _share(counts, weights) for name, weights in shares.items()}
    found |= {name: coefficient(counts, formula) for name, formula in _formulas(ratings, counts, weighting)}
    undefined = {name: c.reason for name, c in found.items() if c.value is None}
    if ratings.tie is None:
        undefined["tie_discounted"] = NO_TIE
    if ratings.scores is None:
        undefined |= dict.fromkeys(("gwet_ac2", "krippendorff_alpha_ordinal", "krippendorff_alpha_interval"), NO_ORDER)
    return {
        "n": n,
        "items": len(ratings.items),
        "raters": len(ratings.raters),
        "rater_names": ratings.raters,
        "labels": ratings.scale,
        "ordered": ratings.scores is not None,
        "tie": None if ratings.tie is None else ratings.scale[ratings.tie],
        "gwet_ac2_weights": weighting,
        **dict.fromkeys(undefined),
        **{name: c.value for name, c in found.items()},
        "intervals": {name: None if c.low is None else [c.low, c.high] for name, c in found.items()},
        "standard_errors": {name: c.standard_error for name, c in found.items()},
        "undefined": undefined,
        "pairs": pairs(ratings),
        "missing": ratings.missing,
        "invalid": ratings.invalid,
    }


def pairs(ratings: Ratings) -> dict[str, dict[str, Any]]:
    """Agreement of each two raters on the items that both judged, by their numbers, "1-2" first; Wilson's intervals."""
    weights = tie_weights(len(ratings.scale), ratings.tie)
    found = {}
    for (i, a), (j, b) in combinations(enumerate(ratings.codes.T, 1), 2):
        both = (a >= 0) & (b >= 0)
        n = int(both.sum())
        exact, discounted = float((a == b)[both].sum()), float(weights[a[both], b[both]].sum())
        found[f"{i}-{j}"] = {
            "raters": [ratings.raters[i - 1], ratings.raters[j - 1]],
            "n": n,
            **_pair("exact", exact, n),
            **_pair("tie_discounted", discounted, n if ratings.tie is not None else 0),
        }
    return found


def _pair(name: str, successes: float, n: int) -> dict[str, Any]:
    if not n:
        return {name: None, f"{name}_interval": None}
    share = proportion(successes, n)
    return {name: share.value, f"{name}_interval": [share.low, share.high]}


def _share(counts: Floats, weights: NDArray[np.float64]) -> Coefficient:
    """Mean credit over all pairs of ratings of one item; each pair counts once, so raters weigh by their work.

    Where all items have the same credit, Wilson's interval stands for the bootstrap, which would claim certainty.
    """
    raters = counts.sum(1)
    num_pairs = (raters * (raters - 1) / 2)[raters >= 2]
    credit = ((counts * (counts @ weights - 1)).sum(1) / 2)[raters >= 2]
    n, value = len(credit), float(credit.sum() / num_pairs.sum())
    if np.ptp(credit / num_pairs) == 0:
        bound = proportion(n * value, n)
        return Coefficient(value, bound.low, bound.high, n, bound.standard_error)
    values = bootstrap(n, lambda draws: draws @ credit / (draws @ num_pairs))
    low, high = np.quantile(values, (0.025, 0.975))
    return Coefficient(value, float(low), float(high), n, float(values.std(ddof=1)))


def _formulas(
    ratings: Ratings, counts: Floats, weighting: Weighting
) -> Iterator[tuple[str, Callable[[Floats], Chance]]]:
    yield "gwet_ac1", lambda draws: gwet_ac1(counts, draws)
    yield "fleiss_kappa", lambda draws: fleiss_kappa(counts, draws)
    yield "krippendorff_alpha", lambda draws: krippendorff_nominal(counts, draws)
    if ratings.scores is not None:
        scores = ratings.scores
        weights = ordered_weights(scores, weighting)
        yield "gwet_ac2", lambda draws: gwet_ac2(counts, weights, draws)
        yield "krippendorff_alpha_ordinal", lambda draws: krippendorff_ordinal(counts, draws)
        yield "krippendorff_alpha_interval", lambda draws: krippendorff_interval(counts, scores, draws)
