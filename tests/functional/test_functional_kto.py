"""KTO: hand arithmetic, which way each kind of answer is pushed, and its reference point."""

import pytest
import torch

from camelid.functional.kto import kto_loss, reference_point

LOGPROBS, REF_LOGPROBS = torch.tensor([-8.0, -12.0, -5.0]), torch.tensor([-10.0, -10.0, -9.0])
DESIRABLE = torch.tensor([True, False, False])
"""Log-ratios 2, -2, 4."""
ZERO = torch.tensor(0.0)


def test_kto_by_hand():
    # z0 = 1, beta = 0.5: gains 0.5 (2 - 1) = 0.5, 0.5 (-2 - 1) = -1.5, 0.5 (4 - 1) = 1.5.
    # Desirable: 1 - sigmoid(0.5) = 0.377541. Undesirable: sigmoid(-1.5) = 0.182426 and sigmoid(1.5) = 0.817574.
    total, count = kto_loss(LOGPROBS, REF_LOGPROBS, DESIRABLE, torch.tensor(1.0), beta=0.5)
    assert total.item() == pytest.approx(0.377541 + 0.182426 + 0.817574, abs=1e-5)
    assert count.item() == 3
    weighted, _ = kto_loss(
        LOGPROBS, REF_LOGPROBS, DESIRABLE, torch.tensor(1.0), beta=0.5, desirable_weight=2, undesirable_weight=0.5
    )
    assert weighted.item() == pytest.approx(2 * 0.377541 + 0.5 * (0.182426 + 0.817574), abs=1e-5)


def test_at_the_reference_every_answer_costs_half_its_weight():
    total, _ = kto_loss(LOGPROBS, LOGPROBS, DESIRABLE, ZERO, beta=0.1, desirable_weight=1.0, undesirable_weight=3.0)
    assert total.item() == pytest.approx(0.5 * (1 + 3 + 3))


def test_good_answers_are_raised_and_bad_ones_lowered():
    logprobs = LOGPROBS.clone().requires_grad_()
    total, _ = kto_loss(logprobs, LOGPROBS, DESIRABLE, ZERO, beta=0.4)
    (slope,) = torch.autograd.grad(total, logprobs)
    # beta sigmoid'(0) = 0.4 / 4, down for the loss of a good answer.
    torch.testing.assert_close(slope, torch.tensor([-0.1, 0.1, 0.1]))


def test_what_is_far_gained_or_far_lost_hardly_moves():
    """The value saturates on both sides: unlike DPO, a hopeless answer is given up."""
    logprobs = torch.tensor([1000.0, -1000.0], requires_grad=True)
    total, _ = kto_loss(logprobs, torch.zeros(2), torch.tensor([True, True]), ZERO, beta=1.0)
    (slope,) = torch.autograd.grad(total, logprobs)
    assert total.item() == pytest.approx(1.0)
    assert slope.tolist() == [0.0, 0.0]


def test_the_reference_point_is_a_mean_that_is_never_negative_and_has_no_gradient():
    logprobs = torch.tensor([-3.0, -1.0], requires_grad=True)
    point = reference_point(logprobs, torch.tensor([-4.0, -4.0]))
    assert (point.item(), point.requires_grad) == (2.0, False)  # (1 + 3) / 2
    assert reference_point(logprobs, torch.tensor([0.0, 0.0])).item() == 0.0


def test_splitting_the_batch_changes_no_gradient():
    gradients = []
    for parts in ((slice(0, 3),), (slice(0, 1), slice(1, 3))):
        logprobs = LOGPROBS.clone().requires_grad_()
        for part in parts:
            loss, _ = kto_loss(logprobs[part], REF_LOGPROBS[part], DESIRABLE[part], torch.tensor(0.7), beta=0.3)
            loss.backward()
        gradients.append(logprobs.grad)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=0)


def test_nonsense_is_an_error():
    with pytest.raises(ValueError, match="beta is 0"):
        kto_loss(LOGPROBS, REF_LOGPROBS, DESIRABLE, ZERO, beta=0)
    with pytest.raises(ValueError, match="must be equal"):
        kto_loss(LOGPROBS, REF_LOGPROBS, DESIRABLE[:2], ZERO, beta=1)
    with pytest.raises(ValueError, match="0 mismatched completions"):
        reference_point(torch.zeros(0), torch.zeros(0))
