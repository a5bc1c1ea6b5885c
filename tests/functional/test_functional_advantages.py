"""Advantages from scores: by hand, unbiased by enumeration, and what is alike."""

from dataclasses import asdict
from itertools import product

import pytest
import torch

from camelid.functional.advantages import (
    EPSILON,
    RunningMean,
    alike,
    batch_centred,
    group_centred,
    group_standardized,
    leave_one_out,
)

SCORES = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])


def test_leave_one_out_by_hand():
    # 1 - (2 + 6)/2 = -3, 2 - (1 + 6)/2 = -1.5, 6 - (1 + 2)/2 = 4.5; 0 - 1.5, 0 - 1.5, 3 - 0.
    torch.testing.assert_close(leave_one_out(SCORES), torch.tensor([[-3.0, -1.5, 4.5], [-1.5, -1.5, 3.0]]))


def test_group_centred_by_hand():
    torch.testing.assert_close(group_centred(SCORES), torch.tensor([[-2.0, -1.0, 3.0], [-1.0, -1.0, 2.0]]))


def test_group_standardized_divides_by_the_deviation_of_a_sample():
    # Squares 4 + 1 + 9 = 14 over K - 1 = 2: std = sqrt(7); 1 + 1 + 4 = 6: sqrt(3).
    expected = torch.tensor([[-2.0, -1.0, 3.0], [-1.0, -1.0, 2.0]]) / (torch.tensor([[7.0], [3.0]]).sqrt() + EPSILON)
    torch.testing.assert_close(group_standardized(SCORES), expected)


def test_batch_centred_by_hand():
    torch.testing.assert_close(batch_centred(SCORES), SCORES - 2)  # 12 / 6


def test_running_mean_is_that_of_all_scores_so_far():
    baseline = RunningMean()
    torch.testing.assert_close(baseline.advantages(SCORES), SCORES - 2)
    # 12 + 6 = 18 over 6 + 3 = 9 scores: 2 again; then 18 + 11 = 29 over 10.
    assert baseline.advantages(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[-1.0, 0.0, 1.0]]
    baseline = RunningMean(**asdict(baseline))
    assert baseline.advantages(torch.tensor([[11.0]])).item() == pytest.approx(11 - 2.9)
    assert baseline.number == 10


@pytest.mark.parametrize(
    ("advantage", "share"),
    # A baseline that the completion is in takes its share of the gradient: 1/K of a group, 1/(PK) of the batch.
    [(leave_one_out, 1.0), (group_centred, 1 / 2), (batch_centred, 1 / 2)],
)
def test_the_gradient_in_the_mean_is_that_of_the_expected_score_but_for_its_share(advantage, share):
    """All pairs of completions of one prompt, two of three tokens each, in float64."""
    worth = torch.tensor([0.2, 1.0, -0.7], dtype=torch.float64)
    logits = torch.tensor([0.3, -1.0, 0.4], dtype=torch.float64, requires_grad=True)
    logprobs = logits.log_softmax(0)
    exact = torch.autograd.grad((logprobs.exp() * worth).sum(), logits, retain_graph=True)[0]
    mean = torch.zeros_like(exact)
    for pair in product(range(3), repeat=2):
        drawn = torch.tensor(pair)
        a = advantage(worth[drawn][None])[0]
        estimate = torch.autograd.grad((a * logprobs[drawn]).mean(), logits, retain_graph=True)[0]
        mean += logprobs[drawn].sum().exp().detach() * estimate
    torch.testing.assert_close(mean, share * exact)


def test_groups_are_alike_up_to_rounding():
    third = 1 / 3
    scores = torch.tensor([[1.0, 1.0], [0.0, 0.0], [third, third * (1 + 1e-7)], [1.0, 1.001], [0.0, 1e-9]])
    assert alike(scores).tolist() == [True, True, True, False, False]


def test_alike_groups_have_no_advantage():
    same = torch.full((2, 4), 0.3)
    for advantage in (leave_one_out, group_centred, group_standardized):
        assert advantage(same).abs().max() < 1e-3


@pytest.mark.parametrize("advantage", [leave_one_out, group_centred, group_standardized])
def test_one_completion_is_no_group(advantage):
    with pytest.raises(ValueError, match="draw at least 2 a prompt"):
        advantage(torch.zeros(3, 1))
