"""Completions of many prompts by the engine, all at once: what a stage asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from camelid.models.engine import Engine, Event, Request
from camelid.models.sampling import Sample, Sampling
from camelid.models.trunk import Trunk
from camelid.models.written import Decode


def sample(
    trunk: Trunk,
    head: nn.Module,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    stop_ids: Sequence[int],
    *,
    seeds: Sequence[Sequence[int]],
    tick: Callable[[int], None] = lambda rows: None,
    heard: Callable[[Event], None] = lambda event: None,
    decode: Decode | None = None,
) -> list[list[Sample]]:
    """Completions of each prompt, one a seed.

    `heard` hears of each token as it is drawn. `tick` hears of whole rows; a row that is halfway to its limit counts
    half, or all would seem to end at once.
    Raises ValueError for a prompt that cannot be gone on with, FloatingPointError for logits that are not finite.
    """
    engine = Engine(trunk, head, stop_ids, places=sampling.batch_rows, decode=decode)
    for index, (prompt, own) in enumerate(zip(prompts, seeds, strict=True)):
        engine.add(Request(prompt, sampling, own))
        if engine.said:
            raise ValueError(f"prompt {index} {engine.said[0].end}")
    made = [[Sample([], [], False, [] if sampling.model_logprobs else None) for _ in own] for own in seeds]
    drawn, told = 0.0, 0
    while engine.busy:
        events = engine.step()
        for event in events:
            if event.token is None:
                raise FloatingPointError(event.end)
            heard(event)
            one = made[event.request][event.sample]
            one.ids.append(event.token)
            one.logprobs.append(event.logprob)
            if one.model_logprobs is not None:
                one.model_logprobs.append(event.model_logprob)
            made[event.request][event.sample] = one._replace(finished=event.end == "stop")
            left = sampling.max_new_tokens - len(one.ids) if event.end else 0
            drawn += (1 + left) / sampling.max_new_tokens
        tick(int(drawn + 1e-6) - told)
        told = int(drawn + 1e-6)
    return made
