"""DPO, its label-smoothed and offset forms, and IPO: hand arithmetic, slopes, and what each draws a pair to."""

import math

import pytest
import torch

from camelid.functional.dpo import dpo_loss, ipo_loss, log_ratio_margins, mean_logprobs, offset_dpo_loss

CHOSEN, REJECTED = torch.tensor([-10.0, -7.0]), torch.tensor([-12.0, -4.0])
REF_CHOSEN, REF_REJECTED = torch.tensor([-11.0, -5.0]), torch.tensor([-11.0, -6.0])
PAIRS = (CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED)
"""h = (-10 + 11) - (-12 + 11) = 2 and (-7 + 5) - (-4 + 6) = -4."""


def pairs_of(margin: float) -> tuple[torch.Tensor, ...]:
    """One pair whose h is `margin`, its chosen log-probability a leaf."""
    zero = torch.zeros(1)
    return torch.tensor([margin], requires_grad=True), zero, zero, zero


def test_margins_by_hand():
    assert log_ratio_margins(*PAIRS).tolist() == [2.0, -4.0]


def test_dpo_by_hand():
    # beta h = 1 and -2: -log sigmoid(1) = log(1 + e^-1) = 0.313262, -log sigmoid(-2) = log(1 + e^2) = 2.126928.
    total, count = dpo_loss(*PAIRS, beta=0.5)
    assert total.item() == pytest.approx(0.313262 + 2.126928, abs=1e-5)
    assert count.item() == 2


@pytest.mark.parametrize("beta", [0.01, 0.1, 5.0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_a_policy_equal_to_its_reference_loses_ln_2(beta, label_smoothing):
    total, count = dpo_loss(CHOSEN, REJECTED, CHOSEN, REJECTED, beta=beta, label_smoothing=label_smoothing)
    assert total.item() == pytest.approx(2 * math.log(2), abs=1e-6)
    offset, _ = offset_dpo_loss(CHOSEN, REJECTED, CHOSEN, REJECTED, torch.zeros(2), beta=beta)
    assert offset.item() == pytest.approx(count.item() * math.log(2), abs=1e-6)


def test_the_slope_is_beta_times_how_wrong_the_pair_is():
    # Rafailov et al., after eq. 7: dL/d log pi(y_w) = -beta sigmoid(-beta h), and the opposite for y_l.
    leaves = [x.clone().requires_grad_() for x in PAIRS[:2]]
    total, _ = dpo_loss(*leaves, REF_CHOSEN, REF_REJECTED, beta=0.5)
    chosen, rejected = torch.autograd.grad(total, leaves)
    # sigmoid(-1) = 0.268941, sigmoid(2) = 0.880797, halved by beta.
    torch.testing.assert_close(chosen, torch.tensor([-0.134471, -0.440399]), atol=1e-5, rtol=0)
    assert torch.equal(rejected, -chosen)


def test_smoothed_labels_have_their_minimum_where_the_verdict_is_believed_as_far_as_it_is_true():
    # sigmoid(beta h) = 1 - e at h = log((1 - e) / e) / beta; for e = 0.1 and beta = 0.5: 2 ln 9 = 4.394449.
    for margin, sign in ((4.394449, 0), (4.0, -1), (5.0, 1)):
        chosen, *others = pairs_of(margin)
        total, _ = dpo_loss(chosen, *others, beta=0.5, label_smoothing=0.1)
        (slope,) = torch.autograd.grad(total, chosen)
        assert slope.item() == pytest.approx(0, abs=1e-6) if sign == 0 else slope.item() * sign > 0


def test_smoothing_by_hand():
    # beta h = 1 and -2, e = 0.25: .75 x 0.313262 + .25 x 1.313262 + .75 x 2.126928 + .25 x 0.126928 = 2.190190.
    total, _ = dpo_loss(*PAIRS, beta=0.5, label_smoothing=0.25)
    assert total.item() == pytest.approx(2.190190, abs=1e-5)


def test_an_offset_moves_the_ln_2_to_its_own_height():
    # beta h = 1 and -2; with offsets of 1 and -2 both pairs stand at 0.
    total, _ = offset_dpo_loss(*PAIRS, torch.tensor([1.0, -2.0]), beta=0.5)
    assert total.item() == pytest.approx(2 * math.log(2), abs=1e-6)
    plain, _ = offset_dpo_loss(*PAIRS, torch.zeros(2), beta=0.5)
    assert plain.item() == dpo_loss(*PAIRS, beta=0.5)[0].item()


def test_ipo_by_hand_and_its_target():
    # The target 1 / (2 x 0.25) is 2: (2 - 2)^2 + (-4 - 2)^2 = 36.
    total, count = ipo_loss(*PAIRS, beta=0.25)
    assert (total.item(), count.item()) == (36.0, 2)
    for margin, slope in ((2.0, 0.0), (1.0, -2.0), (5.0, 6.0)):  # 2 (h - target): it pulls back from beyond
        chosen, *others = pairs_of(margin)
        (gradient,) = torch.autograd.grad(ipo_loss(chosen, *others, beta=0.25)[0], chosen)
        assert gradient.item() == slope


def test_dpo_never_stops_pushing_where_ipo_turns():
    chosen, *others = pairs_of(1000.0)
    (dpo,) = torch.autograd.grad(dpo_loss(chosen, *others, beta=0.001)[0], chosen)
    (ipo,) = torch.autograd.grad(ipo_loss(chosen, *others, beta=0.001)[0], chosen)
    assert dpo.item() < 0 < ipo.item()  # 1 / (2 beta) = 500


def test_a_lost_pair_costs_its_distance_not_infinity():
    chosen, *others = pairs_of(-1e4)
    total, _ = dpo_loss(chosen, *others, beta=1.0)
    (slope,) = torch.autograd.grad(total, chosen)
    assert (total.item(), slope.item()) == (1e4, -1.0)


def test_length_normalised_dpo_does_not_pay_for_length():
    # Twice as long with twice the log-ratio is the same loss.
    lengths = torch.tensor([3.0, 8.0])
    once, _ = dpo_loss(*(mean_logprobs(x, lengths) for x in PAIRS), beta=2.0)
    twice, _ = dpo_loss(*(mean_logprobs(2 * x, 2 * lengths) for x in PAIRS), beta=2.0)
    assert once.item() == pytest.approx(twice.item(), rel=1e-6)
    # First pair: h = (-10 + 11) / 3 - (-12 + 11) / 3 = 2/3; second: -4 / 8 = -1/2. beta h = 4/3 and -1.
    expected = math.log(1 + math.exp(-4 / 3)) + math.log(1 + math.e)
    assert once.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", [dpo_loss, ipo_loss])
def test_splitting_the_batch_changes_no_gradient(loss):
    gradients = []
    for parts in ((slice(0, 2),), (slice(0, 1), slice(1, 2))):
        chosen = CHOSEN.clone().requires_grad_()
        for part in parts:
            loss(*(x[part] for x in (chosen, *PAIRS[1:])), beta=0.3)[0].backward()
        gradients.append(chosen.grad)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=0)


def test_nonsense_is_an_error():
    with pytest.raises(ValueError, match="beta is 0"):
        dpo_loss(*PAIRS, beta=0)
    with pytest.raises(ValueError, match="beta is -1"):
        ipo_loss(*PAIRS, beta=-1)
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.5"):
        dpo_loss(*PAIRS, beta=1, label_smoothing=0.5)
    with pytest.raises(ValueError, match="must be equal"):
        dpo_loss(CHOSEN, REJECTED[:1], REF_CHOSEN, REF_REJECTED, beta=1)
    with pytest.raises(ValueError, match="give one a pair"):
        offset_dpo_loss(*PAIRS, torch.zeros(1), beta=1)
    with pytest.raises(ValueError, match="no tokens"):
        mean_logprobs(CHOSEN, torch.tensor([3, 0]))
