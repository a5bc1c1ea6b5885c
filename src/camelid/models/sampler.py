"""Batched sampling with a slot cache: prompts prefilled once for all their samples, finished rows dropped.

Each row keeps its own length, so nothing is padded on the left and every log-probability is that of the row alone. A
row draws from a stream of its own, named by the seed, the prompt and the sample: what it gets does not depend on which
rows have finished around it. Left out: replacing finished rows by waiting ones, top-p, streaming.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from camelid.functional.packing import pack, position_ids
from camelid.models.compute import send
from camelid.runs import derived_seed

PREFILL_TOKENS, PREFILL_TOKENS_GPU = 2048, 16384
"""Tokens of prompts a pass, on a CPU and elsewhere. The latter is chosen, not measured."""
COMPACT_BELOW = 0.75
"""Finished rows are dropped from the cache when fewer than this share still runs: a drop copies the cache."""


BLOCK = 256
"""Tokens whose probabilities are summed first when a token is drawn."""
DRAW_ROWS = 16
"""Rows whose tokens a CPU draws at once: a vocabulary of 49,152 in float32 takes 3 MB for them, which caches hold."""


class Sampling(BaseModel):
    """How completions are drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    temperature: float = Field(default=1.0, ge=0.0)
    """Logits are divided by this; 0 takes the likeliest token."""
    max_new_tokens: int = Field(default=64, ge=1)
    """A completion without end of turn is cut here."""
    batch_rows: int = Field(default=256, ge=1)
    """Completions drawn side by side; bounds the cache."""


class Sample(NamedTuple):
    """One completion as it was drawn."""

    ids: list[int]
    """Completion tokens, the end of turn included where there is one."""
    logprobs: list[float]
    """Of each token under the distribution that it was drawn from (temperature applied; at 0, temperature 1)."""
    finished: bool
    """True if it ended with an end of turn, False if it was cut (by `max_new_tokens`, or by `enough`)."""


class SlotCache:
    """Keys and values of R rows with S slots each, per layer: (R, KV heads, S, D). Passed to the model as its cache."""

    def __init__(self, num_slots: int, rows_per_prompt: int):
        self.num_slots = num_slots
        self.rows_per_prompt = rows_per_prompt
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.lengths = torch.zeros(0, dtype=torch.long)
        self.prefill: list[tuple[int, int]] | None = None
        """While prefilling: (first row, prompt length) of each packed prompt."""

    def allocate(self, config: Any, num_rows: int, dtype: torch.dtype, device: torch.device) -> None:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (num_rows, heads, self.num_slots, width)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)]
        self.lengths = torch.zeros(num_rows, dtype=torch.long, device=device)

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Called by every attention layer with the new keys and values; returns those to attend to."""
        if self.prefill is not None:
            start = 0
            for row, length in self.prefill:
                rows = slice(row, row + self.rows_per_prompt)
                self.keys[layer][rows, :, :length] = key[:, :, start : start + length]
                self.values[layer][rows, :, :length] = value[:, :, start : start + length]
                start += length
            return key, value
        every = torch.arange(len(self.lengths), device=key.device)
        # Under autocast keys come in float32 and values in the compute format.
        self.keys[layer][every, :, self.lengths - 1] = key[:, :, 0].to(self.keys[layer].dtype)
        self.values[layer][every, :, self.lengths - 1] = value[:, :, 0].to(self.values[layer].dtype)
        # All slots, the empty ones masked: a slice of them is not contiguous, and its products take twice as long.
        return self.keys[layer], self.values[layer]

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these, a tensor at a time: only one is there twice."""
        for tensors in (self.keys, self.values):
            for layer, tensor in enumerate(tensors):
                tensors[layer] = tensor[rows]
        self.lengths = self.lengths[rows]


@torch.no_grad()
def sample(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    stop_ids: Sequence[int],
    *,
    seed: int,
    num_samples: int = 1,
    tick: Callable[[int], None] = lambda rows: None,
    enough: Callable[[int, list[int]], bool] | None = None,
) -> list[list[Sample]]:
    """`num_samples` completions of each prompt. `tick` is called with the number of rows that have just ended.

    `enough` sees each completion grow (number of its prompt, ids so far) and may end it: that is how stop strings work.
    """
    for index, prompt in enumerate(prompts):
        if not len(prompt):
            raise ValueError(f"prompt {index} has no token; render it with the chat format first")
    context: int = model.config.max_position_embeddings  # type: ignore[union-attr, assignment]
    longest = max((len(prompt) for prompt in prompts), default=0)
    if longest + sampling.max_new_tokens > context:
        raise ValueError(
            f"a prompt of {longest} tokens leaves no room for {sampling.max_new_tokens} more in the context of "
            f"{context}; lower max_new_tokens, or drop the prompt"
        )
    per_batch = max(sampling.batch_rows // num_samples, 1)
    result: list[list[Sample]] = []
    for start in range(0, len(prompts), per_batch):
        part = prompts[start : start + per_batch]
        seeds = [derived_seed(seed, start + p, k) for p in range(len(part)) for k in range(num_samples)]
        stopped = partial(_stopped, enough, start, num_samples) if enough else None
        drawn = _sample_batch(model, part, num_samples, sampling, set(stop_ids), seeds, tick, stopped)
        result += [drawn[i : i + num_samples] for i in range(0, len(drawn), num_samples)]
    return result


def _sample_batch(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    num_samples: int,
    sampling: Sampling,
    stop_ids: set[int],
    seeds: list[int],
    tick: Callable[[int], None],
    stopped: Callable[[int, list[int]], bool] | None,
) -> list[Sample]:
    device = next(model.parameters()).device
    uniforms = torch.stack(
        [torch.rand(sampling.max_new_tokens, generator=torch.Generator().manual_seed(s)) for s in seeds]
    ).to(device)
    cache = SlotCache(max(map(len, prompts)) + sampling.max_new_tokens, num_samples)
    hidden = _prefill(model, prompts, cache)  # (R, H)

    ids: list[list[int]] = [[] for _ in seeds]
    logprobs: list[list[float]] = [[] for _ in seeds]
    # Who runs is known here, not on the device: a GPU is waited for once a token.
    running = list(range(len(seeds)))  # rows of the cache -> rows of the result
    alive = [True] * len(seeds)
    for step in range(sampling.max_new_tokens):
        tokens, token_logprobs = _draw(model, hidden, sampling.temperature, uniforms[:, step])
        drawn, drawn_logprobs = torch.stack([tokens.double(), token_logprobs.double()]).tolist()
        if not all(map(math.isfinite, drawn_logprobs)):
            raise FloatingPointError(
                "the model's logits are not finite; its weights are damaged or its format overflows"
            )
        ended = 0
        for place, (row, token, logprob) in enumerate(zip(running, map(int, drawn), drawn_logprobs, strict=True)):
            if not alive[place]:
                continue
            ids[row].append(token)
            logprobs[row].append(logprob)
            if token in stop_ids or (stopped and stopped(row, ids[row])):
                alive[place] = False
                ended += 1
        tick(ended)
        if not any(alive) or step + 1 == sampling.max_new_tokens:
            break
        if sum(alive) < COMPACT_BELOW * len(alive):
            places = [place for place, lives in enumerate(alive) if lives]
            kept = send(torch.tensor(places), device)
            cache.keep(kept)
            tokens, uniforms = tokens[kept], uniforms[kept]
            running, alive = [running[place] for place in places], [True] * len(places)
        hidden = _decode(model, tokens, cache)
    tick(sum(alive))
    return [Sample(i, p, bool(i) and i[-1] in stop_ids) for i, p in zip(ids, logprobs, strict=True)]


def _stopped(enough: Callable[[int, list[int]], bool], start: int, copies: int, row: int, ids: list[int]) -> bool:
    """`enough` for a row of a batch whose first prompt is number `start`."""
    return enough(start + row // copies, ids)


def _prefill(model: Any, prompts: Sequence[Sequence[int]], cache: SlotCache) -> Tensor:
    """Fill the cache with all prompts, packed; returns the last hidden state of each row, (R, H)."""
    device = next(model.parameters()).device
    copies = cache.rows_per_prompt
    cache.allocate(model.config, len(prompts) * copies, model.dtype, device)
    last: dict[int, Tensor] = {}
    at_once = PREFILL_TOKENS if device.type == "cpu" else PREFILL_TOKENS_GPU
    for part in pack([len(prompt) for prompt in prompts], at_once):
        lengths = [len(prompts[i]) for i in part]
        cache.prefill = [(i * copies, length) for i, length in zip(part, lengths, strict=True)]
        output = model.base_model(
            input_ids=send(torch.tensor([[token for i in part for token in prompts[i]]]), device),
            position_ids=send(torch.tensor([position_ids(lengths)]), device),
            past_key_values=cache,
            use_cache=True,
            segment_lengths=lengths,
        )
        ends = send(torch.tensor(lengths).cumsum(0) - 1, device)
        last.update(zip(part, output.last_hidden_state[0, ends], strict=True))
    cache.prefill = None
    lengths_by_row = send(torch.tensor([len(prompt) for prompt in prompts]), device)
    cache.lengths = lengths_by_row.repeat_interleave(copies)
    return torch.stack([last[i] for i in range(len(prompts))]).repeat_interleave(copies, 0)


def _decode(model: Any, tokens: Tensor, cache: SlotCache) -> Tensor:
    """Feed one token to every row; returns the hidden states (R, H)."""
    cache.lengths += 1
    output = model.base_model(
        input_ids=tokens[:, None],
        position_ids=cache.lengths[:, None] - 1,
        past_key_values=cache,
        use_cache=True,
        key_lengths=cache.lengths,
    )
    return output.last_hidden_state[:, 0]


def _draw(model: Any, hidden: Tensor, temperature: float, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Token (R,) by inverting the distribution function at `uniforms` (R,), and its log-probability (R,)."""
    with torch.autocast(hidden.device.type, enabled=False):  # the head is multiplied as the trainer does it
        logits = model.get_output_embeddings()(hidden)  # (R, V)
    at_once = DRAW_ROWS if logits.device.type == "cpu" else len(logits)
    parts = zip(logits.split(at_once), uniforms.split(at_once), strict=True)
    tokens, logprobs = map(torch.cat, zip(*(_draw_rows(part, temperature, u) for part, u in parts), strict=True))
    return tokens, logprobs


def _draw_rows(logits: Tensor, temperature: float, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.float() / (temperature or 1.0)
    weights = logits.sub_(logits.amax(-1, keepdim=True)).exp_()  # unnormalised, the likeliest token 1
    tokens = weights.argmax(-1) if temperature == 0 else invert(weights, uniforms)
    return tokens, (weights.gather(-1, tokens[:, None])[:, 0] / weights.sum(-1)).log()


def invert(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The token (R,) at which the running sum of `probabilities` (R, V) first exceeds `uniforms` (R,) of the total.

    In two levels, block sums first: one running sum over a vocabulary of 49,152 takes longer than the rest of the draw
    (195 against 138 ms for 240 rows on 2 busy cores). A token of probability 0 is never picked.
    """
    rows, size = probabilities.shape
    blocks = nn.functional.pad(probabilities, (0, -size % BLOCK)).view(rows, -1, BLOCK)
    totals = blocks.sum(-1).cumsum(-1)  # (R, V / BLOCK)
    target = uniforms[:, None] * totals[:, -1:]
    block = torch.searchsorted(totals, target, right=True).clamp_max(totals.shape[1] - 1)  # (R, 1)
    before = torch.where(block > 0, totals.gather(1, (block - 1).clamp_min(0)), 0.0)
    inside = blocks.gather(1, block[:, :, None].expand(rows, 1, BLOCK))[:, 0].cumsum(-1)  # (R, BLOCK)
    # Rounding may leave the target a hair beyond the block's own sum: then the last token with any probability is it.
    target = torch.minimum(target - before, inside[:, -1:] * (1 - 1e-6))
    return (block * BLOCK + torch.searchsorted(inside, target, right=True))[:, 0].clamp_max(size - 1)
