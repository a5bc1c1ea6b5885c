"""Continuous batching: rows that end make room for waiting ones, and all that run share each step's products.

Rows that are admitted together are a cohort (`cohort.py`). A step decodes one token for every row of every cohort as
one packed row, draws from all, and says what was drawn. A row draws from a stream of its own, named by its seed: what
it gets does not depend on its neighbours, but for rounding.

    engine = Engine(trunk, head, stop_ids=[2])
    engine.add(Request([5, 6, 7], Sampling(max_new_tokens=20), seeds=[0, 1]))
    while engine.busy:
        for event in engine.step(): ...
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from camelid.models.cohort import Cohort
from camelid.models.compute import send
from camelid.models.draw import Filter, draw
from camelid.models.prefill import prefill
from camelid.models.replay import Replay
from camelid.models.sampling import Sampling, wrong_prompt
from camelid.models.trunk import Trunk
from camelid.models.written import Decode, has_stop

DROP_BELOW = 0.75
"""Rows that have ended are dropped from a cohort's caches when fewer than this share still runs: a drop copies them."""
ADMIT_FROM = 0.25
"""Waiting requests are admitted when this share of the places is free: a cohort has a cost of its own each step."""


class Request(NamedTuple):
    """A prompt and how it is to be gone on with."""

    ids: Sequence[int]
    sampling: Sampling
    seeds: Sequence[int]
    """One a sample."""


class Event(NamedTuple):
    """What became of a row in a step."""

    request: int
    sample: int
    token: int | None
    """None where nothing was drawn."""
    logprob: float
    """Under the distribution that the token was drawn from."""
    model_logprob: float
    """Under the model's own, where the request asks for it, else NaN."""
    end: str
    """Empty while the row goes on; stop, length or cancelled; or what is wrong with prompt or model."""


@dataclass
class Row:
    """A completion as it grows."""

    request: int
    sample: int
    prompt: Sequence[int]
    sampling: Sampling
    uniforms: list[float]
    ids: list[int] = field(default_factory=list)
    ended: bool = False


@dataclass
class Group:
    """A cohort with its rows, and the newest tokens of these (R,)."""

    cohort: Cohort
    rows: list[Row]
    tokens: Tensor | None = None

    @property
    def running(self) -> list[int]:
        """Places of the rows that go on."""
        return [place for place, row in enumerate(self.rows) if not row.ended]


class Engine:
    """Draws completions of requests, of which more may be added at any time.

    `places`: rows that are drawn side by side; a request with more samples than that has them all at once. `decode`
    makes text of tokens, for requests with stop strings.
    """

    def __init__(
        self,
        trunk: Trunk,
        head: nn.Module,
        stop_ids: Collection[int],
        *,
        places: int = 256,
        decode: Decode | None = None,
    ):
        self.trunk, self.head = trunk, head
        self.stop_ids = frozenset(stop_ids)
        self.places = places
        self.decode = decode
        self.replay = Replay(trunk.compute.device)
        self.context: int = trunk.model.config.max_position_embeddings  # type: ignore[union-attr, assignment]
        self.added = 0
        self.waiting: deque[tuple[int, Request]] = deque()
        self.groups: list[Group] = []
        self.said: list[Event] = []
        """What the next step will say first."""

    @property
    def busy(self) -> bool:
        """Whether there is anything left to do or to say."""
        return bool(self.waiting or self.groups or self.said)

    def add(self, request: Request) -> int:
        """The request's number. What is wrong with it is the end of its rows, which the next step says."""
        number, self.added = self.added, self.added + 1
        wrong = self._wrong(request)
        if wrong:
            self._end(number, request, wrong)
        else:
            self.waiting.append((number, request))
        return number

    def cancel(self, number: int) -> None:
        """End the rows of a request, whether they run or wait; those that have ended stay as they are."""
        for waiting, request in self.waiting:
            if waiting == number:
                self._end(number, request, "cancelled")
        self.waiting = deque(waiting for waiting in self.waiting if waiting[0] != number)
        for row in (row for group in self.groups for row in group.rows):
            if row.request == number and not row.ended:
                row.ended = True
                self.said.append(Event(number, row.sample, None, math.nan, math.nan, "cancelled"))

    @torch.no_grad()
    def step(self) -> list[Event]:
        """One token for every row that runs, and the first one of those that are admitted."""
        events, self.said = self.said, []
        self._drop_ended()
        states = [self._decode()] if self.groups else []
        states += self._admit()
        if states:
            events += self._draw(torch.cat(states))
        return events

    def _wrong(self, request: Request) -> str:
        """What cannot be done, or nothing."""
        if request.sampling.stop and self.decode is None:
            return "has stop strings, and this engine was made without `decode`"
        return wrong_prompt(len(request.ids), request.sampling, self.context)

    def _end(self, number: int, request: Request, why: str) -> None:
        self.said += [Event(number, sample, None, math.nan, math.nan, why) for sample in range(len(request.seeds))]

    def _drop_ended(self) -> None:
        """Forget rows that have ended: all of a cohort at once, or when many have, or when others wait for places."""
        self.groups = [group for group in self.groups if group.running]
        for group in self.groups:
            running = group.running
            if len(running) < DROP_BELOW * len(group.rows):
                group.cohort.keep(running)
                group.rows = [group.rows[place] for place in running]
                assert group.tokens is not None
                group.tokens = group.tokens[send(torch.tensor(running), group.tokens.device)]

    def _decode(self) -> Tensor:
        """States (R, H) after the newest token of every row."""
        cohorts = [group.cohort for group in self.groups]
        for cohort in cohorts:
            cohort.begin_step()

        def step(ids: Tensor) -> Tensor:
            positions = torch.cat([cohort.positions for cohort in cohorts])
            return self.trunk.forward(ids[None], positions[None], cohorts=cohorts)[0]

        ids = torch.cat([group.tokens for group in self.groups if group.tokens is not None])
        return self.replay(step, [cohort.version for cohort in cohorts], ids)

    def _admit(self) -> list[Tensor]:
        """Begin with requests that wait, in their order, where places are free; the last states of their prompts."""
        free = self.places - sum(len(group.running) for group in self.groups)
        if self.groups and free < ADMIT_FROM * self.places:
            return []
        taken: list[tuple[int, Request]] = []
        while self.waiting and (len(self.waiting[0][1].seeds) <= free or not (self.groups or taken)):
            taken.append(self.waiting.popleft())
            free -= len(taken[-1][1].seeds)
        if not taken:
            return []
        requests = [request for _, request in taken]
        most = max(request.sampling.max_new_tokens for request in requests)
        made = prefill(self.trunk, [r.ids for r in requests], [len(r.seeds) for r in requests], most)
        rows = [_row(*taken[prompt], sample) for prompt, sample in made.rows]
        self.groups.append(Group(made.cohort, rows))
        return [made.states]

    def _draw(self, states: Tensor) -> list[Event]:
        """The next token of every row, from its state (H,), and what it means."""
        rows = [row for group in self.groups for row in group.rows]
        # A row that has ended is drawn for until it is dropped, from whatever number it has left.
        uniforms = [row.uniforms[min(len(row.ids), len(row.uniforms) - 1)] for row in rows]
        temperatures = [row.sampling.temperature for row in rows]
        with torch.autocast(states.device.type, enabled=False):  # the head is multiplied as the trainer does it
            logits = self.head(states)
        filters = {place: self._filter(row) for place, row in enumerate(rows) if row.sampling.changes_distribution}
        asked = any(row.sampling.model_logprobs for row in rows)
        drawn = draw(logits, temperatures, uniforms, filters, with_model=asked)
        for group, own in zip(self.groups, drawn.tokens.split([len(group.rows) for group in self.groups]), strict=True):
            group.tokens = own
        found = torch.stack([x.double() for x in drawn]).T.tolist()  # a GPU is waited for once a step
        return [self._take(row, *of_row) for row, of_row in zip(rows, found, strict=True) if not row.ended]

    def _filter(self, row: Row) -> Filter:
        early = len(row.ids) < row.sampling.min_new_tokens
        return Filter(row.sampling, [*row.prompt, *row.ids], sorted(self.stop_ids) if early else ())

    def _take(self, row: Row, number: float, logprob: float, model_logprob: float) -> Event:
        if not math.isfinite(logprob):
            row.ended = True
            why = "the model's logits are not finite; its weights are damaged or its format overflows"
            return Event(row.request, row.sample, None, math.nan, math.nan, why)
        token = int(number)
        row.ids.append(token)
        end = ""
        if token in self.stop_ids or (self.decode and has_stop(self.decode, row.ids, row.sampling.stop)):
            end = "stop"
        elif len(row.ids) == row.sampling.max_new_tokens:
            end = "length"
        row.ended = bool(end)
        model_logprob = model_logprob if row.sampling.model_logprobs else math.nan
        return Event(row.request, row.sample, token, logprob, model_logprob, end)


def _row(number: int, request: Request, sample: int) -> Row:
    stream = torch.Generator().manual_seed(request.seeds[sample])
    uniforms = torch.rand(request.sampling.max_new_tokens, generator=stream).tolist()
    return Row(number, sample, request.ids, request.sampling, uniforms)
