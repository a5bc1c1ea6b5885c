"""Counts and distances over the rows of a pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camelid.functional.k_means import k_means, squared_distances
from camelid.functional.root_verbs import verb_and_noun
from camelid.functional.text_space import leading_directions, telling_words, text_space
from camelid.types import Conversation

MAPPED = 5_000
"""Of more rows so many, evenly spaced, are clustered and compared; counts are of all."""
DIRECTIONS = 50
WORDS_OF_A_TOPIC = 6
NEIGHBOURS_AT_ONCE = 512


class Map(NamedTuple):
    """Rows in the plane, by topic."""

    places: list[int]
    """Which rows of the pool."""
    plane: NDArray[np.float64]
    """(n, 2) the two leading directions of what rows differ in."""
    topics: NDArray[np.int64]
    words: list[list[str]]
    """Of each topic, those that tell it from the others."""


class Pair(NamedTuple):
    """Two rows of nearly the same words, by their places."""

    first: int
    second: int
    similarity: float


def instruction(row: Conversation) -> str:
    """The first turn of the user."""
    return next((m.content for m in row.messages if m.role == "user"), "")


def map_of(texts: Sequence[str], topics: int, seed: int = 0) -> tuple[Map, NDArray[np.float64]]:
    """Topics and their picture, and the mapped rows as unit vectors."""
    step = max(1, -(-len(texts) // MAPPED))
    places = list(range(0, len(texts), step))
    space = text_space([texts[i] for i in places])
    points = leading_directions(space, DIRECTIONS, seed)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    labels = k_means(points, topics, seed).labels
    centred = points - points.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return Map(places, centred @ axes[:2].T, labels, telling_words(space, labels, WORDS_OF_A_TOPIC)), points


def nearest_pairs(points: NDArray[np.float64], places: Sequence[int], number: int) -> list[Pair]:
    """The pairs of rows whose cosine similarity is highest, each row in one pair at most."""
    best: list[tuple[float, int, int]] = []
    for start in range(0, len(points), NEIGHBOURS_AT_ONCE):
        block = points[start : start + NEIGHBOURS_AT_ONCE]
        distances = squared_distances(block, points)
        for i, row in enumerate(distances):
            row[: start + i + 1] = np.inf  # each pair once
            if start + i + 1 < len(points):
                j = int(row.argmin())
                best.append((1 - row[j] / 2, start + i, j))
    taken: set[int] = set()
    pairs: list[Pair] = []
    for similarity, i, j in sorted(best, key=lambda pair: -pair[0]):
        if len(pairs) == number:
            break
        if not {i, j} & taken:
            taken |= {i, j}
            pairs.append(Pair(places[i], places[j], similarity))
    return pairs


def verbs(texts: Sequence[str]) -> Counter[tuple[str, str]]:
    """How often each verb stands with each noun."""
    return Counter(pair for text in texts if (pair := verb_and_noun(text)))
