"""The distillation loss: hand arithmetic, autograd on whole logits, and where it must be cross-entropy."""

import math

import pytest
import torch
import torch.nn.functional as F

from camelid.functional.distillation import SLOPES, distillation_loss
from camelid.functional.logprobs import chunked_logprobs


def test_two_words_by_hand():
    # One token, vocabulary of two, width 1. Student logits (0, 0): q = (1/2, 1/2). Teacher logits (ln 3, 0): p = (3/4,
    # 1/4). KL = 3/4 ln(3/2) + 1/4 ln(1/2) = 0.130812; cross-entropy of target 0: ln 2 = 0.693147.
    hidden, head = torch.ones(1, 1), torch.zeros(2, 1)
    teacher_head = torch.tensor([[math.log(3)], [0.0]])
    result = distillation_loss(hidden, head, hidden, teacher_head, torch.tensor([0]), alpha=0.25)
    assert result.kl.item() == pytest.approx(0.130812, abs=1e-6)
    assert result.cross_entropy.item() == pytest.approx(math.log(2), abs=1e-6)
    # 0.25 x 0.130812 + 0.75 x 0.693147 = 0.552563
    assert result.sum.item() == pytest.approx(0.552563, abs=1e-6)
    assert result.tokens.item() == 1


def test_the_other_way_round_by_hand():
    # The same pair: KL(q || p) = 1/2 ln((1/2) / (3/4)) + 1/2 ln((1/2) / (1/4)) = (ln(2/3) + ln 2) / 2 = 0.143841.
    # Slope to the logits: q (log q - log p - KL) = 1/2 (ln(2/3) - 0.143841) = -0.274653, and the opposite.
    hidden, head = torch.ones(1, 1), torch.zeros(2, 1, requires_grad=True)
    teacher_head = torch.tensor([[math.log(3)], [0.0]])
    result = distillation_loss(hidden, head, hidden, teacher_head, torch.tensor([0]), divergence="reverse")
    assert result.kl.item() == pytest.approx(0.143841, abs=1e-6)
    (slope,) = torch.autograd.grad(result.sum, head)
    assert slope[:, 0].tolist() == pytest.approx([-0.274653, 0.274653], abs=1e-6)


@pytest.mark.parametrize("sure", ["first", "second"])
def test_forward_covers_the_teacher_and_reverse_stays_inside_it(sure):
    """A teacher of two modes, a student that must choose one: the reverse KL minds it less than the forward one."""
    teacher_head = torch.tensor([[5.0], [5.0], [-5.0]])
    head = torch.tensor([[8.0], [-2.0], [-8.0]] if sure == "first" else [[-2.0], [8.0], [-8.0]])
    one = torch.ones(1, 1)
    ways = [distillation_loss(one, head, one, teacher_head, torch.tensor([0]), divergence=d) for d in SLOPES]
    forward, reverse = (result.kl.item() for result in ways)
    assert reverse == pytest.approx(math.log(2), abs=1e-2)  # all on one of two equals
    assert forward > 4  # half of log(0.5 / e^-10) less ln 2 / 2


def random_case(seed: int = 0, dtype: torch.dtype = torch.float32):
    g = torch.Generator().manual_seed(seed)
    hidden, head = torch.randn(11, 4, generator=g).to(dtype), torch.randn(9, 4, generator=g).to(dtype)
    teacher, teacher_head = torch.randn(11, 6, generator=g).to(dtype), torch.randn(9, 6, generator=g).to(dtype)
    targets = torch.randint(0, 9, (11,), generator=g)
    return hidden.requires_grad_(), head.requires_grad_(), teacher, teacher_head, targets


def test_alpha_0_is_cross_entropy_to_the_bit():
    hidden, head, teacher, teacher_head, targets = random_case()
    result = distillation_loss(hidden, head, teacher, teacher_head, targets, temperature=1.0, alpha=0.0)
    plain = -chunked_logprobs(hidden, head, targets).sum()
    assert result.sum.item() == plain.item()
    assert result.kl.item() == 0.0  # the teacher was not asked
    ours, theirs = (torch.autograd.grad(loss, (hidden, head)) for loss in (result.sum, plain))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 1.0), (2.0, 0.5), (0.5, 0.9)])
@pytest.mark.parametrize("chunk_tokens", [3, 256])
def test_gradients_are_those_of_the_formula_on_whole_logits(temperature, alpha, chunk_tokens, divergence):
    hidden, head, teacher, teacher_head, targets = random_case()
    more = {"temperature": temperature, "alpha": alpha, "chunk_tokens": chunk_tokens, "divergence": divergence}
    result = distillation_loss(hidden, head, teacher, teacher_head, targets, **more)
    logits, teacher_logits = hidden @ head.T, teacher @ teacher_head.T
    pair = F.log_softmax(logits / temperature, -1), F.log_softmax(teacher_logits / temperature, -1)
    # kl_div(input, target) is KL(target || input).
    kl = F.kl_div(*(pair if divergence == "forward" else pair[::-1]), log_target=True, reduction="sum")
    plain = alpha * temperature**2 * kl + (1 - alpha) * F.cross_entropy(logits, targets, reduction="sum")
    assert result.sum.item() == pytest.approx(plain.item(), rel=1e-5)
    ours, theirs = (torch.autograd.grad(2.0 * loss, (hidden, head)) for loss in (result.sum, plain))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_a_student_equal_to_its_teacher_has_no_kl_and_no_gradient(divergence):
    hidden, head, *_, targets = random_case()
    more = {"temperature": 3.0, "divergence": divergence}
    result = distillation_loss(hidden, head, hidden.detach(), head.detach(), targets, **more)
    assert result.sum.item() == pytest.approx(0.0, abs=1e-5)
    (gradient,) = torch.autograd.grad(result.sum, hidden)
    assert gradient.abs().max() < 1e-5


def test_splitting_the_batch_changes_no_gradient():
    hidden, head, teacher, teacher_head, targets = random_case()
    whole = distillation_loss(hidden, head, teacher, teacher_head, targets, alpha=0.5)
    parts = [
        distillation_loss(hidden[part], head, teacher[part], teacher_head, targets[part], alpha=0.5)
        for part in (slice(0, 4), slice(4, 11))
    ]
    assert sum(p.tokens.item() for p in parts) == whole.tokens.item()
    (a,), (b,) = (torch.autograd.grad(loss, head) for loss in (whole.sum, parts[0].sum + parts[1].sum))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_frozen_head_gets_no_gradient():
    hidden, head, teacher, teacher_head, targets = random_case(dtype=torch.bfloat16)
    result = distillation_loss(hidden, head.detach(), teacher, teacher_head, targets)
    (gradient,) = torch.autograd.grad(result.sum, hidden)
    assert gradient.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"temperature": 0.0}, "positive temperature"),
        ({"alpha": 1.5}, r"alpha in \[0, 1\]"),
        ({"divergence": "sideways"}, "no divergence 'sideways'; there are forward, reverse"),
    ],
)
def test_nonsense_settings_are_errors(more, said):
    with pytest.raises(ValueError, match=said):
        distillation_loss(*random_case(), **more)


def test_vocabularies_must_be_one():
    hidden, head, teacher, teacher_head, targets = random_case()
    with pytest.raises(ValueError, match="vocabulary of 9 against the teacher's 8"):
        distillation_loss(hidden, head, teacher, teacher_head[:8], targets)
