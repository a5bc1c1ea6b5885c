"""Prompts through the model, once for all their samples, and what they begin with once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from camelid.models.batch import SHARE_FROM
from camelid.models.cohort import Cohort, Prompts
from camelid.models.compute import send
from camelid.models.prefix_tree import share
from camelid.models.tree_attention import make_tree
from camelid.models.trunk import Trunk

PREFILL_TOKENS, PREFILL_TOKENS_GPU = 2048, 16384
"""Tokens of prompts a pass, on a CPU and elsewhere. The latter is chosen, not measured."""
ALIKE = 0.6
"""Prompts stand side by side if the shortest has at least this share of the longest's tokens, "FREE_PADDING" apart."""
FREE_PADDING = 2048
"""Tokens of padding that cost no more than another rectangle, whose operators are called in every layer of every step.
32 prompts of ShareGPT, eight samples, with 0, 1,024, 4,096, 16,384: 936, 997, 952, 953 tokens a second (n = 1)."""


class Prefilled(NamedTuple):
    """What rows begin with; they are in the order of their prompts' lengths."""

    cohort: Cohort
    states: Tensor
    """(R, H) from which the first tokens are drawn."""
    rows: list[tuple[int, int]]
    """Of each row the number of its prompt, and of the sample."""


def prefill(trunk: Trunk, prompts: Sequence[Sequence[int]], copies: Sequence[int], most: int) -> Prefilled:
    """Caches for `copies` rows of each prompt, which draw `most` tokens at most."""
    device = trunk.compute.device
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    parts: list[Prompts] = []
    states: list[Tensor] = []
    for run in _runs(order, [len(prompt) for prompt in prompts], device.type == "cpu"):
        shared = share([prompts[i] for i in run], SHARE_FROM)
        tree = make_tree(shared.pieces, device)
        tree.leaves = True
        ids, positions = (send(torch.tensor([x]), device) for x in (shared.ids, shared.positions))
        hidden = trunk.forward(ids, positions, tree=tree)[0]
        ends = torch.tensor([places[-1] for places in shared.places])
        rows = ends.repeat_interleave(torch.tensor([copies[i] for i in run]))
        states.append(hidden.index_select(0, send(rows, device)))
        left = [tree.left[layer] for layer in sorted(tree.left)]
        for alike in _alike([len(prompts[i]) for i in run]):
            parts.append(_side_by_side(left, shared.places[alike], [copies[i] for i in run[alike]]))
    return Prefilled(Cohort(parts, most), torch.cat(states), [(i, k) for i in order for k in range(copies[i])])


def _runs(order: Sequence[int], lengths: Sequence[int], on_cpu: bool) -> Iterator[list[int]]:
    """Prompts of one pass each: as many as fit, at least one."""
    most, run, tokens = PREFILL_TOKENS if on_cpu else PREFILL_TOKENS_GPU, list[int](), 0
    for i in order:
        if run and tokens + lengths[i] > most:
            yield run
            run, tokens = [], 0
        run.append(i)
        tokens += lengths[i]
    if run:
        yield run


def _alike(lengths: Sequence[int]) -> Iterator[slice]:
    """Runs of like lengths, of lengths in ascending order."""
    start = 0
    for end in range(1, len(lengths) + 1):
        if end < len(lengths):
            padding = sum(lengths[end] - length for length in lengths[start:end])
            if padding <= FREE_PADDING or lengths[start] >= ALIKE * lengths[end]:
                continue
        yield slice(start, end)
        start = end


def _side_by_side(left: Sequence[tuple[Tensor, Tensor]], places: Sequence[list[int]], copies: Sequence[int]) -> Prompts:
    """Keys and values (groups, T, D) of a pass, put in order for n prompts whose tokens lie at `places`."""
    longest = max(map(len, places))
    index = torch.tensor([own + own[-1:] * (longest - len(own)) for own in places]).flatten()
    index = send(index, left[0][0].device)
    # (groups, n P, D) -> (n, groups, P, D), contiguous: every step reads it.
    keys, values = (
        [x.index_select(1, index).unflatten(1, (-1, longest)).transpose(0, 1).contiguous() for x in layers]
        for layers in zip(*left, strict=True)
    )
    return Prompts(keys, values, list(map(len, places)), copies)
