"""The loss of a rule model and the reward that counts violations, by hand."""

import math

import pytest
import torch

from camelid.functional.rules import rule_reward, violation_loss


def test_the_loss_of_three_judgements_by_hand():
    """sigmoid(ln 3) = 3/4: broken costs ln(4/3), kept costs ln 4; half of each is their mean."""
    logits = torch.full((3,), math.log(3.0), dtype=torch.float64)
    total, count = violation_loss(logits, torch.tensor([1.0, 0.0, 0.5]))
    assert count.item() == 3
    expected = math.log(4 / 3) + math.log(4) + (math.log(4 / 3) + math.log(4)) / 2
    assert total.item() == pytest.approx(expected, abs=1e-12)


def test_the_gradient_is_probability_less_label_and_checked_in_float64():
    logits = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0.0, 1.0, 0.25])
    violation_loss(logits, labels)[0].backward()
    torch.testing.assert_close(logits.grad, torch.sigmoid(logits.detach()) - labels.double())
    assert torch.autograd.gradcheck(lambda z: violation_loss(z, labels)[0], (logits,))


def test_a_large_logit_costs_itself_and_no_infinity():
    total, _ = violation_loss(torch.tensor([200.0, -200.0]), torch.tensor([0.0, 0.0]))
    assert total.item() == pytest.approx(200.0)


def test_parts_of_a_batch_add_up():
    logits, labels = torch.randn(7, generator=torch.Generator().manual_seed(0)), torch.tensor([0.0, 1.0] * 3 + [0.5])
    whole, count = violation_loss(logits, labels)
    parts = [violation_loss(logits[a:b], labels[a:b]) for a, b in ((0, 2), (2, 3), (3, 7))]
    assert sum(part.item() for part, _ in parts) == pytest.approx(whole.item(), rel=1e-6)
    assert sum(n.item() for _, n in parts) == count.item()


def test_labels_and_shapes_that_make_no_sense():
    with pytest.raises(ValueError, match=r"labels run from 0.0 to 2.0"):
        violation_loss(torch.zeros(2), torch.tensor([0.0, 2.0]))
    with pytest.raises(ValueError, match=r"logits of shape \(2,\) against labels of \(3,\)"):
        violation_loss(torch.zeros(2), torch.zeros(3))


def test_a_sure_violation_costs_its_weight_whatever_the_number_of_rules():
    preference = torch.tensor([1.0, 1.0, 0.5])
    violations = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.25, 0.5]])
    reward = rule_reward(preference, violations, violation_coef=2.0)
    torch.testing.assert_close(reward, torch.tensor([1.0, -1.0, -1.0]))  # 1; 1 - 2; 0.5 - 2 * 0.75
    more = torch.cat([violations, torch.zeros(3, 5)], dim=1)
    torch.testing.assert_close(rule_reward(preference, more, violation_coef=2.0), reward)
    torch.testing.assert_close(rule_reward(preference, violations[:, :0], violation_coef=2.0), preference)


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(ValueError, match="take the sigmoid"):
        rule_reward(torch.zeros(1), torch.tensor([[3.0]]), violation_coef=1.0)
    with pytest.raises(ValueError, match=r"need \(B, N\)"):
        rule_reward(torch.zeros(2), torch.zeros(3, 1), violation_coef=1.0)
