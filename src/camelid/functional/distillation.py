"""The loss of distillation: match a teacher's distribution over the next token, and the token that came.

On-policy distillation is the same loss on tokens that the student wrote: the sampling is the loop's business.
Left out: matching hidden states or attention, mixtures of the two divergences (generalised Jensen-Shannon). Teacher
and student must share a vocabulary.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Divergence = Literal["forward", "reverse"]
"""Which way the KL is taken: KL(teacher || student) asks the student to cover all that the teacher says, KL(student ||
teacher) to say nothing that the teacher would not."""


class Distilled(NamedTuple):
    """The summed loss, the number of `tokens`, and its two parts summed for the log, in nats."""

    sum: Tensor
    tokens: Tensor
    kl: Tensor
    """At the temperature, without the factor T^2. No gradient."""
    cross_entropy: Tensor
    """At temperature 1. No gradient."""


def distillation_loss(
    hidden: Tensor,
    weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    alpha: float = 1.0,
    divergence: Divergence = "forward",
    chunk_tokens: int = 256,
) -> Distilled:
    """KL to the teacher, mixed with cross-entropy (Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2).

        L = sum_t alpha T^2 D(p_t, q_t) + (1 - alpha) (- log softmax(z_t)[y_t]),
        p = softmax(teacher logits / T),   q = softmax(z / T),   z = hidden @ weight.T
        D = KL(p || q) forward, or KL(q || p) reverse (Gu et al. 2023, arXiv:2306.08543; Agarwal et al. 2023,
        arXiv:2306.13649, section 2)

    T^2 keeps the size of the gradient as T grows (their section 2). Departure: they mix a weighted average of two
    cross-entropies; the KL differs from the soft one by the teacher's entropy, which has no gradient.

    `hidden`: (N, H), the student's states that predict `targets` (N,) int64. `weight`: (V, H). `teacher_hidden`: (N, K)
    and `teacher_weight`: (V, K) get no gradient. Matrix products are in the dtype of the states, the rest in float32.
    Logits of `chunk_tokens` rows are alive at once: the gradients are found while they are there, so the backward pass
    only scales them. With alpha 0 the teacher is not looked at and L is the cross-entropy, to the bit.
    Raises ValueError for a temperature that is not positive, an alpha outside [0, 1], an unknown divergence,
    vocabularies that differ.
    """
    if divergence not in SLOPES:
        raise ValueError(f"no divergence {divergence!r}; there are {', '.join(SLOPES)}")
    if not temperature > 0 or not 0 <= alpha <= 1:
        raise ValueError(
            f"temperature {temperature}, alpha {alpha}: need a positive temperature and an alpha in [0, 1]"
        )
    if len(weight) != len(teacher_weight):
        raise ValueError(f"a vocabulary of {len(weight)} against the teacher's {len(teacher_weight)}: they must be one")
    if len(hidden) != len(teacher_hidden) or len(hidden) != len(targets):
        raise ValueError(f"{len(hidden)} states, {len(teacher_hidden)} of the teacher, {len(targets)} targets")
    total, kl, cross_entropy = _Chunked.apply(
        hidden, weight, teacher_hidden, teacher_weight, targets, temperature, alpha, SLOPES[divergence], chunk_tokens
    )
    return Distilled(total, torch.tensor(len(targets), device=hidden.device), kl, cross_entropy)


def _forward_kl(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """KL(p || q) (N,) of log-probabilities (N, V), and its gradient to the student's logits over T: q - p."""
    kl = (teacher.exp() * (teacher - student)).sum(-1)
    return kl, student.exp_() - teacher.exp_()


def _reverse_kl(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """KL(q || p) (N,), and its gradient: q (log q - log p - KL)."""
    gap = student - teacher
    q = student.exp_()
    kl = (q * gap).sum(-1)
    return kl, q * gap.sub_(kl[:, None])


SLOPES = {"forward": _forward_kl, "reverse": _reverse_kl}
"""By divergence; both may overwrite what they are given."""


class _Chunked(torch.autograd.Function):
    """The three sums, and the gradients to `hidden` and `weight` but for one factor, from one look at the logits."""

    @staticmethod
    def forward(ctx, hidden, weight, teacher_hidden, teacher_weight, targets, temperature, alpha, slope, chunk_tokens):
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        losses = torch.empty(len(hidden), device=hidden.device)
        kls, nlls = torch.zeros_like(losses), torch.empty_like(losses)
        d_hidden = torch.empty_like(hidden) if needs_hidden else None
        # Summed over all chunks, so in float32 whatever the format of the products.
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        head, teacher_head = weight.to(hidden.dtype), teacher_weight.to(teacher_hidden.dtype)
        for start in range(0, len(hidden), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = F.linear(hidden[part], head).float()
            normaliser = logits.logsumexp(-1)
            nlls[part] = normaliser - logits.gather(-1, targets[part, None])[:, 0]
            d_logits = torch.zeros_like(logits)
            if alpha > 0:
                teacher_logits = F.linear(teacher_hidden[part], teacher_head).float()
                teacher = F.log_softmax(teacher_logits / temperature, dim=-1)
                student = F.log_softmax(logits / temperature, dim=-1)
                kls[part], to_student = slope(student, teacher)
                d_logits += alpha * temperature * to_student
            if alpha < 1:
                d_logits += (1 - alpha) * (logits - normaliser[:, None]).exp_()
                d_logits.scatter_add_(1, targets[part, None], torch.full_like(d_logits[:, :1], alpha - 1))
            d_logits = d_logits.to(hidden.dtype)
            if d_hidden is not None:
                d_hidden[part] = d_logits @ head
            if d_weight is not None:
                d_weight += d_logits.T @ hidden[part]
        losses = alpha * temperature**2 * kls + (1 - alpha) * nlls
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.weight_dtype = weight.dtype
        kl, cross_entropy = kls.sum(), nlls.sum()
        ctx.mark_non_differentiable(kl, cross_entropy)
        return losses.sum(), kl, cross_entropy

    @staticmethod
    def backward(ctx, gradient, _kl, _cross_entropy):
        d_hidden, d_weight = ctx.saved_tensors
        to_hidden = None if d_hidden is None else (d_hidden * gradient).to(d_hidden.dtype)
        to_weight = None if d_weight is None else (d_weight * gradient).to(ctx.weight_dtype)
        return to_hidden, to_weight, None, None, None, None, None, None, None
