"""Log-probabilities of many continuations: what rows have in common is computed once (`prefix_tree.py`).

Exact: every token sees what it would see alone, and its position is the same (tests/test_likelihood.py compares with
one row at a time). Not here: text (`answering.py`) and gradients, though the attention has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camelid.functional.logprobs import scores_of_targets
from camelid.models.compute import send
from camelid.models.prefix_tree import Asked, Kept, Pack, plan
from camelid.models.reordered import reordered
from camelid.models.tree_attention import make_tree

PACK_TOKENS = 512
"""Tokens a pass on a CPU: what a layer makes of them stays in the caches, and larger products are no faster."""
PACK_TOKENS_GPU = 16384
"""Tokens a pass elsewhere, where a pass must fill many cores. Chosen, not measured."""
REORDER_FROM = 64
"""Fewest rows for which the weights are reordered, a matter of a fifth of a second."""
MOST_WORKERS = 8
"""Packs side by side, at most: Python itself runs one thread at a time."""

KeptLayers = list[tuple[Tensor, Tensor]]


class RowScores(NamedTuple):
    """The asked tokens of a row."""

    logprobs: Tensor
    """(N,) float32, in nats, on the CPU."""
    likeliest: Tensor
    """(N,) bool: whether the token is the likeliest of its place."""


PackScores = list[tuple[int, RowScores]]
"""Rows of one pack, by number."""


class Matrix(NamedTuple):
    """An output head in the format of its product."""

    weight: Tensor
    bias: Tensor | None


def row_scores(
    trunk: Any,
    head: Any,
    rows: Sequence[Asked],
    *,
    coarse: bool = False,
    pack_tokens: int = 0,
    tick: Callable[[int], None] = lambda rows: None,
) -> list[RowScores]:
    """Log-probabilities of the asked tokens of all rows. `trunk`: a `Trunk`; `head`: the model's output embedding.

    `coarse` takes products in bfloat16 from a model that is held in float32. `pack_tokens`: tokens a pass, 0 for what
    suits the device. `tick` is called with the number of rows just done.
    """
    result: dict[int, RowScores] = {}
    on_cpu = trunk.compute.device.type == "cpu"
    steps = plan(rows, pack_tokens or (PACK_TOKENS if on_cpu else PACK_TOKENS_GPU))
    workers = min(torch.get_num_threads(), MOST_WORKERS) if on_cpu else 1
    products = torch.bfloat16 if coarse else None
    matrix = Matrix(head.weight.to(products or head.weight.dtype), head.bias)
    with reordered(trunk.model, PACK_TOKENS, products) if coarse or len(rows) >= REORDER_FROM else nullcontext():
        for part in _scores(trunk, matrix, rows, steps, [], workers):
            result.update(part)
            tick(len(part))
    return [result[i] for i in range(len(rows))]


def _scores(
    trunk: Any, head: Matrix, rows: Sequence[Asked], steps: Sequence[Pack | Kept], kept: KeptLayers, workers: int
) -> Iterator[PackScores]:
    """Scores pack by pack; what is kept is computed where it is needed, and dropped after that."""
    for step in steps:
        if isinstance(step, Kept):
            yield from _scores(trunk, head, rows, step.steps, _keep(trunk, step, kept), workers)
    packs = [step for step in steps if isinstance(step, Pack)]
    yield from _side_by_side(lambda pack: _score(trunk, head, rows, pack, kept), packs, workers)


def _side_by_side(function: Callable[[Pack], PackScores], packs: Sequence[Pack], workers: int) -> Iterator[PackScores]:
    """`function` of each pack, in order, a thread a pack: threads that share a pack wait for each other at every step.

    Measured on two busy cores, 60 questions of ARC-easy, twice: 12.6 and 17.4 s, against 19.7 and 20.7 s pack by pack.
    """
    threads = torch.get_num_threads()
    if workers < 2 or len(packs) < workers:
        yield from map(function, packs)
        return
    try:
        with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(threads // workers)) as pool:
            yield from pool.map(function, packs)
    finally:
        torch.set_num_threads(threads)  # partly a setting of the whole process


@torch.inference_mode()
def _score(trunk: Any, head: Matrix, rows: Sequence[Asked], pack: Pack, kept: KeptLayers) -> PackScores:
    hidden = _forward(trunk, pack, kept, leaves=False)[0]
    wanted = sorted({place for _, places in pack.rows for place in places})
    where = {place: i for i, place in enumerate(wanted)}
    asked = [rows[number].ids[rows[number].start :] for number, _ in pack.rows]
    index = send(torch.tensor([where[place] for _, places in pack.rows for place in places]), hidden.device)
    targets = send(torch.tensor([token for own in asked for token in own]), hidden.device)
    states = hidden[send(torch.tensor(wanted), hidden.device)].to(head.weight.dtype)
    logprobs, likeliest = scores_of_targets(states, head.weight, index, targets, bias=head.bias)
    sizes = [len(own) for own in asked]
    parts = zip(pack.rows, logprobs.cpu().split(sizes), likeliest.cpu().split(sizes), strict=True)
    return [(number, RowScores(*scores)) for (number, _), *scores in parts]


@torch.inference_mode()
def _keep(trunk: Any, step: Kept, kept: KeptLayers) -> KeptLayers:
    """Keys and values of all that is kept with this step's tokens at the end."""
    # All rows of one pack share a path, so one long row asks for everything; its last token is only an end mark.
    whole = plan([Asked([*step.ids, 0], len(step.ids))], len(step.ids))[0]
    assert isinstance(whole, Pack)
    moved = whole._replace(positions=[step.position + p for p in whole.positions])
    left = _forward(trunk, moved, kept, leaves=True)[1]
    if not kept:
        return left
    return [(torch.cat([a, c], 1), torch.cat([b, d], 1)) for (a, b), (c, d) in zip(kept, left, strict=True)]


def _forward(trunk: Any, pack: Pack, kept: KeptLayers, *, leaves: bool) -> tuple[Tensor, KeptLayers]:
    """Final states (T, H) of a pack, and each layer's keys and values where they shall stay."""
    device = trunk.compute.device
    tree = make_tree(pack.pieces, device, kept)
    tree.leaves = leaves
    with trunk.autocast():
        output = trunk.model(
            input_ids=send(torch.tensor([pack.ids]), device),
            position_ids=send(torch.tensor([pack.positions]), device),
            use_cache=False,
            tree=tree,
        )
    return output.last_hidden_state[0], [tree.left[layer] for layer in sorted(tree.left)]
