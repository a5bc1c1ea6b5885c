"""Log-probabilities of given tokens, and entropies, from logits or straight from hidden states.

The logits are divided by the sampling temperature in training too, not only in sampling; otherwise the first
importance ratio is not 1 (Huang, Liu and von Werra 2023, 'The N implementation details of RLHF with PPO', policy detail
1). Top-p and top-k renormalisation is left out on purpose: log-probabilities are those of the whole distribution.

`chunked_logprobs` exists because the logits are the largest tensor of the whole step: 8,192 tokens of a vocabulary of
128,256 are 4.2 GB in float32, and a plain log-softmax holds several copies of it until the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 2048
"""Tokens of the vocabulary whose logits are made at a time: of 1,024 states 8 MB, which caches hold, and all 200 MB."""
KEPT_BYTES = 128 << 20
"""Logits of a head that trains are kept for the backward pass up to so many bytes, in the format of the product; above,
they are made again, and a quarter of the head's time goes into that."""


def token_logprobs(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature)[targets], in nats.

    `logits`: (..., V) of any float dtype. `targets`: (...) int64 in [0, V); they must already be shifted, so that
    logits[t] predicts targets[t]. Returns (...) float32. Raises ValueError for a temperature that is not positive.
    """
    scaled = _scaled(logits, temperature)
    chosen = scaled.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return chosen - scaled.logsumexp(-1)


def token_entropy(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Entropy of softmax(logits / temperature), in nats: H = - sum_v p_v log p_v.

    `logits`: (..., V). Returns (...) float32. A logit of -inf (a forbidden token) adds 0, the limit of p log p.
    """
    return _entropy(F.log_softmax(_scaled(logits, temperature), dim=-1))


def chunked_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    chunk_tokens: int = 256,
    weight_gradient: Tensor | None = None,
) -> Tensor:
    """`token_logprobs` of logits = hidden @ weight.T + bias, never all of them at once.

    `hidden`: (N, H), float32 or bfloat16. `weight`: (V, H). `bias`: (V,) or None. `targets`: (N,) int64.
    Returns (N,) float32 with gradients to `hidden`, `weight` and `bias`. With `weight_gradient` (V, H), the backward
    pass adds the weight's gradient to that, and autograd need not know that the weight trains.

    The matrix product is in the dtype of `hidden`, the softmax in float32. With a frozen head
    d log p_t / d hidden = (W_t - softmax(z) W) / temperature is found while the logits of `chunk_tokens` rows are
    there, and the backward pass only scales it. A head that trains needs the logits again. There they are made for
    `BLOCK` tokens of the vocabulary at a time, so that each row of the weight's gradient is touched once.
    """
    _check(temperature, chunk_tokens)
    frozen = weight_gradient is None and not (weight.requires_grad or (bias is not None and bias.requires_grad))
    if frozen and hidden.requires_grad and torch.is_grad_enabled():
        return _FrozenHead.apply(hidden, weight, bias, targets, temperature, chunk_tokens)
    return _TrainedHead.apply(hidden, weight, bias, targets, temperature, weight_gradient)


@torch.no_grad()
def chunked_entropies(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None = None, temperature: float = 1.0, chunk_tokens: int = 256
) -> Tensor:
    """`token_entropy` of the same logits, (N,) float32, without a gradient: for reports, not for losses."""
    _check(temperature, chunk_tokens)
    chunks = hidden.split(chunk_tokens)
    return torch.cat([token_entropy(_logits(rows, weight, bias), temperature=temperature) for rows in chunks])


@torch.no_grad()
def scores_of_targets(
    hidden: Tensor,
    weight: Tensor,
    index: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`token_logprobs` of several targets a state, and whether each is the likeliest token; no gradient.

    `hidden`: (N, H). `weight`: (V, H). `index`: (M,) the state of each target. `targets`: (M,) int64. Returns (M,)
    float32 and (M,) bool; of equally likely tokens the first is the likeliest.

    Maximum and sum are carried from block to block (Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3).
    """
    largest = torch.full((len(hidden),), -torch.inf, device=hidden.device)
    total, best = torch.zeros_like(largest), torch.zeros(len(hidden), dtype=torch.long, device=hidden.device)
    chosen = torch.empty(len(index), device=hidden.device)
    for block in _blocks(weight):
        logits = _logits(hidden, *_rows_of(block, weight, bias)).float()
        chosen = _chosen(logits, block, targets, chosen, index)
        top, place = logits.max(1)
        best = torch.where(top > largest, place + block.start, best)
        new = torch.maximum(top, largest)
        total = total * (largest - new).exp() + logits.sub_(new[:, None]).exp_().sum(1)
        largest = new
    return chosen - (largest + total.log())[index], best[index] == targets


class _FrozenHead(torch.autograd.Function):
    """Log-probabilities and their gradient to `hidden`, but for each token's factor, from one look at the logits."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, temperature, chunk_tokens):
        logprobs, slopes = torch.empty(len(hidden), device=hidden.device), torch.empty_like(hidden)
        weight = weight.to(hidden.dtype)
        for start in range(0, len(hidden), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            scaled = _scaled(_logits(hidden[part], weight, bias), temperature)
            chosen = scaled.gather(1, targets[part, None])
            largest = scaled.amax(1, keepdim=True)
            exponentials = scaled.sub_(largest).exp_()
            total = exponentials.sum(1, keepdim=True)
            logprobs[part] = (chosen - largest - total.log())[:, 0]
            expected = (exponentials.to(hidden.dtype) @ weight).float() / total
            slopes[part] = (weight[targets[part]] - expected) / temperature
        ctx.save_for_backward(slopes)
        return logprobs

    @staticmethod
    def backward(ctx, gradient):
        (slopes,) = ctx.saved_tensors
        return (slopes * gradient[:, None]).to(slopes.dtype), None, None, None, None, None


class _TrainedHead(torch.autograd.Function):
    """Log-probabilities block by block of the vocabulary, and gradients to everything.

    Of a block's logits z with logsumexp l_b, the whole having l: softmax(z) = softmax_b(z) exp(l_b - l). One factor a
    state thus makes a block's softmax part of the whole one, and it is put on states and results, which are narrower.
    """

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, temperature, weight_gradient):
        keep = any(ctx.needs_input_grad[:3]) or weight_gradient is not None
        keep = keep and len(hidden) * len(weight) * hidden.element_size() <= KEPT_BYTES
        chosen, parts, kept = torch.empty(len(hidden), device=hidden.device), [], []
        for block in _blocks(weight):
            logits = _logits(hidden, *_rows_of(block, weight, bias))
            scaled = _scaled(logits, temperature)
            chosen = _chosen(scaled, block, targets, chosen)
            parts.append(scaled[:, 0] - F.log_softmax(scaled, -1)[:, 0])  # logsumexp, by torch's fastest kernel
            if keep:
                kept.append(logits)
        normalisers = torch.stack(parts)  # (blocks, N)
        ctx.save_for_backward(hidden, weight, bias, targets, normalisers, *kept)
        ctx.temperature, ctx.weight_gradient = temperature, weight_gradient
        return chosen - normalisers.logsumexp(0)

    @staticmethod
    def backward(ctx, gradient):
        hidden, weight, bias, targets, normalisers, *kept = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        slopes = gradient / ctx.temperature
        factors = -slopes * (normalisers - normalisers.logsumexp(0)).exp()  # (blocks, N)
        # Sums over blocks and over calls are kept in float32, whatever the format of the products.
        d_hidden = weight[targets].float().mul_(slopes[:, None]) if needs_hidden else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else ctx.weight_gradient
        d_bias = torch.zeros_like(bias, dtype=torch.float32) if needs_bias else None
        if d_weight is not None:
            d_weight.index_add_(0, targets, (hidden * slopes[:, None]).to(d_weight.dtype))
        if d_bias is not None:
            d_bias.index_add_(0, targets, slopes)
        for i, block in enumerate(_blocks(weight)):
            rows, own_bias = _rows_of(block, weight, bias)
            logits = kept[i] if kept else _logits(hidden, rows, own_bias)
            shares = _softmax(logits, ctx.temperature)
            if d_bias is not None:
                d_bias[block] += factors[i] @ shares.float()
            if d_hidden is not None:
                d_hidden.addcmul_((shares @ rows.to(hidden.dtype)).float(), factors[i, :, None])
            if d_weight is not None:
                d_weight[block] += shares.T @ (hidden * factors[i, :, None]).to(hidden.dtype)
        return (
            None if d_hidden is None else d_hidden.to(hidden.dtype),
            d_weight.to(weight.dtype) if needs_weight else None,
            None if d_bias is None else d_bias.to(bias.dtype),
            None,
            None,
            None,
        )


def _blocks(weight: Tensor) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, len(weight), BLOCK))


def _rows_of(block: slice, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return weight[block], None if bias is None else bias[block]


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    """Of the last dimension, in the format of `logits`."""
    return (logits if temperature == 1 else logits.float() / temperature).softmax(-1).to(logits.dtype)


def _chosen(logits: Tensor, block: slice, targets: Tensor, chosen: Tensor, index: Tensor | None = None) -> Tensor:
    """`chosen` (M,) with the logits of those targets (M,) that lie in a block of the vocabulary.

    `logits`: (N, B). `index`: (M,) the state of each target, where they are not in order. Asks a device nothing.
    """
    inside = (targets >= block.start) & (targets < block.stop)
    columns = (targets - block.start).clamp(0, logits.shape[1] - 1)
    rows = torch.arange(len(logits), device=logits.device) if index is None else index
    return torch.where(inside, logits[rows, columns], chosen)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(hidden, weight.to(hidden.dtype), None if bias is None else bias.to(hidden.dtype))


def _check(temperature: float, chunk_tokens: int) -> None:
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens is {chunk_tokens}; it must be at least 1")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; greedy sampling has no log-probabilities, use a positive one")


def _entropy(logprobs: Tensor) -> Tensor:
    return -(logprobs.exp() * logprobs.masked_fill(logprobs.isneginf(), 0.0)).sum(-1)


def _scaled(logits: Tensor, temperature: float) -> Tensor:
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; greedy sampling has no log-probabilities, use a positive one")
    # Dividing by 1 would read and write the largest tensor of the step once more.
    return logits.float() if temperature == 1 else logits.float() / temperature
