"""Decoding as a recording, on a CPU: what is recorded is each operator with the memory that it reads and writes.

`Recording` does what a CUDA graph does: called again, the same operators run on the same tensors, whatever has become
of the Python objects that made the calls. The graph itself is in test_cuda.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from camelid.models import cohort as cohort_module
from camelid.models import replay as replay_module
from camelid.models.engine import Engine, Event, Request
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.replay import Replay, Step
from camelid.models.sampling import Sampling
from tiny import write_tiny_llama


class Recording(TorchDispatchMode):
    """Every operator that is called, with its arguments and results."""

    WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "lift_fresh")
    """What reads a number of the device, or brings one there: no graph can hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, Any]] = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        if name in self.WAITS:
            raise RuntimeError(f"{name} is not permitted when stream is capturing")
        found = operator(*args, **(kwargs or {}))
        self.calls.append((operator, args, kwargs or {}, found))
        return found

    def replay(self) -> None:
        for operator, args, kwargs, found in self.calls:
            again = operator(*args, **kwargs)
            for old, new in zip(tree_leaves(found), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)  # the graph writes where it wrote first; views and changes in place are there


def recorder(recorded: list[int]) -> Callable[[Step, Tensor], Step]:
    """A stand-in for `record`; `recorded` gets the number of replays of each recording."""

    def record(step: Step, tokens: Tensor) -> Step:
        given, held = tokens.clone(), Recording()
        kept = [tensor.clone() for tensor in state_of_caches()]
        with held:
            found = step(given)
        for tensor, old in zip(state_of_caches(), kept, strict=True):
            tensor.copy_(old)  # a graph that is being recorded computes nothing
        number = len(recorded)
        recorded.append(0)

        def replay(tokens: Tensor) -> Tensor:
            recorded[number] += 1
            given.copy_(tokens)
            held.replay()
            return found

        return replay

    return record


CACHES: list[cohort_module.Cohort] = []


def state_of_caches() -> list[Tensor]:
    return [tensor for cohort in CACHES for tensors in (cohort.keys, cohort.values) for tensor in tensors]


@pytest.fixture
def watched(monkeypatch):
    """Cohorts are kept in view, and are all told what a GPU would do."""
    CACHES.clear()
    begin = cohort_module.Cohort.begin_step

    def seen(self):
        if self not in CACHES:
            CACHES.append(self)
        return begin(self)

    monkeypatch.setattr(cohort_module.Cohort, "begin_step", seen)


def requests() -> list[Request]:
    draw = torch.Generator().manual_seed(0)
    return [
        Request(
            torch.randint(5, 300, (3 + 4 * i,), generator=draw).tolist(),
            Sampling(max_new_tokens=9 + 13 * i, temperature=0.5 * (i % 3)),
            [i, 100 + i],
        )
        for i in range(6)
    ]


def run(engine: Engine) -> dict[tuple[int, int], list[Event]]:
    for request in requests():
        engine.add(request)
    found: dict[tuple[int, int], list[Event]] = {}
    while engine.busy:
        for event in engine.step():
            found.setdefault((event.request, event.sample), []).append(event)
    return found


@pytest.mark.parametrize("family", ["Llama", "Mistral"])
@pytest.mark.parametrize("precision,rank", [("float32", 0), ("bfloat16", 0), ("bfloat16", 4)])
def test_replayed_steps_draw_what_steps_draw(tmp_path, watched, family, precision, rank):
    """Rows that end, come and go, room that grows, windows that move; weights as they are, and under autocast."""
    more: dict[str, Any] = {"sliding_window": 12} if family == "Mistral" else {}
    path = write_tiny_llama(tmp_path / "model", architecture=f"{family}ForCausalLM", **more)
    settings = ModelSettings(precision=precision, lora_rank=rank)
    policy = Policy.load_for_training(path, settings, OptimizerSettings(), seed=0)

    def engine() -> Engine:
        return Engine(policy.trunk, policy.model.get_output_embeddings(), range(2), places=7)

    plain = run(engine())
    recorded: list[int] = []
    replaying = engine()
    replaying.replay.record = recorder(recorded)
    found = run(replaying)
    assert sum(recorded) > 50
    assert len(recorded) > 3  # rows came and went
    assert found.keys() == plain.keys()
    for row, events in plain.items():
        assert [(e.token, e.end) for e in found[row]] == [(e.token, e.end) for e in events]
        assert [e.logprob for e in found[row]] == [e.logprob for e in events]


def test_a_step_that_waits_for_the_gpu_runs_unrecorded_and_says_so(tiny_policy_step):
    replay, step = tiny_policy_step

    def record(step: Step, tokens: Tensor) -> Step:
        with Recording():
            step(tokens)
        raise AssertionError("it was recorded")

    replay.record = record
    assert step(torch.ones(3)).tolist() == replay(step, "a", torch.ones(3)).tolist()
    with pytest.warns(UserWarning, match="could be recorded: _local_scalar_dense is not permitted"):
        assert replay(step, "a", torch.ones(3)).tolist() == [3.0] * 3
    assert replay(step, "a", torch.ones(3)).tolist() == [3.0] * 3  # and no second warning


@pytest.fixture
def tiny_policy_step() -> tuple[Replay, Step]:
    return Replay(torch.device("cpu")), lambda tokens: tokens * tokens.sum().item()


def test_another_state_ends_a_recording():
    replay, recorded = Replay(torch.device("cpu")), []
    assert replay.record is None  # a processor launches nothing
    replay.record = recorder(recorded)
    for state, number in (("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5), ("a", 6)):
        assert replay(lambda tokens: tokens + 1, state, torch.tensor([number])).tolist() == [number + 1]
    assert recorded == [2, 1]


def test_a_gpu_is_recorded_by_its_own_graph():
    assert replay_module.Replay(torch.device("cuda")).record is replay_module.record
