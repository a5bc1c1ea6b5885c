"""Names beside points that lie close together: found by trying places around each point and counting collisions.

Works in pixels on plain arrays, so that a test needs no picture. Greedy first, then each label is moved again with the
others in view, and the best of several orders wins. For the six to twelve points of a report that is quick and enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RADII = (9.0, 15.0, 24.0, 36.0, 50.0, 66.0, 84.0, 104.0, 128.0)
"""Distances tried between a point and the nearest edge of its label, in points of 1/72 inch."""
NUM_DIRECTIONS = 16
SWEEPS = 5
ORDERS = 4
MARGIN = 3.0
"""Empty space kept around a label, in points."""
MARKER_RADIUS = 6.0
"""Half of a marker with its edge, in points."""
LEADER_SAMPLES = 16

# Prices of a bad place, per label (overlap as a share of its own area), or per obstacle hit, against a price of 1 a
# point of distance from its own point.
OVERLAP_PRICE = 4000.0
OUTSIDE_PRICE = 200.0
ANCHOR_PRICE = 400.0
OBSTACLE_PRICE = 12.0
LEADER_PRICE = 80.0


def place_labels(anchors: Floats, sizes: Floats, obstacles: Floats, bounds: Floats, scale: float) -> Floats:
    """Centres of the labels, (N, 2) pixels.

    `anchors`: (N, 2), the points that are named. `sizes`: (N, 2), widths and heights of the labels. `obstacles`:
    (M, 2), samples along lines that a label should rather not cover. `bounds`: (4,), left, bottom, right, top of the
    axes. `scale`: pixels a point. All but `scale` in pixels.
    """
    options = [_candidates(anchor, size, scale) for anchor, size in zip(anchors, sizes, strict=True)]
    best, best_price = np.full_like(anchors, np.nan), np.inf
    for first in range(min(len(anchors), ORDERS)):  # who chooses first decides much
        order = [(first + i) % len(anchors) for i in range(len(anchors))]
        centres, price = _settle(order, options, anchors, sizes, obstacles, bounds, scale)
        if price < best_price:
            best, best_price = centres, price
    return best


def _settle(
    order: list[int],
    options: list[Floats],
    anchors: Floats,
    sizes: Floats,
    obstacles: Floats,
    bounds: Floats,
    scale: float,
) -> tuple[Floats, float]:
    """Let each label in `order` take its cheapest place until none wants to move; the places and their whole price."""
    # What a place costs by itself is the same in every sweep.
    alone = [_price_alone(i, options[i], anchors, sizes, obstacles, bounds, scale) for i in range(len(anchors))]
    centres = np.full_like(anchors, np.nan)
    total = np.inf
    for _ in range(SWEEPS):
        before, total = centres.copy(), 0.0
        for i in order:
            prices = alone[i] + _price_among(i, options[i], centres, anchors, sizes, scale)
            centres[i] = options[i][np.argmin(prices)]
            total += float(prices.min())
        if np.array_equal(before, centres):
            break
    return centres, total


def overlap_areas(centres: Floats, size: Floats, other_centres: Floats, other_sizes: Floats) -> Floats:
    """Areas in which a box of `size` at each of `centres` (C, 2) overlaps each of K other boxes; (C, K)."""
    distance = np.abs(centres[:, None, :] - other_centres[None, :, :])
    reach = (size + other_sizes)[None, :, :] / 2
    return np.clip(reach - distance, 0, np.minimum(size, other_sizes)).prod(axis=-1)


def _candidates(anchor: Floats, size: Floats, scale: float) -> Floats:
    """Places around a point, nearest first: the label's box touches a circle around the point. (C, 2)."""
    angles = np.arange(NUM_DIRECTIONS) * (2 * np.pi / NUM_DIRECTIONS)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # tanh turns the box's half-size on smoothly, so that labels above and below a point stay centred on it.
    reach = np.tanh(3 * directions) * size / 2
    return np.concatenate([anchor + radius * scale * directions + reach for radius in RADII])


def _price_alone(
    i: int, candidates: Floats, anchors: Floats, sizes: Floats, obstacles: Floats, bounds: Floats, scale: float
) -> Floats:
    """What each place (C, 2) for label `i` costs wherever other labels are: distance, edges, points, lines. (C,)."""
    half = sizes[i] / 2 + MARGIN * scale
    price = np.linalg.norm(candidates - anchors[i], axis=1) / scale
    outside = np.clip(bounds[:2] - (candidates - half), 0, None) + np.clip(candidates + half - bounds[2:], 0, None)
    price += OUTSIDE_PRICE * outside.sum(axis=1) / scale
    price += ANCHOR_PRICE * _hits(candidates, half, anchors) + OBSTACLE_PRICE * _hits(candidates, half, obstacles)
    leaders = _leader(candidates, anchors[i])  # (C, L, 2)
    for anchor in np.delete(anchors, i, axis=0):
        near = np.linalg.norm(leaders - anchor, axis=-1) < MARKER_RADIUS * scale
        price += LEADER_PRICE * near.any(axis=1)
    return price


def _price_among(i: int, candidates: Floats, centres: Floats, anchors: Floats, sizes: Floats, scale: float) -> Floats:
    """What each place (C, 2) for label `i` costs with the other labels at `centres` (NaN: not placed yet). (C,)."""
    others = np.flatnonzero(np.isfinite(centres[:, 0]) & (np.arange(len(anchors)) != i))
    size = sizes[i] + 2 * MARGIN * scale
    overlaps = overlap_areas(candidates, size, centres[others], sizes[others])
    price = OVERLAP_PRICE * overlaps.sum(axis=1) / sizes[i].prod()
    # The thin line from label to point should not run through another label, nor another's through this one.
    leaders = _leader(candidates, anchors[i])  # (C, L, 2)
    for k in others:
        inside = (np.abs(leaders - centres[k]) <= sizes[k] / 2).all(axis=-1)
        other = _leader(centres[k][None], anchors[k])[0]
        crossing = _cross(candidates, anchors[i], centres[k], anchors[k])
        price += LEADER_PRICE * (inside.any(axis=1) + (_hits(candidates, size / 2, other) > 0) + crossing)
    return price


def _leader(starts: Floats, end: Floats) -> Floats:
    """Samples along the lines from each of `starts` (C, 2) to `end`, without the ends: (C, L, 2)."""
    steps = np.linspace(0.0, 1.0, LEADER_SAMPLES + 2)[None, 1:-1, None]
    return starts[:, None, :] * (1 - steps) + end * steps


def _cross(starts: Floats, end: Floats, other_start: Floats, other_end: Floats) -> NDArray[np.bool_]:
    """Whether the segment from each of `starts` (C, 2) to `end` crosses the other segment; (C,)."""

    def side(a: Floats, b: Floats, point: Floats) -> NDArray[np.bool_]:
        """On which side of the line from a to b a point lies."""
        along, away = b - a, point - a
        return along[..., 0] * away[..., 1] > along[..., 1] * away[..., 0]

    apart = side(other_start, other_end, starts) != side(other_start, other_end, end)
    return apart & (side(starts, end, other_start) != side(starts, end, other_end))


def _hits(candidates: Floats, half: Floats, points: Floats) -> Floats:
    """How many of `points` (M, 2) fall into a box of half-size `half` at each of `candidates`; (C,)."""
    if len(points) == 0:
        return np.zeros(len(candidates))
    return (np.abs(candidates[:, None, :] - points[None, :, :]) <= half).all(axis=-1).sum(axis=1).astype(np.float64)
