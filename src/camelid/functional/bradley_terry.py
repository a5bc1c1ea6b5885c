"""Strengths of many models from comparisons of pairs of them (Bradley and Terry 1952).

Numpy only. Left out: a home advantage for the place shown first (randomise or swap places instead), and ties as an
outcome of their own (Davidson 1970): a tie counts half a win for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PRIOR_SD = 10.0
"""Standard deviation, in log-odds, of the normal prior on each strength. Two models of which one wins 804 of 805
comparisons are 6.7 apart; so it hardly moves what the data say, and keeps finite who won or lost everything."""

ELO_SCALE = 400 / math.log(10)
"""Elo points in one unit of log-odds: 400 points are odds of 10 to 1."""


def bradley_terry(wins: Array, *, prior_sd: float = PRIOR_SD) -> Array:
    """Strengths (..., M), mean zero, that maximise the likelihood of P(i beats j) = sigmoid(s_i - s_j) and the prior.

        L = sum_ij wins_ij log sigmoid(s_i - s_j) - sum_i s_i^2 / (2 prior_sd^2)

    `wins`: (..., M, M), how often the row beat the column, ties as half a win for each; leading axes are problems of
    their own. Newton's method, its steps cut to length 2. A model that won or lost all its comparisons has no finite
    maximum of the likelihood; the prior sets its strength, which then says "beyond measure", not a number.
    """
    wins = np.asarray(wins, dtype=np.float64)
    num_models = wins.shape[-1]
    games, won = wins + wins.swapaxes(-1, -2), wins.sum(axis=-1)
    strengths = np.zeros(wins.shape[:-1])
    for _ in range(200):
        p = 1 / (1 + np.exp(strengths[..., None, :] - strengths[..., :, None]))  # (..., M, M): row beats column
        gradient = won - (games * p).sum(axis=-1) - strengths / prior_sd**2
        weight = games * p * (1 - p)
        information = -weight
        information[..., range(num_models), range(num_models)] = weight.sum(axis=-1) + 1 / prior_sd**2
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        step *= np.minimum(1, 2 / np.maximum(np.abs(step).max(axis=-1, keepdims=True), 1e-300))
        strengths = strengths + step
        if np.abs(step).max() < 1e-10:
            break
    return strengths - strengths.mean(axis=-1, keepdims=True)


def check_connected(games: Array, models: Sequence[str]) -> None:
    """Raises ValueError, naming the groups, where some models were never compared with the rest, even through others.

    `games`: (M, M), positive where two models were compared.
    """
    left, groups = set(range(len(models))), []
    while left:
        group, queue = set(), [min(left)]
        while queue:
            i = queue.pop()
            group.add(i)
            queue += [j for j in left - group if games[i, j] + games[j, i] > 0 and j not in queue]
        left -= group
        groups.append(", ".join(models[i] for i in sorted(group)))
    if len(groups) > 1:
        raise ValueError(
            f"no comparison joins these groups of models: {' | '.join(groups)}. "
            "One scale for all needs comparisons between the groups; or rank each group by itself"
        )
