"""The caches of rows that were prefilled together, and so are all equally far: nothing is padded but prompts.

A prompt's keys and values are there once for all its samples, whose queries meet them in one product. A row's own
tokens lie beside those of the other rows; every row has the same number of them, so one mask serves all, and room
for them grows as they do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camelid.models.block_attention import padded
from camelid.models.cached_attention import UNSEEN, Seen, merged, partial_attention
from camelid.models.compute import send


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
        self.masks: dict[int | None, tuple[int, Tensor | None]] = {}
        self._arrange()

    def attend(self, layer: int, query: Tensor, count: int, window: int | None) -> Seen:
        """What scaled queries (R, groups, M, D) see of their prompts, of rows with `count` tokens of their own."""
        groups, rows, width = query.shape[1:]
        n = len(self.lengths)
        # (n, groups, K M, D): the samples of a prompt are more queries to the same keys.
        asked = query.index_select(0, self.grid).view(n, -1, groups, rows, width).transpose(1, 2).flatten(2, 3)
        mask = self._mask(count, window, query.dtype)
        seen = partial_attention(asked, self.keys[layer], self.values[layer], mask)
        return Seen(
            *(x.unflatten(2, (-1, rows)).transpose(1, 2).flatten(0, 1).index_select(0, self.back) for x in seen)
        )

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

    def _mask(self, count: int, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """(n, 1, 1, P), None where all is seen. All layers with this window ask for the same."""
        known = self.masks.get(window)
        if known is None or (known[0] != count and window is not None):
            known = self.masks[window] = (count, self._made_mask(count, window, dtype))
        return known[1]

    def _made_mask(self, count: int, window: int | None, dtype: torch.dtype) -> Tensor | None:
        place = torch.arange(self.keys[0].shape[2])
        length = torch.tensor(self.lengths)[:, None]
        unseen = place >= length
        if window is not None:  # the newest token stands at length + count - 1, and sees itself
            unseen |= place < length + count - window
        if not unseen.any():
            return None
        mask = torch.zeros(unseen.shape, dtype=dtype).masked_fill_(unseen, UNSEEN)
        return send(mask[:, None, None], self.keys[0].device)


class Cohort:
    """Rows that have drawn the same number of tokens."""

    def __init__(self, prompts: list[Prompts], most: int):
        """`most`: tokens that a row will draw at most."""
        self.prompts = prompts
        self.most = most
        self.count = 0
        """Tokens of each row whose keys are here."""
        self.keys: list[Tensor] = [torch.empty(0) for _ in prompts[0].keys]
        """Of each layer (R, groups, room, D)."""
        self.values = list(self.keys)
        self.masks: dict[int | None, tuple[int, Tensor]] = {}

    @property
    def rows(self) -> int:
        """R"""
        return sum(len(part.owners) for part in self.prompts)

    @property
    def positions(self) -> list[int]:
        """(R,) where the next token of each row stands."""
        return [part.lengths[prompt] + self.count for part in self.prompts for prompt in part.owners]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        """One new token a row: (R, heads, D) and twice (R, groups, D) -> (R, heads, D)."""
        self._append(layer, key, value)
        count, groups = self.count + 1, key.shape[1]
        query = query.unflatten(1, (groups, -1)) * scale  # the heads that share keys are queries of one product
        own = partial_attention(query, self.keys[layer], self.values[layer], self._mask(count, window, query))
        asked = query.split([len(part.owners) for part in self.prompts])
        seen = [part.attend(layer, rows, count, window) for part, rows in zip(self.prompts, asked, strict=True)]
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
        index = send(torch.tensor(list(rows)), self.prompts[0].grid.device)
        for tensors in (self.keys, self.values):
            for layer, tensor in enumerate(tensors):
                tensors[layer] = tensor[index] if self.count else tensor

    def _append(self, layer: int, key: Tensor, value: Tensor) -> None:
        for tensors, new in ((self.keys, key), (self.values, value)):
            old = tensors[layer]
            if not self.count or self.count == old.shape[2]:
                room = min(padded(self.count + max(self.count // 8, 1)), padded(self.most))
                tensors[layer] = new.new_zeros(len(new), new.shape[1], room, new.shape[2])
                if self.count:
                    tensors[layer][:, :, : self.count] = old
            tensors[layer][:, :, self.count] = new

    def _mask(self, count: int, window: int | None, like: Tensor) -> Tensor:
        """(1, 1, 1, room) for rows with `count` tokens. Most layers ask for the same."""
        known = self.masks.get(window)
        if known is None or known[0] != count:
            place = torch.arange(self.keys[0].shape[2])
            unseen = (place >= count) | (place < count - (window or count))
            mask = torch.zeros(1, 1, 1, len(place), dtype=like.dtype).masked_fill_(unseen, UNSEEN)
            known = self.masks[window] = (count, send(mask, like.device))
        return known[1]
