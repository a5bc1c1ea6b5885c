"""What of a model's distribution over the next token is kept before one is drawn, of one row at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """`logits` (V,) with those of the tokens `seen` (n,) made less likely, each once however often it was seen.

    Keskar et al. 2019 (arXiv:1909.05858, section 4.1) divide by the penalty; a negative logit, which division would
    make likelier, is multiplied, as everybody does since.
    """
    found = logits[seen]
    return logits.index_put((seen,), torch.where(found > 0, found / penalty, found * penalty))


def top_k(weights: Tensor, k: int) -> Tensor:
    """Unnormalised probabilities (V,) with all but the k largest set to 0; equals of the last one stay.

    Fan et al. 2018 (arXiv:1805.04833, section 5.4).
    """
    if k >= len(weights):
        return weights
    smallest = weights.topk(k).values[-1]
    return weights.masked_fill(weights < smallest, 0.0)


def top_p(weights: Tensor, p: float) -> Tensor:
    """Unnormalised probabilities (V,) with all set to 0 but the smallest set that has at least `p` of their sum.

    Holtzman et al. 2020 (arXiv:1904.09751, section 3.1). Tokens of at most (1 - p) / V of the sum cannot be in it: all
    of them together have no more than 1 - p. Only the others are sorted.
    """
    if p >= 1:
        return weights
    total = weights.sum(dtype=torch.float64)
    places = (weights > (1 - p) * total / len(weights)).nonzero()[:, 0]
    order = weights[places].sort(descending=True, stable=True)
    before = order.values.cumsum(0, dtype=torch.float64) - order.values
    kept = places[order.indices[before < p * total]]
    return torch.zeros_like(weights).index_put((kept,), weights[kept])
