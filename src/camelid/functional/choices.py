"""Multiple choice by log-likelihood: which choice a model takes, and how much it believes the right ones.

As the lm-evaluation-harness defines them, so that numbers can be compared (Gao et al., 'The language model evaluation
harness', `api/task.py` and `tasks/truthfulqa/utils.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def likeliest(logprobs: ArrayLike) -> int:
    """acc: the choice of greatest log-likelihood, the first of equals. `logprobs`: (C,), in nats."""
    return int(np.argmax(_finite(logprobs)))


def likeliest_per_length(logprobs: ArrayLike, lengths: ArrayLike) -> int:
    """acc_norm: argmax_c logprob_c / length_c, so that long choices are not at a disadvantage.

    `lengths`: (C,) characters (or bytes) of each choice, without the space before it; a choice of none counts as one.
    """
    return int(np.argmax(_finite(logprobs) / np.maximum(np.asarray(lengths, dtype=np.float64), 1)))


def mass_of_right(logprobs: ArrayLike, right: ArrayLike) -> float:
    """mc2: the right choices' share of the probability of all (Lin, Hilton and Evans 2021, arXiv:2109.07958, sec. 2.2).

        sum over right c of exp(logprob_c) / sum over all c of exp(logprob_c)

    `right`: (C,) bool. Taken relative to the greatest, so that choices of -800 nats do not all become 0.
    """
    x = _finite(logprobs)
    weights = np.exp(x - x.max())
    return float(weights[np.asarray(right, dtype=bool)].sum() / weights.sum())


def _finite(logprobs: ArrayLike) -> np.ndarray:
    x = np.asarray(logprobs, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"need a flat list of finite log-likelihoods, not {x}")
    return x
