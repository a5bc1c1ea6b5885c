"""A token of each row, drawn from its logits.

In this order: repetition penalty and what may not end yet, temperature, top-k, top-p, as transformers and vLLM do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from camelid.functional.token_filters import penalise_repetition, top_k, top_p
from camelid.models.compute import send
from camelid.models.sampling import Sampling

BLOCK = 256
"""Tokens whose probabilities are summed first when a token is drawn."""
DRAW_ROWS = 16
"""Rows whose tokens a CPU draws at once: a vocabulary of 49,152 in float32 takes 3 MB for them, which caches hold."""


class Filter(NamedTuple):
    """What changes a row's distribution besides the temperature."""

    sampling: Sampling
    seen: Sequence[int]
    """Tokens of prompt and completion."""
    forbidden: Sequence[int]
    """What may not be drawn yet."""

    def logits(self, logits: Tensor) -> Tensor:
        """(V,)"""
        if self.sampling.repetition_penalty != 1:
            seen = torch.tensor(sorted(set(self.seen)), device=logits.device)
            logits = penalise_repetition(logits, seen, self.sampling.repetition_penalty)
        if len(self.forbidden):
            logits = logits.index_fill(0, torch.tensor(list(self.forbidden), device=logits.device), float("-inf"))
        return logits

    def weights(self, weights: Tensor) -> Tensor:
        """Unnormalised probabilities (V,)."""
        return top_p(top_k(weights, self.sampling.top_k or len(weights)), self.sampling.top_p)


class Drawn(NamedTuple):
    """R tokens."""

    tokens: Tensor
    logprobs: Tensor
    """Under the distributions that they were drawn from."""
    model_logprobs: Tensor
    """Under the model's own; NaN where nobody asked."""


def draw(
    logits: Tensor,
    temperatures: Sequence[float],
    uniforms: Sequence[float],
    filters: Mapping[int, Filter],
    *,
    with_model: bool = False,
) -> Drawn:
    """Tokens by inverting the distribution function at `uniforms` (R,).

    `logits`: (R, V), divided by `temperatures` (R,); at temperature 0 the likeliest token, its log-probability at 1.
    `filters`: of the rows, by number, that have one.
    """
    at_once, parts = DRAW_ROWS if logits.device.type == "cpu" else len(logits), []
    for start in range(0, len(logits), at_once):
        rows = slice(start, start + at_once)
        own = {place - start: found for place, found in filters.items() if start <= place < start + at_once}
        part = logits[rows].float()
        drawn = _draw_rows(part, temperatures[rows], uniforms[rows], own)
        model = part.log_softmax(-1).gather(-1, drawn[0][:, None])[:, 0] if with_model else drawn[1] * float("nan")
        parts.append((*drawn, model))
    return Drawn(*map(torch.cat, zip(*parts, strict=True)))


def _draw_rows(
    logits: Tensor, temperatures: Sequence[float], uniforms: Sequence[float], filters: Mapping[int, Filter]
) -> tuple[Tensor, Tensor]:
    heat, places = (send(torch.tensor(x), logits.device) for x in (temperatures, uniforms))
    greedy = heat == 0
    for place, found in filters.items():
        logits = logits.index_copy(0, torch.tensor([place], device=logits.device), found.logits(logits[place])[None])
    scaled = logits if all(t == 1 for t in temperatures) else logits / torch.where(greedy, 1.0, heat)[:, None]
    weights = (scaled - scaled.amax(-1, keepdim=True)).exp_()  # unnormalised, the likeliest token 1
    for place, found in filters.items():
        weights[place] = found.weights(weights[place])
    tokens = invert(weights, places) if any(temperatures) else weights.argmax(-1)
    if any(temperatures) and not all(temperatures):
        tokens = torch.where(greedy, weights.argmax(-1), tokens)
    return tokens, (weights.gather(-1, tokens[:, None])[:, 0] / weights.sum(-1)).log()


def invert(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The token (R,) at which the running sum of `probabilities` (R, V) first exceeds `uniforms` (R,) of the total.

    In two levels, block sums first: one running sum over a vocabulary of 49,152 takes longer than the rest of the draw
    (195 against 138 ms for 240 rows on 2 busy cores). A token of probability 0 is never picked.
    """
    rows, size = probabilities.shape
    whole = nn.functional.pad(probabilities, (0, -size % BLOCK)) if size % BLOCK else probabilities
    blocks = whole.view(rows, -1, BLOCK)
    totals = blocks.sum(-1).cumsum(-1)  # (R, V / BLOCK)
    target = uniforms[:, None] * totals[:, -1:]
    block = torch.searchsorted(totals, target, right=True).clamp_max(totals.shape[1] - 1)  # (R, 1)
    before = torch.where(block > 0, totals.gather(1, (block - 1).clamp_min(0)), 0.0)
    inside = blocks.gather(1, block[:, :, None].expand(rows, 1, BLOCK))[:, 0].cumsum(-1)  # (R, BLOCK)
    # Rounding may leave the target a hair beyond the block's own sum: then the last token with any probability is it.
    target = torch.minimum(target - before, inside[:, -1:] * (1 - 1e-6))
    return (block * BLOCK + torch.searchsorted(inside, target, right=True))[:, 0].clamp_max(size - 1)
