"""Penalties, bounds and running scales by hand; two scores that part."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from camelid.functional.divergence import divergence
from camelid.functional.shaping import (
    RunningMoments,
    clip_scores,
    length_penalty,
    penalise_unfinished,
    score_unfinished,
    soft_overlong_penalty,
)


def test_each_token_above_the_free_ones_costs_the_same():
    # 12 - 10 = 2 tokens at 0.25 each
    assert length_penalty(tensor([0, 10, 11, 12]), free_tokens=10, per_token=0.25).tolist() == [0, 0, 0.25, 0.5]


def test_the_overlong_penalty_rises_over_its_buffer():
    # The buffer of 8 begins at 20 - 8 = 12: 14 is 2/8 into it, 20 all of it; beyond the limit it stays 1.
    lengths = tensor([1, 12, 14, 20, 25])
    assert soft_overlong_penalty(lengths, max_tokens=20, buffer_tokens=8).tolist() == [0, 0, 0.25, 1, 1]
    for buffer in (0, 21):
        with pytest.raises(ValueError, match=f"a buffer of {buffer} tokens before a limit of 20"):
            soft_overlong_penalty(lengths, max_tokens=20, buffer_tokens=buffer)


def test_a_missing_end_of_turn_replaces_the_score_or_is_subtracted_from_it():
    scores, finished = tensor([2.0, 2.0, -3.0]), tensor([True, False, False])
    assert score_unfinished(scores, finished, -1.0).tolist() == [2, -1, -1]
    assert penalise_unfinished(scores, finished, 0.5).tolist() == [2, 1.5, -3.5]


def test_clipping_leaves_what_is_inside_alone():
    assert clip_scores(tensor([-7.0, -5.0, 0.25, 9.0]), 5.0).tolist() == [-5, -5, 0.25, 5]


batches = st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=9), min_size=1, max_size=6)


@given(batches)
def test_running_moments_of_batches_are_those_of_all_numbers(parts):
    moments = RunningMoments()
    for part in parts:
        moments.update(torch.tensor(part, dtype=torch.float64))
    everything = torch.tensor([x for part in parts for x in part], dtype=torch.float64)
    assert moments.count == len(everything)
    assert moments.mean == pytest.approx(everything.mean().item(), abs=1e-9)
    assert moments.std == pytest.approx(everything.std(correction=0).item(), abs=1e-6)


def test_running_moments_lose_no_digits_far_from_zero():
    """1e8 + {0, 1, 2, 3} in two batches: the variance is that of 0..3, 1.25; sums of squares would give noise."""
    moments = RunningMoments()
    for part in ([0.0, 1.0], [2.0, 3.0]):
        moments.update(torch.tensor(part, dtype=torch.float64) + 1e8)
    assert (moments.mean, moments.std**2) == pytest.approx((1e8 + 1.5, 1.25), rel=1e-12)


def test_a_running_scale_goes_on_to_the_bit_after_it_was_written_down():
    first = RunningMoments()
    first.update(torch.randn(7, generator=torch.Generator().manual_seed(0)))
    second = RunningMoments(**json.loads(json.dumps(asdict(first))))
    more = torch.randn(5, generator=torch.Generator().manual_seed(1))
    for moments in (first, second):
        moments.update(more)
    assert asdict(first) == asdict(second)
    assert torch.equal(first.standardise(more), second.standardise(more))


def test_a_running_scale_standardises():
    # Of 1, 3, 5, 7: mean 4, squared distances 9, 1, 1, 9, so the deviation is sqrt(5).
    moments = RunningMoments()
    with pytest.raises(ValueError, match="no score has been taken in"):
        moments.standardise(tensor([1.0]))
    moments.update(tensor([1.0, 3.0]))
    moments.update(tensor([5.0, 7.0]))
    assert moments.standardise(tensor([4.0, 9.0])).tolist() == pytest.approx([0, 5**0.5])
    constant = RunningMoments()
    constant.update(tensor([0.1, 0.1, 0.1]))
    assert constant.standardise(tensor([0.1, 0.1])).tolist() == [0, 0]


def test_divergence_is_how_much_one_rose_while_the_other_fell():
    # Halves of 0, 1 | 2, 3: the score rose by 2.5 - 0.5 = 2; the alarm fell by 4 - 3.5 = 0.5.
    assert divergence([0, 1, 2, 3], [4, 4, 4, 3]) == pytest.approx(0.5)
    assert divergence([0, 1, 1, 1], [9, 9, 0, 0]) == pytest.approx(0.5)
    # The middle one of five counts in neither half.
    assert divergence([0, 0, 99, 1, 1], [2, 2, -99, 0, 0]) == pytest.approx(1)
    assert divergence([0, 1], [0, 1]) == 0  # both rise
    assert divergence([1, 0], [1, 0]) == 0  # both fall
    assert divergence([1, 0], [0, 1]) == 0  # the alarm rises
    for wrong in (([1], [1]), ([1, 2], [1, 2, 3])):
        with pytest.raises(ValueError, match="two lists of one length"):
            divergence(*wrong)
