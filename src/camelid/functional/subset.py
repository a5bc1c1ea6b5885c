"""Choosing a diverse subset of points, one after the other. Numpy only."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .k_means import squared_distances


class Chosen(NamedTuple):
    """A point that was taken."""

    place: int
    gain: float
    """k-centre: its distance to the nearest point taken before (infinite for the first); facility location: by how
    much it raised the sum of all points' similarity to the nearest one taken."""


def k_centre(points: ArrayLike, number: int, first: int = 0) -> list[Chosen]:
    """The point farthest from those taken, again and again, from `first` on (Gonzalez 1985; Sener and Savarese 2018,
    arXiv:1708.00489, algorithm 1): the largest distance of a point to the subset is at most twice the least possible.
    """
    x = np.asarray(points, dtype=np.float64)
    taken = [Chosen(first, float("inf"))]
    nearest = squared_distances(x, x[first : first + 1])[:, 0]
    nearest[first] = -1.0
    while len(taken) < min(number, len(x)):
        place = int(nearest.argmax())
        taken.append(Chosen(place, float(np.sqrt(max(nearest[place], 0.0)))))
        nearest = np.minimum(nearest, squared_distances(x, x[place : place + 1])[:, 0])
        nearest[[one.place for one in taken]] = -1.0
    return taken[:number]


def facility_location(points: ArrayLike, number: int) -> list[Chosen]:
    """Greedy maximum of sum_i max_{j taken} s(i, j), s the cosine similarity where it is above 0 (Lin and Bilmes 2011):
    within 1 - 1/e of the best (Nemhauser et al. 1978). Lazy: a gain only falls, so an old one is a bound.
    """
    x = np.asarray(points, dtype=np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit = x / np.where(norms == 0, 1, norms)
    covered: NDArray[np.float64] = np.zeros(len(x))

    def gain(place: int) -> float:
        return float(np.maximum(unit @ unit[place] - covered, 0.0).sum())

    queue = [(-gain(place), place) for place in range(len(x))]
    heapq.heapify(queue)
    taken: list[Chosen] = []
    while queue and len(taken) < number:
        _, place = heapq.heappop(queue)
        now = gain(place)
        if queue and (-now, place) > queue[0]:
            heapq.heappush(queue, (-now, place))
            continue
        taken.append(Chosen(place, now))
        covered = np.maximum(covered, unit @ unit[place])
    return taken
