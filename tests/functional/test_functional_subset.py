"""Clusters and diverse subsets against brute force on small sets of points; texts as points."""

from itertools import combinations

import numpy as np
import pytest

from camelid.functional.k_means import k_means, squared_distances
from camelid.functional.subset import facility_location, k_centre
from camelid.functional.text_space import leading_directions, text_space

LINE = np.array([[0.0], [1], [2], [10], [11], [30]])


def test_k_centre_takes_the_farthest_again_and_again():
    taken = k_centre(LINE, 4)
    assert [one.place for one in taken] == [0, 5, 4, 2] and [one.gain for one in taken[1:]] == [30, 11, 2]
    assert taken[0].gain == float("inf")
    assert [one.place for one in k_centre(LINE, 2, first=3)] == [3, 5]
    assert sorted(one.place for one in k_centre(LINE, 99)) == list(range(6))


def test_k_centre_is_within_twice_the_best():
    draw = np.random.default_rng(1)
    for _ in range(20):
        points = draw.normal(size=(9, 2))

        def radius(places, points=points):
            return np.sqrt(squared_distances(points, points[list(places)])).min(1).max()

        best = min(radius(places) for places in combinations(range(9), 3))
        assert radius([one.place for one in k_centre(points, 3)]) <= 2 * best + 1e-9


def test_facility_location_is_greedy_and_near_the_best():
    draw = np.random.default_rng(2)
    for _ in range(10):
        points = draw.normal(size=(10, 3))
        unit = points / np.linalg.norm(points, axis=1, keepdims=True)
        similar = np.maximum(unit @ unit.T, 0)

        def value(places, similar=similar):
            return similar[:, list(places)].max(1).sum() if places else 0.0

        taken = facility_location(points, 3)
        places: list[int] = []
        for one in taken:  # what plain greedy takes, and gains
            gains = [value([*places, j]) - value(places) for j in range(10)]
            assert one.gain == pytest.approx(max(gains)) and one.place == int(np.argmax(gains))
            places.append(one.place)
        best = max(value(list(p)) for p in combinations(range(10), 3))
        assert value(places) >= (1 - 1 / np.e) * best


def test_k_means_finds_what_is_apart_largest_first_and_the_same_each_time():
    draw = np.random.default_rng(3)
    centres, sizes = np.array([[0.0, 0], [20, 0], [0, 20]]), (10, 30, 20)
    points = np.concatenate([c + draw.normal(size=(n, 2)) for c, n in zip(centres, sizes, strict=True)])
    found = k_means(points, 3, seed=0)
    assert found.labels.tolist() == [2] * 10 + [0] * 30 + [1] * 20
    assert np.array_equal(found.labels, k_means(points, 3, seed=0).labels)
    assert found.centres[0] == pytest.approx(points[10:40].mean(0))
    assert found.distances == pytest.approx(np.linalg.norm(points - found.centres[found.labels], axis=1))


def test_k_means_with_fewer_different_points_than_clusters():
    found = k_means([[1.0], [1.0], [2.0]], 5)
    assert found.labels.tolist() == [0, 0, 1] and len(found.centres) == 2
    with pytest.raises(ValueError, match="no points"):
        k_means(np.zeros((0, 2)), 2)


TEXTS = ["red apples and pears", "green apples or pears", "a fast car on roads", "one slow car off roads"]


def test_texts_with_words_in_common_are_near():
    points = leading_directions(text_space(TEXTS), 2)
    similar = points @ points.T
    assert similar[0, 1] > 0.9 * similar[0, 0] and similar[2, 3] > 0.9 * similar[2, 2]
    assert abs(similar[:2, 2:]).max() < 1e-9


def test_directions_are_those_of_a_full_decomposition():
    draw = np.random.default_rng(4)
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join(draw.choice(words, 12)) for _ in range(30)]
    space = text_space(texts)
    dense = np.zeros((30, len(space.words)))
    dense[space.rows, space.columns] = space.values
    assert np.linalg.norm(dense, axis=1) == pytest.approx(np.ones(30))
    _, sizes, _ = np.linalg.svd(dense, full_matrices=False)
    found = leading_directions(space, 5)
    assert np.linalg.norm(found, axis=0) == pytest.approx(sizes[:5], rel=0.02)
    full = leading_directions(space, 30)
    assert full @ full.T == pytest.approx(dense @ dense.T, abs=1e-9)
    with pytest.raises(ValueError, match="share no word"):
        text_space(["one", "two"])
