"""Many models on one scale, from recorded judgements of pairs of them: Bradley-Terry strengths as Elo-like ratings.

The bootstrap draws instructions, each with all its judgements, so that what an instruction does to several models
stays together. Judgements that failed are counted and left out. Ratings of different judges or against different
baselines are only as comparable as those are: mixed judges are told of.

    ranking = rank_files(["a.json", "b.json"], anchor="gpt4", anchor_rating=1000)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camelid.evaluate.judgements import Judgement, read_judgements
from camelid.functional.bradley_terry import ELO_SCALE, bradley_terry, check_connected
from camelid.functional.statistics import Estimate, bootstrap

NUM_RESAMPLES = 1000


class Ranked(NamedTuple):
    """One model's place."""

    model: str
    rating: Estimate
    """Elo-like; its n is the number of instructions."""
    ranks: tuple[int, int]
    """95% interval of the rank."""
    wins: int
    losses: int
    ties: int
    share_won: float
    """Of its own comparisons, graded preferences and ties by their share."""

    @property
    def beyond_measure(self) -> bool:
        """It won everything, or nothing: the rating is the prior's, and only its direction is known."""
        return self.share_won in (0.0, 1.0)


class Ranking(NamedTuple):
    """Models from the strongest to the weakest."""

    models: tuple[Ranked, ...]
    num_judgements: int
    num_invalid: int
    num_instructions: int
    annotators: tuple[str, ...]


def rank_files(
    paths: Sequence[str | os.PathLike[str]], *, anchor: str = "", anchor_rating: float = 1000.0, seed: int = 0
) -> Ranking:
    """Ranks all models of all files. `anchor` gets `anchor_rating` exactly; without one the mean of all models does.

    Raises ValueError if the files do not join all models, or do not know the anchor.
    """
    read = [j for path in paths for j in read_judgements(path)]
    valid = [j for j in read if j.preference is not None]
    if not valid:
        files = ", ".join(map(str, paths))
        raise ValueError(f"{files}: all {len(read)} judgements failed; there is nothing to rank")
    models = _models(valid, anchor)
    won, pairs = _won(valid, models)
    check_connected(_matrix(won.sum(axis=0)[None], pairs, len(models))[0], models)

    def ratings(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        strengths = bradley_terry(_matrix(counts @ won, pairs, len(models)))
        origin = strengths[:, [models.index(anchor)]] if anchor else 0.0
        return anchor_rating + ELO_SCALE * (strengths - origin)

    values = ratings(np.ones((1, len(won))))[0]
    resampled = bootstrap(len(won), ratings, NUM_RESAMPLES, seed)  # (R, M)
    ranks = 1 + (resampled[:, None, :] > resampled[:, :, None]).sum(axis=2)
    placed = []
    for i in np.argsort(-values, kind="stable"):
        low, high = np.quantile(resampled[:, i], (0.025, 0.975))
        rating = Estimate(float(values[i]), float(low), float(high), len(won), float(resampled[:, i].std(ddof=1)))
        best, worst = np.quantile(ranks[:, i], (0.025, 0.975), method="nearest")
        placed.append(_ranked(models[i], rating, (int(best), int(worst)), valid))
    annotators = tuple(sorted({j.annotator for j in valid if j.annotator}))
    return Ranking(tuple(placed), len(valid), len(read) - len(valid), len(won), annotators)


def _models(valid: Sequence[Judgement], anchor: str) -> list[str]:
    alone = next((j.first_model for j in valid if j.first_model == j.second_model), None)
    if alone is not None:
        raise ValueError(f"{alone} is compared with itself; leave those judgements out")
    models = sorted({name for j in valid for name in (j.first_model, j.second_model)})
    if anchor and anchor not in models:
        raise ValueError(f"no model {anchor!r} to anchor the scale at; there are {', '.join(models)}")
    return models


def _ranked(model: str, rating: Estimate, ranks: tuple[int, int], valid: Sequence[Judgement]) -> Ranked:
    outcomes = [1 - (j.preference or 0.0) for j in valid if j.first_model == model]
    outcomes += [j.preference or 0.0 for j in valid if j.second_model == model]
    wins, losses = sum(y > 0.5 for y in outcomes), sum(y < 0.5 for y in outcomes)
    return Ranked(model, rating, ranks, wins, losses, len(outcomes) - wins - losses, sum(outcomes) / len(outcomes))


def _won(judgements: Sequence[Judgement], models: Sequence[str]) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
    """(instructions, 2 pairs): wins of the first and of the second model of each pair; and the pairs' model numbers.

    In this shape a resample is a matrix product.
    """
    place = {model: i for i, model in enumerate(models)}
    pairs = sorted({(place[j.first_model], place[j.second_model]) for j in judgements})
    column = {pair: k for k, pair in enumerate(pairs)}
    row = {prompt: i for i, prompt in enumerate(dict.fromkeys(j.prompt for j in judgements))}
    won = np.zeros((len(row), 2 * len(pairs)))
    for j in judgements:
        k, preference = column[place[j.first_model], place[j.second_model]], j.preference or 0.0
        won[row[j.prompt], 2 * k] += 1 - preference
        won[row[j.prompt], 2 * k + 1] += preference
    return won, pairs


def _matrix(won: NDArray[np.float64], pairs: Sequence[tuple[int, int]], num_models: int) -> NDArray[np.float64]:
    """(R, 2 pairs) to (R, M, M): how often the row's model beat the column's."""
    wins = np.zeros((len(won), num_models, num_models))
    for k, (first, second) in enumerate(pairs):
        wins[:, first, second] += won[:, 2 * k]
        wins[:, second, first] += won[:, 2 * k + 1]
    return wins
