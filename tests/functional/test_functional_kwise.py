"""Rankings of K and the safety loss: by hand, against pairs, and what they leave out."""

import math

import pytest
import torch

from camelid.functional.ranking import kwise_ranking_loss, ranking_loss, safety_loss
from camelid.functional.schedules import warmup


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_all_pairs_of_a_prompt_by_hand():
    # Scores 2, 0, 1, in the order 0 > 2 > 1: gaps 1, 2, 1. - log sigmoid(g) = softplus(-g); the mean of three.
    scores = torch.tensor([2.0, 0.0, 1.0])
    better, worse = torch.tensor([0, 0, 2]), torch.tensor([2, 1, 1])
    loss, count = kwise_ranking_loss(scores, better, worse, torch.zeros(3), torch.zeros(3, dtype=torch.long))
    assert loss.item() == pytest.approx((2 * softplus(-1) + softplus(-2)) / 3)
    assert count.item() == 1


def test_a_margin_is_taken_from_its_pairs_gap():
    one = torch.tensor([0]), torch.tensor([1])
    loss, _ = kwise_ranking_loss(torch.tensor([1.0, 0.0]), *one, torch.tensor([3.0]), torch.tensor([0]))
    assert loss.item() == pytest.approx(softplus(2.0))


def ranked(number: int):
    """Scores of `number` prompts with 2, 3, 4 ... completions in the order that they stand in; and their pairs."""
    sizes = [2 + i for i in range(number)]
    scores = torch.randn(sum(sizes), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs, start = [], 0
    for prompt, size in enumerate(sizes):
        pairs += [(start + i, start + k, prompt) for i in range(size) for k in range(i + 1, size)]
        start += size
    return scores.requires_grad_(), *(torch.tensor(column) for column in zip(*pairs, strict=True))


def test_loss_and_gradient_are_the_weighted_sum_of_its_pairs():
    scores, better, worse, prompts = ranked(4)
    margins = torch.linspace(0, 1, len(better), dtype=torch.float64)
    loss, count = kwise_ranking_loss(scores, better, worse, margins, prompts)
    [gradient] = torch.autograd.grad(loss, scores)
    weights = [1.0, 1 / 3, 1 / 6, 1 / 10]  # C(2, 2), C(3, 2), C(4, 2), C(5, 2) pairs
    alone = sum(
        weights[q] * ranking_loss(scores[[b]], scores[[w]], margins[[i]])[0]
        for i, (b, w, q) in enumerate(zip(better.tolist(), worse.tolist(), prompts.tolist(), strict=True))
    )
    assert count.item() == 4
    assert loss.item() == pytest.approx(alone.item(), rel=1e-12)
    torch.testing.assert_close(gradient, torch.autograd.grad(alone, scores)[0], rtol=1e-12, atol=1e-14)


def test_two_completions_are_a_pair_to_the_bit():
    generator = torch.Generator().manual_seed(1)
    scores, margins = torch.randn(64, generator=generator), torch.rand(32, generator=generator)
    plain = ranking_loss(scores[0::2], scores[1::2], margins)
    pairs = torch.arange(0, 64, 2)
    kwise = kwise_ranking_loss(scores, pairs, pairs + 1, margins, torch.arange(32))
    assert torch.equal(kwise[0], plain[0]) and kwise[1] == plain[1]


def test_prompts_need_not_be_numbered_without_gaps():
    """A micro-batch has the prompts 1 and 3 of a step."""
    scores, pairs = torch.tensor([2.0, 0.0, 1.0, 0.0]), (torch.tensor([0, 2]), torch.tensor([1, 3]))
    loss, count = kwise_ranking_loss(scores, *pairs, torch.zeros(2), torch.tensor([3, 1]))
    assert (loss.item(), count.item()) == (pytest.approx(softplus(-2) + softplus(-1)), 2)


def test_shapes_that_differ_are_an_error():
    with pytest.raises(ValueError, match=r"margins and prompts have shapes .* must be equal"):
        kwise_ranking_loss(torch.zeros(2), torch.tensor([0]), torch.tensor([1]), torch.zeros(2), torch.tensor([0]))
    with pytest.raises(ValueError, match="safe, known and prompts have shapes"):
        safety_loss(torch.zeros(2), torch.tensor([True]), torch.tensor([True]), torch.tensor([0]))


def test_safety_by_hand_and_a_prompt_weighs_the_same_however_many_labels_it_has():
    # Prompt 0: safe at 2, unsafe at 1, the mean of softplus(-2) and softplus(1). Prompt 1: unsafe at -3, one unknown.
    scores = torch.tensor([2.0, 1.0, -3.0, math.nan])
    safe, known = torch.tensor([True, False, False, True]), torch.tensor([True, True, True, False])
    loss, count = safety_loss(scores, safe, known, torch.tensor([0, 0, 1, 1]))
    assert loss.item() == pytest.approx((softplus(-2) + softplus(1)) / 2 + softplus(-3))
    assert count.item() == 2


def test_the_safety_gradient_is_probability_less_label_and_none_where_nobody_said():
    scores = torch.tensor([0.7, -0.2, math.inf], dtype=torch.float64, requires_grad=True)
    safe, known = torch.tensor([True, False, False]), torch.tensor([True, True, False])
    safety_loss(scores, safe, known, torch.tensor([0, 1, 2]))[0].backward()
    sigmoid = [1 / (1 + math.exp(-0.7)), 1 / (1 + math.exp(0.2))]
    assert scores.grad.tolist() == pytest.approx([sigmoid[0] - 1, sigmoid[1], 0.0], rel=1e-12)


def test_without_a_label_there_is_no_safety_loss():
    nobody = torch.tensor([False, False])
    loss, count = safety_loss(torch.tensor([1.0, 2.0]), nobody, nobody, torch.tensor([0, 0]))
    assert (loss.item(), count.item()) == (0.0, 0)


def test_llama_2s_warm_up_is_three_per_cent_but_at_least_five():
    assert [warmup(steps, at_least=5, fraction=0.03) for steps in (10, 166, 200, 1000)] == [5, 5, 6, 30]
    assert warmup(1000, at_least=0, fraction=0.0) == 0
