"""k-means (Lloyd 1982), begun by k-means++ (Arthur and Vassilvitskii 2007). Numpy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
MOST_STEPS = 100


class Clusters(NamedTuple):
    """Largest cluster first; equal sizes by their first point."""

    labels: NDArray[np.int64]
    """(N,) cluster of each point."""
    centres: Points
    """(k, d)"""
    distances: NDArray[np.float64]
    """(N,) from each point to its centre."""


def k_means(points: ArrayLike, k: int, seed: int = 0, starts: int = 4) -> Clusters:
    """The best of several starts, by the sum of squared distances. k at most the number of different points."""
    x = np.asarray(points, dtype=np.float64)
    k = min(k, len(np.unique(x, axis=0)))
    if k < 1:
        raise ValueError("no points: nothing to cluster")
    draw = np.random.default_rng(seed)
    found = [_lloyd(x, _plus_plus(x, k, draw)) for _ in range(starts)]
    labels, centres = min(found, key=lambda pair: float(np.square(x - pair[1][pair[0]]).sum()))
    sizes = np.bincount(labels, minlength=k)
    first = [int(np.argmax(labels == i)) for i in range(k)]
    order = sorted(range(k), key=lambda i: (-sizes[i], first[i]))
    place = np.argsort(order)
    return Clusters(place[labels], centres[order], np.linalg.norm(x - centres[labels], axis=1))


def squared_distances(a: Points, b: Points) -> NDArray[np.float64]:
    """(n, m) between the rows of two matrices."""
    found = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return np.maximum(found, 0.0)


def _plus_plus(x: Points, k: int, draw: np.random.Generator) -> Points:
    centres = [x[draw.integers(len(x))]]
    while len(centres) < k:
        nearest = squared_distances(x, np.stack(centres)).min(1)
        nearest[nearest < 1e-12 * nearest.max()] = 0.0  # rounding: a point that is a centre is none again
        centres.append(x[draw.choice(len(x), p=nearest / nearest.sum())])
    return np.stack(centres)


def _lloyd(x: Points, centres: Points) -> tuple[NDArray[np.int64], Points]:
    labels = np.full(len(x), -1)
    for _ in range(MOST_STEPS):
        distances = squared_distances(x, centres)
        new = distances.argmin(1)
        for empty in np.flatnonzero(np.bincount(new, minlength=len(centres)) == 0):
            farthest = int(distances[np.arange(len(x)), new].argmax())  # an empty cluster begins anew at a far point
            new[farthest] = empty
            distances[farthest] = 0.0
        if np.array_equal(new, labels):
            break
        labels = new
        centres = np.stack([x[labels == i].mean(0) for i in range(len(centres))])
    return labels, centres
