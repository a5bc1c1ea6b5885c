"""Log-probabilities of many continuations: what rows have in common is computed once (`prefix_tree.py`).

Exact: every token sees what it would see alone, and its position is the same (tests/test_likelihood.py compares with
one row at a time). Not here: text (`answering.py`) and gradients, though the attention has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camelid.functional.logprobs import scores_of_targets
from camelid.models.prefix_tree import Asked, Kept, Pack, plan
from camelid.models.tree_attention import make_tree

PACK_TOKENS = 768
"""Tokens a pass: the activations of 768 tokens of a small model stay in the caches."""
HEAD_STATES = 512
"""States that the output head multiplies at once; its matrix is read once for all of them."""

KeptLayers = list[tuple[Tensor, Tensor]]


class RowScores(NamedTuple):
    """The asked tokens of a row."""

    logprobs: Tensor
    """(N,) float32, in nats, on the CPU."""
    likeliest: Tensor
    """(N,) bool: whether the token is the likeliest of its place."""


class _Waiting(NamedTuple):
    """States whose logits are still to be computed, and what is asked of them."""

    states: Tensor
    rows: list[tuple[int, list[int]]]
    """Row number, and places of its predicting states in `states`."""


@torch.inference_mode()
def row_scores(
    trunk: Any,
    head: Any,
    rows: Sequence[Asked],
    *,
    pack_tokens: int = PACK_TOKENS,
    tick: Callable[[int], None] = lambda rows: None,
) -> list[RowScores]:
    """Log-probabilities of the asked tokens of all rows. `trunk`: a `Trunk`; `head`: the model's output embedding.

    `tick` is called with the number of rows that have just been done.
    """
    result: dict[int, RowScores] = {}
    waiting: list[_Waiting] = []
    for part in _hidden(trunk, plan(rows, pack_tokens), []):
        waiting.append(part)
        if sum(len(w.states) for w in waiting) >= HEAD_STATES:
            result.update(_apply_head(head, rows, waiting))
            tick(sum(len(w.rows) for w in waiting))
            waiting = []
    if waiting:
        result.update(_apply_head(head, rows, waiting))
        tick(sum(len(w.rows) for w in waiting))
    return [result[i] for i in range(len(rows))]


def _hidden(trunk: Any, steps: Sequence[Pack | Kept], kept: KeptLayers) -> Iterator[_Waiting]:
    """The states that predict asked tokens, pack by pack."""
    for step in steps:
        if isinstance(step, Kept):
            yield from _hidden(trunk, step.steps, _keep(trunk, step, kept))
            continue
        hidden = _forward(trunk, step, kept, leaves=False)[0]
        wanted = sorted({place for _, places in step.rows for place in places})
        where = {place: i for i, place in enumerate(wanted)}
        rows = [(number, [where[place] for place in places]) for number, places in step.rows]
        yield _Waiting(hidden[torch.tensor(wanted, device=hidden.device)], rows)


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
            input_ids=torch.tensor([pack.ids], device=device),
            position_ids=torch.tensor([pack.positions], device=device),
            use_cache=False,
            tree=tree,
        )
    return output.last_hidden_state[0], [tree.left[layer] for layer in sorted(tree.left)]


def _apply_head(head: Any, rows: Sequence[Asked], waiting: Sequence[_Waiting]) -> Iterator[tuple[int, RowScores]]:
    states = torch.cat([w.states for w in waiting])
    first, numbers, places = 0, [], []
    for part in waiting:
        numbers += [number for number, _ in part.rows]
        places += [[first + i for i in own] for _, own in part.rows]
        first += len(part.states)
    targets = [list(rows[number].ids[rows[number].start :]) for number in numbers]
    index = torch.tensor([i for own in places for i in own], device=states.device)
    ids = torch.tensor([token for own in targets for token in own], device=states.device)
    logprobs, likeliest = scores_of_targets(states, head.weight, index, ids, bias=head.bias)
    sizes = [len(own) for own in targets]
    parts = zip(numbers, logprobs.cpu().split(sizes), likeliest.cpu().split(sizes), strict=True)
    return ((number, RowScores(*scores)) for number, *scores in parts)
