"""The caches of rows that were prefilled together, and so are all equally far: nothing is padded but prompts.

A prompt's keys and values are there once for all its samples, whose queries meet them in one product. A row's own
tokens lie beside those of the other rows; every row has the same number of them, so one mask serves all, and room
for them grows as they do. What depends on the step (positions, masks, the place of the newest token) is made before
it, in tensors that stay where they are: on a GPU the step's operators are recorded once and replayed (`replay.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor

from camelid.models.block_attention import padded
from camelid.models.cached_attention import UNSEEN, Seen, merged, partial_attention
from camelid.models.compute import send

ROOM_GPU = 256
"""Tokens of own room that a GPU takes at once: more room ends what was recorded of a step. Chosen, not measured."""
versions = count()


def decode(
    cohorts: Sequence[Cohort],
    layer: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    window: int | None,
) -> Tensor:
    """Attention of one new token for every row: (1, heads, R, D) and twice (1, groups, R, D) -> (1, R, heads, D)."""
    # Under autocast queries and keys come in float32 and values in the compute format.
    sizes = [cohort.rows for cohort in cohorts]
    parts = zip(*(x[0].transpose(0, 1).to(value.dtype).split(sizes) for x in (query, key, value)), strict=True)
    attended = [cohort.attend(layer, q, k, v, scale, window) for cohort, (q, k, v) in zip(cohorts, parts, strict=True)]
    return torch.cat(attended)[None]


class Prompts:
    """n prompts of like length, side by side, and which rows go on from each."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], lengths: Sequence[int], copies: Sequence[int]):
        """`keys`, `values`: of each layer (n, groups, P, D), padded behind the end. `copies` (n,): rows of each."""
        self.keys, self.values = keys, values
        self.lengths = list(lengths)
        self.owners = [prompt for prompt, number in enumerate(copies) for _ in range(number)]
        """(R,) the prompt of each row."""
        self.masks: dict[int | None, Tensor | None] = {}
        self._arrange()

    def attend(self, layer: int, query: Tensor, newest: Tensor, window: int | None) -> Seen:
        """What scaled queries (R, groups, M, D) see of their prompts, of rows whose own newest token is `newest`."""
        groups, rows, width = query.shape[1:]
        n = len(self.lengths)
        # (n, groups, K M, D): the samples of a prompt are more queries to the same keys.
        asked = query.index_select(0, self.grid).view(n, -1, groups, rows, width).transpose(1, 2).flatten(2, 3)
        if window not in self.masks:  # all layers with this window ask for the same
            all_seen = window is None and min(self.lengths) == self.keys[0].shape[2]
            self.masks[window] = None if all_seen else _additive(self._unseen(newest, window), query.dtype)
        seen = partial_attention(asked, self.keys[layer], self.values[layer], self.masks[window])
        return Seen(
            *(x.unflatten(2, (-1, rows)).transpose(1, 2).flatten(0, 1).index_select(0, self.back) for x in seen)
        )

    def move_windows(self, newest: Tensor) -> None:
        """Make the masks of windows anew, where they are."""
        for window, mask in self.masks.items():
            if mask is not None and window is not None:
                mask.copy_(_additive(self._unseen(newest, window), mask.dtype))

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, and the prompts that have none left."""
        owners = [self.owners[row] for row in rows]
        left = sorted(set(owners))
        self.owners = [left.index(prompt) for prompt in owners]
        if len(left) < len(self.lengths):
            index = send(torch.tensor(left), self.grid.device)
            longest = max(self.lengths[prompt] for prompt in left)
            for tensors in (self.keys, self.values):
                for layer, tensor in enumerate(tensors):
                    tensors[layer] = tensor[:, :, :longest].index_select(0, index)
            self.lengths = [self.lengths[prompt] for prompt in left]
        self._arrange()

    def _arrange(self) -> None:
        """`grid` (n K,): the row at each prompt's k-th place, any where there is none; `back` (R,): where each is."""
        self.masks.clear()
        device, places = self.keys[0].device, list[tuple[int, int]]()
        met = [0] * len(self.lengths)
        for prompt in self.owners:
            places.append((prompt, met[prompt]))
            met[prompt] += 1
        widest = max(met)
        back = [prompt * widest + place for prompt, place in places]
        grid = torch.zeros(len(met) * widest, dtype=torch.long)
        grid[back] = torch.arange(len(back))
        self.grid, self.back = send(grid, device), send(torch.tensor(back), device)
        self.ends = send(torch.tensor(self.lengths), device)

    def _unseen(self, newest: Tensor, window: int | None) -> Tensor:
        """(n, 1, 1, P)"""
        place, end = torch.arange(self.keys[0].shape[2], device=self.ends.device), self.ends[:, None]
        unseen = place >= end
        if window is not None:  # the newest token stands at end + newest, and sees itself
            unseen |= place <= end + newest - window
        return unseen[:, None, None]


class Cohort:
    """Rows that have drawn the same number of tokens."""

    def __init__(self, prompts: list[Prompts], most: int):
        """`most`: tokens that a row will draw at most."""
        self.prompts = prompts
        self.most = most
        self.reach = most + max(length for part in prompts for length in part.lengths)
        """A window that is no narrower hides nothing, ever."""
        self.count = 0
        """Tokens of each row whose keys are here."""
        self.keys: list[Tensor] = []
        """Of each layer (R, groups, room, D)."""
        self.values: list[Tensor] = []
        self.newest = torch.zeros(1, dtype=torch.long, device=prompts[0].grid.device)
        """Place of the newest token among a row's own."""
        self._changed()

    @property
    def rows(self) -> int:
        """R"""
        return sum(len(part.owners) for part in self.prompts)

    def begin_step(self) -> None:
        """One more token a row: room for its keys, its place and position, and what its query sees."""
        if not self.keys or self.count == self.keys[0].shape[2]:
            self._grow()
        self.newest.fill_(self.count)
        torch.add(self.starts, self.count, out=self.positions)
        for window, mask in self.masks.items():
            mask.copy_(_additive(self._unseen(window), mask.dtype))
        for part in self.prompts:
            part.move_windows(self.newest)
        self.count += 1

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        """One new token a row: (R, heads, D) and twice (R, groups, D) -> (R, heads, D)."""
        window = None if window is None or window >= self.reach else window
        for tensor, new in ((self.keys[layer], key), (self.values[layer], value)):
            tensor.index_copy_(2, self.newest, new[:, :, None])
        if window not in self.masks:
            self.masks[window] = _additive(self._unseen(window), query.dtype)
        query = query.unflatten(1, (key.shape[1], -1)) * scale  # the heads that share keys are queries of one product
        own = partial_attention(query, self.keys[layer], self.values[layer], self.masks[window])
        asked = query.split([len(part.owners) for part in self.prompts])
        seen = [part.attend(layer, rows, self.newest, window) for part, rows in zip(self.prompts, asked, strict=True)]
        return merged(Seen(*map(torch.cat, zip(*seen, strict=True))), own).flatten(1, 2)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, a tensor at a time: only one is there twice."""
        start, left = 0, []
        for part in self.prompts:
            end = start + len(part.owners)
            own = [row - start for row in rows if start <= row < end]
            if own:
                part.keep(own)
                left.append(part)
            start = end
        self.prompts = left
        index = send(torch.tensor(list(rows)), self.newest.device)
        for tensors in (self.keys, self.values):
            for layer, tensor in enumerate(tensors):
                tensors[layer] = tensor[index]
        self._changed()

    def _grow(self) -> None:
        """More room for own tokens, a tensor at a time."""
        on_cpu = self.newest.device.type == "cpu"
        more = max(self.count // 8, 1) if on_cpu else ROOM_GPU
        room = padded(min(self.count + more, self.most))
        first = self.prompts[0]
        for tensors, like in ((self.keys, first.keys), (self.values, first.values)):
            for layer, prompts in enumerate(like):
                wider = prompts.new_zeros(self.rows, prompts.shape[1], room, prompts.shape[3])
                if self.count:
                    wider[:, :, : self.count] = tensors[layer]
                tensors[layer : layer + 1] = [wider]  # also where there was none
        self._changed()

    def _changed(self) -> None:
        """Tensors lie elsewhere now."""
        self.version = next(versions)
        """What is recorded of a step holds as long as this stays."""
        starts = [part.lengths[prompt] for part in self.prompts for prompt in part.owners]
        self.starts = send(torch.tensor(starts), self.newest.device)
        """(R,) where each row's first own token stands."""
        self.positions = self.starts.clone()
        """(R,) where each row's newest token stands."""
        self.masks: dict[int | None, Tensor] = {}

    def _unseen(self, window: int | None) -> Tensor:
        """(1, 1, 1, room): all rows see as much of their own."""
        place = torch.arange(self.keys[0].shape[2], device=self.newest.device)
        unseen = place > self.newest
        if window is not None:
            unseen |= place <= self.newest - window
        return unseen[None, None, None]


def _additive(unseen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(unseen.shape, dtype=dtype, device=unseen.device).masked_fill_(unseen, UNSEEN)
