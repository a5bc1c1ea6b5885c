"""Policy-gradient losses: hand-computed tokens, gradients by enumeration, padding, splits."""

import math

import pytest
import torch

from camelid.functional.policy_gradient import (
    averaged,
    clipped_losses,
    completion_kl,
    kl_losses,
    outside,
    ratios,
)

AVERAGES = ("completion", "token", "constant", "sum")
MASK = torch.tensor([[True, True, False], [True, True, True]])


# --- ratios and clips ---


def test_ratios_of_tokens_completions_and_their_roots():
    # Ratios of tokens 2, 3 (and a padded one) and 1/2, 1, 4: products 6 and 2, roots 6^(1/2) and 2^(1/3).
    new = torch.tensor([[2.0, 3.0, math.nan], [0.5, 1.0, 4.0]]).log()
    old = torch.zeros(2, 3)
    torch.testing.assert_close(ratios(new, old, MASK), torch.tensor([[2.0, 3.0, 1.0], [0.5, 1.0, 4.0]]))
    whole = ratios(new, old, MASK, ratio="completion")
    torch.testing.assert_close(whole, torch.tensor([[6.0] * 3, [2.0] * 3]))
    root = ratios(new, old, MASK, ratio="completion_mean")
    torch.testing.assert_close(root, torch.tensor([[6 ** (1 / 2)] * 3, [2 ** (1 / 3)] * 3]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.25, 2.0, -2.5),  # between: the high clip of 0.28 lets it pass
        (1.50, 2.0, -2.56),  # min(1.5 x 2, 1.28 x 2)
        (1.50, -2.0, 3.0),  # pulled back: not clipped
        (0.50, -2.0, 1.6),  # min(0.5 x -2, 0.8 x -2)
        (0.50, 2.0, -1.0),
    ],
)
def test_clips_low_and_high_are_apart(ratio, advantage, loss):
    one = torch.tensor([[True]])
    found = clipped_losses(torch.tensor([[ratio]]), torch.tensor([[advantage]]), one, clip_low=0.2, clip_high=0.28)
    assert found.item() == pytest.approx(loss)


def test_without_clips_the_loss_is_the_ratio_times_the_advantage():
    ratio, advantages = torch.tensor([[0.01, 1.0, 90.0]]), torch.tensor([[2.0, -1.0, 3.0]])
    free = clipped_losses(ratio, advantages, ratio > 0, clip_low=math.inf, clip_high=math.inf)
    torch.testing.assert_close(free, -ratio * advantages)


def test_outside_counts_on_either_side():
    found = outside(torch.tensor([[0.7, 0.85, 1.25, 1.3]]), clip_low=0.2, clip_high=0.28)
    assert found.tolist() == [[1.0, 0.0, 0.0, 1.0]]


# --- averages ---


@pytest.mark.parametrize(
    ("average", "total", "count"),
    [
        ("completion", 1.5 + 5.0, 2),  # (1 + 2) / 2 and (3 + 5 + 7) / 3
        ("token", 18.0, 5),
        ("constant", 18.0 / 4, 2),
        ("sum", 18.0, 2),
    ],
)
def test_averages_by_hand(average, total, count):
    losses = torch.tensor([[1.0, 2.0, math.nan], [3.0, 5.0, 7.0]])
    found = averaged(losses, MASK, average=average, constant=4.0)
    assert (found[0].item(), found[1].item()) == (pytest.approx(total), count)


@pytest.mark.parametrize("average", AVERAGES)
def test_a_split_of_the_batch_changes_no_sum_and_no_count(average):
    torch.manual_seed(0)
    losses, mask = torch.randn(6, 5), torch.rand(6, 5) < 0.6
    mask[:, 0] = True
    whole = averaged(losses, mask, average=average, constant=5)
    parts = [averaged(losses[i : i + 2], mask[i : i + 2], average=average, constant=5) for i in (0, 2, 4)]
    torch.testing.assert_close(sum(part for part, _ in parts), whole[0])
    assert sum(n.item() for _, n in parts) == whole[1].item()


def test_an_unknown_name_is_an_error_that_names_the_right_ones():
    with pytest.raises(ValueError, match="there are completion, token, constant, sum"):
        averaged(torch.zeros(2, 3), MASK, average="mean")
    with pytest.raises(ValueError, match="there are k1, k2, k3, unbiased"):
        kl_losses(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3), MASK, estimator="k4")
    with pytest.raises(ValueError, match="constant is 0"):
        averaged(torch.zeros(2, 3), MASK, average="constant", constant=0)


# --- gradients ---


def drawn_logprobs(seed: int = 0):
    """(logits (4, 5, 11), log-probabilities of drawn tokens (4, 5), mask, advantages a row), in float64."""
    stream = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 5, 11, generator=stream, dtype=torch.float64).requires_grad_()
    tokens = torch.randint(11, (4, 5, 1), generator=stream)
    mask = torch.tensor([[True] * n + [False] * (5 - n) for n in (5, 3, 1, 4)])
    advantages = torch.randn(4, 1, generator=stream, dtype=torch.float64).expand(4, 5)
    return logits, logits.log_softmax(-1).gather(-1, tokens)[..., 0], mask, advantages


@pytest.mark.parametrize(
    ("ratio", "average"), [("token", "sum"), ("completion", "completion"), ("completion", "sum"), ("token", "token")]
)
def test_on_policy_gradient_is_that_of_reinforce(ratio, average):
    """With ratio "completion" every token of a row holds the same loss, whose gradient is the whole completion's:
    the mean over its tokens is REINFORCE's, and their sum is that times its length."""
    logits, logprobs, mask, advantages = drawn_logprobs()
    found = ratios(logprobs, logprobs.detach(), mask, ratio=ratio)
    losses = clipped_losses(found, advantages, mask, clip_low=0.2, clip_high=0.2)
    total, count = averaged(losses, mask, average=average)
    gradient = torch.autograd.grad(total / count, logits, retain_graph=True)[0]
    completions = logprobs.masked_fill(~mask, 0).sum(1, keepdim=True) * advantages[:, :1]
    weights = mask.sum(1, keepdim=True) if (ratio, average) == ("completion", "sum") else 1
    reinforce = torch.autograd.grad(-(weights * completions).sum() / count, logits)[0]
    torch.testing.assert_close(gradient, reinforce)


@pytest.mark.parametrize("ratio", ["token", "completion", "completion_mean"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_padding_reaches_neither_value_nor_gradient(ratio, bad):
    def gradient(padding: float):
        torch.manual_seed(1)
        logprobs = torch.randn(2, 3).masked_fill(~MASK, padding).requires_grad_()
        old, ref, advantages = (torch.randn(2, 3).masked_fill(~MASK, padding) for _ in range(3))
        found = ratios(logprobs, old, MASK, ratio=ratio)
        losses = clipped_losses(found, advantages, MASK, clip_low=0.2, clip_high=0.2)
        losses = losses + kl_losses(logprobs, old, ref, MASK, estimator="unbiased")
        total = averaged(losses, MASK, average="completion")[0]
        total.backward()
        return total.detach(), logprobs.grad

    for a, b in zip(gradient(bad), gradient(0.0), strict=True):
        torch.testing.assert_close(a, b)


# --- the KL as a loss, by enumeration of one token ---

LOGITS = torch.tensor([0.3, -1.2, 2.0, 0.7], dtype=torch.float64)
OLD = torch.tensor([0.9, -0.4, 1.0, 0.1], dtype=torch.float64).log_softmax(0)
REF = torch.tensor([1.0, -0.5, 1.1, 0.2], dtype=torch.float64).log_softmax(0)
ALL = torch.ones(1, 4, dtype=torch.bool)


def divergence(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.exp() * (a - b)).sum()


def exact(direction) -> torch.Tensor:
    logits = LOGITS.clone().requires_grad_()
    return torch.autograd.grad(direction(logits.log_softmax(0)), logits)[0]


def in_the_mean(estimator: str, *, on_policy: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(value, gradient) of the loss over tokens that the old policy draws, each as often as it draws it."""
    logits = LOGITS.clone().requires_grad_()
    policy = logits.log_softmax(0)
    old = policy.detach() if on_policy else OLD
    losses = kl_losses(policy[None], old[None], REF[None], ALL, estimator=estimator)[0]
    value = (old.exp() * losses).sum()
    return value.detach(), torch.autograd.grad(value, logits)[0]


def forward_kl() -> torch.Tensor:
    return exact(lambda policy: divergence(policy, REF))


@pytest.mark.parametrize("on_policy", [True, False])
def test_the_unbiased_form_has_the_kls_value_and_gradient_whoever_drew(on_policy):
    value, gradient = in_the_mean("unbiased", on_policy=on_policy)
    torch.testing.assert_close(value, divergence(LOGITS.log_softmax(0), REF))
    torch.testing.assert_close(gradient, forward_kl())


def test_on_the_policy_k1_holds_to_nothing_k2_is_right_and_k3_is_that_of_the_reverse():
    torch.testing.assert_close(in_the_mean("k1", on_policy=True)[1], torch.zeros_like(LOGITS))
    torch.testing.assert_close(in_the_mean("k2", on_policy=True)[1], forward_kl())
    reverse = exact(lambda policy: divergence(REF, policy))
    torch.testing.assert_close(in_the_mean("k3", on_policy=True)[1], reverse)
    assert (reverse - forward_kl()).abs().max() > 0.05


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_off_the_policy_the_others_are_not_the_kls_gradient(estimator):
    assert (in_the_mean(estimator, on_policy=False)[1] - forward_kl()).abs().max() > 0.05


def test_in_the_reward_the_kl_is_that_of_whole_completions_and_in_the_loss_that_of_visited_states():
    """All completions of two tokens of two kinds, in float64: the second token's logits depend on the first."""
    stream = torch.Generator().manual_seed(3)
    first = torch.randn(2, generator=stream, dtype=torch.float64)
    second = torch.randn(2, 2, generator=stream, dtype=torch.float64)
    ref = torch.randn(2, 1, generator=stream, dtype=torch.float64).log_softmax(0)
    ref_second = torch.randn(2, 2, generator=stream, dtype=torch.float64).log_softmax(1)
    parameters = [first.requires_grad_(), second.requires_grad_()]
    a, b = first.log_softmax(0), second.log_softmax(1)
    logprobs = torch.stack([torch.stack([a[i], b[i, j]]) for i in range(2) for j in range(2)])
    ref_logprobs = torch.stack([torch.stack([ref[i, 0], ref_second[i, j]]) for i in range(2) for j in range(2)])
    mask = torch.ones_like(logprobs, dtype=torch.bool)
    share = logprobs.sum(1).exp().detach()  # of each of the four completions

    def gradient(loss: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(loss, parameters, retain_graph=True))

    whole = gradient((logprobs.sum(1).exp() * (logprobs - ref_logprobs).sum(1)).sum())
    # A penalty of the reward: minus the advantage, by REINFORCE.
    penalty = completion_kl(logprobs, ref_logprobs, mask)
    in_reward = gradient((share * penalty * logprobs.sum(1)).sum())
    torch.testing.assert_close(in_reward, whole)
    losses = kl_losses(logprobs, logprobs.detach(), ref_logprobs, mask, estimator="unbiased")
    in_loss = gradient((share * losses.sum(1)).sum())
    torch.testing.assert_close(in_loss[1], whole[1])  # the last token leads nowhere else
    assert (in_loss[0] - whole[0]).abs().max() > 0.01
