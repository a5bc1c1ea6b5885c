"""Figures and numbers of the report: names stay apart, colours keep their order, printed numbers are rounded well."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camelid.evaluate.report.figure_labels import overlap_areas, place_labels
from camelid.evaluate.report.figure_path import draw_path, limits, version_points
from camelid.evaluate.report.figure_style import DARK, LIGHT, THEMES, version_colours
from camelid.evaluate.report.page_headline import difference_interval, headlines
from camelid.evaluate.report.page_numbers import (
    PLAIN,
    SHARE,
    decimals,
    estimate_cell,
    full_text,
    interval_text,
    number,
    sample_sizes,
)
from report_example import estimate, full_report

SIZES = np.tile([90.0, 14.0], (8, 1))
BOUNDS = np.array([0.0, 0.0, 1000.0, 800.0])


@pytest.mark.parametrize("seed", range(5))
def test_names_of_crowded_points_neither_overlap_nor_leave_the_axes(seed: int) -> None:
    # Eight names of 90 x 14 pixels for points within a square of 40 pixels.
    anchors = np.random.default_rng(seed).uniform(480, 520, (8, 2))
    centres = place_labels(anchors, SIZES, np.empty((0, 2)), BOUNDS, scale=1.4)
    for i, k in combinations(range(8), 2):
        assert overlap_areas(centres[[i]], SIZES[i], centres[[k]], SIZES[[k]]) == 0, (i, k)
    assert (centres - SIZES / 2 >= BOUNDS[:2]).all() and (centres + SIZES / 2 <= BOUNDS[2:]).all()
    covered = (np.abs(centres[:, None] - anchors[None]) <= SIZES[:, None] / 2).all(axis=-1)
    assert not covered.any()  # no name lies on a point


def test_a_lone_point_in_a_corner_keeps_its_name_inside_and_near() -> None:
    centre = place_labels(np.array([[998.0, 798.0]]), SIZES[:1], np.empty((0, 2)), BOUNDS, scale=1.0)[0]
    assert (centre + SIZES[0] / 2 <= BOUNDS[2:]).all()
    assert np.linalg.norm(centre - [998, 798]) < 80  # half the name's width, its distance and margin


def test_a_name_gives_way_to_a_line() -> None:
    point = np.array([[500.0, 400.0]])
    free = place_labels(point, SIZES[:1], np.empty((0, 2)), BOUNDS, scale=1.0)[0]
    line = np.stack([np.linspace(free[0] - 60, free[0] + 60, 25), np.full(25, free[1])], axis=1)
    moved = place_labels(point, SIZES[:1], line, BOUNDS, scale=1.0)[0]
    assert not (np.abs(line - moved) <= SIZES[0] / 2).all(axis=1).any()


def test_areas_of_overlap() -> None:
    # Boxes of 4 x 2: shifted by (1, 1) they share 3 x 1; shifted by 4 sideways they only touch.
    areas = overlap_areas(
        np.array([[0.0, 0.0]]), np.array([4.0, 2.0]), np.array([[1.0, 1.0], [4.0, 0.0]]), np.array([[4.0, 2.0]] * 2)
    )
    assert areas.tolist() == [[3.0, 0.0]]


def test_drawn_names_of_the_example_stay_apart() -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    report = full_report()
    refused = version_points(
        report, lambda v: v["refusals"]["unsafe"], lambda v: v["refusals"]["borderline"], x_factor=100, y_factor=100
    )
    axes = Figure(figsize=(5.8, 4.6), dpi=200, layout="constrained").add_subplot()
    axes.set_xlim(0, 65)
    axes.set_ylim(0, 35)
    boxes = [Text.get_window_extent(label) for label in draw_path(axes, refused, len(report["versions"]), LIGHT)]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_limits_hold_all_spans_and_do_not_blow_up_noise() -> None:
    low, high = limits([(50.0, 50.4), (50.2, 51.0)], least=20)
    assert (low, high) == pytest.approx((40.5, 60.5))  # 1 wide, so 9.5 is added at each side
    low, high = limits([(0.0, 2.0)], least=20, floor=0.0)
    assert -1 < low <= 0 and high >= 11  # a share below 0 cannot be; only room for the marker
    low, high = limits([(0.0, 100.0)], least=20, floor=0.0, ceiling=100.0)
    assert -5 < low < 0 and 100 < high < 105


def luminance(colour: str) -> float:
    """Relative luminance of a hexadecimal colour (WCAG 2.1)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_colours_are_readable_and_versions_keep_their_order_without_hue(theme) -> None:
    assert contrast(theme.ink, theme.paper) > 7 and contrast(theme.muted, theme.paper) > 4.5
    colours = version_colours(8, theme)
    # WCAG 2.1 asks 3:1 of graphical objects.
    assert all(contrast(colour, theme.paper) >= 3 for colour in (*colours, *theme.series))
    steps = [luminance(b) - luminance(a) for a, b in pairwise(colours[1:])]
    assert all(step < 0 for step in steps) if theme is LIGHT else all(step > 0 for step in steps)


def test_version_colours_for_few_versions() -> None:
    assert version_colours(0, DARK) == []
    assert version_colours(1, DARK) == [DARK.muted]
    assert version_colours(2, DARK) == [DARK.muted, DARK.ramp[0]]
    assert version_colours(4, DARK) == [DARK.muted, *DARK.ramp]


@given(st.floats(1e-3, 1e3))
def test_rounding_stays_below_a_quarter_of_the_half_width(half_width: float) -> None:
    places = decimals(half_width)
    assert 0.5 * 10**-places <= max(0.25 * half_width, 0.5e-3) * (1 + 1e-9)


def test_numbers_in_print() -> None:
    assert number(-0.4236, 2) == "−0.42"
    assert number(-0.001, 2, signed=True) == "0.00"  # no minus before a rounded zero
    assert number(0.1, 0, SHARE, signed=True) == "+10%"
    win = estimate(0.61, 240)  # standard error 0.03148, half-width 6.2 points
    assert estimate_cell(win, SHARE).text == "61 ± 6"
    assert interval_text(win, SHARE) == "55% to 67%"
    assert full_text(win, SHARE) == "61.0%, 95% interval 54.8% to 67.2%, n = 240"
    assert estimate_cell(estimate(-0.42, 240, spread=1.0), PLAIN).text == "−0.42 ± 0.13"
    assert estimate_cell(None, SHARE).text == "–"


def test_sample_sizes() -> None:
    assert sample_sizes([None, estimate(0.5, 40), estimate(0.5, 38)]) == "n = 38–40"
    assert sample_sizes([estimate(0.5, 40)] * 2) == "n = 40"
    assert sample_sizes([None]) == ""


def test_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, table II, contrast (a): 56/70 - 48/80 by method 10 (Wilson's intervals, no correction) is
    # +0.2 with 95% limits 0.0524 and 0.3339.
    final, start = wilson(56, 70), wilson(48, 80)
    assert difference_interval(final, start) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def wilson(successes: int, n: int) -> dict[str, float]:
    z, p = 1.959964, successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"value": p, "low": centre - half, "high": centre + half, "n": n}


@pytest.mark.parametrize(("start", "final", "tone"), [(0.1, 0.6, "better"), (0.6, 0.1, "worse"), (0.4, 0.45, "open")])
def test_refusing_more_is_good_for_unsafe_and_bad_for_borderline_prompts(start: float, final: float, tone: str) -> None:
    before, after = estimate(start, 80), estimate(final, 80)
    measured = {
        "unsafe_refused_start": before,
        "unsafe_refused": after,
        "borderline_refused_start": before,
        "borderline_refused": after,
    }
    _, unsafe, borderline = headlines({"headline": measured})
    assert unsafe.tone == tone
    assert borderline.tone == {"better": "worse", "worse": "better", "open": "open"}[tone]
