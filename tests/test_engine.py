"""The engine: what becomes of requests that come, go, end and fail beside each other."""

from __future__ import annotations

import math
import random
import resource

import pytest
import torch

from camelid.models import engine as engine_module
from camelid.models.engine import Engine, Event, Request
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling


@pytest.fixture
def policy(tied_llama) -> Policy:
    return Policy.load(tied_llama, ModelSettings(precision="float32"))


def engine_of(policy: Policy, stop_ids=(), **more) -> Engine:
    return Engine(policy.trunk, policy.model.get_output_embeddings(), stop_ids, **more)


def run(engine: Engine) -> dict[tuple[int, int], list[Event]]:
    """Events by request and sample, until nothing is left."""
    found: dict[tuple[int, int], list[Event]] = {}
    while engine.busy:
        for event in engine.step():
            found.setdefault((event.request, event.sample), []).append(event)
    return found


def ids(events: list[Event]) -> list[int]:
    return [event.token for event in events if event.token is not None]


def prompt(length: int, seed: int) -> list[int]:
    return torch.randint(0, 300, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_a_row_gets_what_it_would_get_alone(policy):
    """Other lengths, temperatures and limits beside it, few places, requests that come while others run."""
    requests = [
        Request(prompt(3 + 5 * i, i), Sampling(temperature=0.5 * (i % 3), max_new_tokens=4 + 3 * i), [i, 100 + i])
        for i in range(9)
    ]
    alone = []
    for request in requests:
        engine = engine_of(policy)
        engine.add(request)
        alone.append(run(engine))
    engine = engine_of(policy, places=5)
    found: dict[tuple[int, int], list[Event]] = {}
    waiting = list(requests)
    while engine.busy or waiting:
        if waiting:
            engine.add(waiting.pop(0))
        for event in engine.step():
            found.setdefault((event.request, event.sample), []).append(event)
    assert set(found) == {(i, k) for i in range(9) for k in range(2)}
    for (number, sample), events in found.items():
        expected = alone[number][0, sample]
        assert ids(events) == ids(expected)
        assert [e.logprob for e in events] == pytest.approx([e.logprob for e in expected], abs=1e-4)
        assert [e.end for e in events] == [*[""] * (len(events) - 1), "length"]


def test_places_are_filled_again_and_never_overfilled(policy, monkeypatch):
    monkeypatch.setattr(engine_module, "ADMIT_FROM", 0.25)
    engine = engine_of(policy, places=8)
    for i in range(20):
        engine.add(Request(prompt(5, i), Sampling(max_new_tokens=3 + i % 7), [i, i + 50]))
    most, cohorts = 0, 0
    while engine.busy:
        engine.step()
        most = max(most, sum(len(group.running) for group in engine.groups))
        cohorts = max(cohorts, len(engine.groups))
    assert most <= 8
    assert cohorts > 1  # some began while others were under way
    many = engine_of(policy, places=2)
    many.add(Request([1, 2], Sampling(max_new_tokens=2), range(5)))  # a prompt's samples stay together
    assert len(run(many)) == 5


def test_a_cancelled_request_ends_and_no_other(policy):
    def started(cancel: bool) -> dict[tuple[int, int], list[Event]]:
        engine = engine_of(policy, places=4)
        for i in range(4):
            engine.add(Request(prompt(6, i), Sampling(max_new_tokens=12), [i, 10 + i]))
        first = [engine.step() for _ in range(4)]
        if cancel:
            engine.cancel(0)  # runs
            engine.cancel(3)  # waits
            engine.cancel(0)  # has ended: nothing more is said of it
        found: dict[tuple[int, int], list[Event]] = {}
        for event in (event for step in first for event in step):
            found.setdefault((event.request, event.sample), []).append(event)
        for key, events in run(engine).items():
            found.setdefault(key, []).extend(events)
        return found

    whole, cut = started(False), started(True)
    for sample in range(2):
        assert ids(cut[0, sample]) == ids(whole[0, sample])[:4]
        assert [e.end for e in cut[0, sample]] == [*[""] * 4, "cancelled"]
        assert [(e.token, e.end) for e in cut[3, sample]] == [(None, "cancelled")]
        assert ids(cut[1, sample]) == ids(whole[1, sample])
        assert ids(cut[2, sample]) == ids(whole[2, sample])


def test_what_is_wrong_with_a_request_is_its_own_end(policy):
    engine = engine_of(policy)
    sampling = Sampling(max_new_tokens=6)
    for one in ([], [1] * 251, [1, 2, 3]):
        engine.add(Request(one, sampling, [0]))
    found = run(engine)
    assert [e.end for e in found[0, 0]] == ["has no token; render it with the chat format first"]
    assert "251 tokens leaves no room for 6 more in the context of 256" in found[1, 0][0].end
    assert len(ids(found[2, 0])) == 6
    assert math.isnan(found[0, 0][0].logprob)


def test_numbers_that_are_not_finite_end_their_row_alone(tmp_path, llama):
    """One token's embedding is damaged: the prompt that holds it fails, its neighbours are as without it."""
    policy = Policy.load(llama, ModelSettings(precision="float32"))
    sampling = Sampling(max_new_tokens=8)
    prompts = [prompt(9, 1), [5, 6, 299, 7, 8], prompt(4, 2)]
    prompts = [[t if t != 299 or i == 1 else 298 for t in p] for i, p in enumerate(prompts)]
    alone = engine_of(policy)
    for i in (0, 2):
        alone.add(Request(prompts[i], sampling, [i]))
    expected = run(alone)
    if policy.model.config.tie_word_embeddings:
        head = torch.nn.Linear(32, len(policy.model.lm_head.weight), bias=False)
        head.weight.data = policy.model.lm_head.weight.data.clone()
        policy.model.lm_head = head
    policy.model.base_model.embed_tokens.weight.data[299] = float("nan")
    engine = engine_of(policy)
    for i in range(3):
        engine.add(Request(prompts[i], sampling, [i]))
    found = run(engine)
    assert "logits are not finite" in found[1, 0][0].end
    assert len(found[1, 0]) == 1
    drawn = [ids(expected[0, 0]), ids(expected[1, 0])]
    assert 299 not in drawn[0] + drawn[1]
    assert [ids(found[0, 0]), ids(found[2, 0])] == drawn


@pytest.mark.slow
def test_ten_thousand_requests_come_and_go_and_memory_stays(policy):
    """Random lengths, samples, stops, cancellations; no row is lost, doubled or mixed up with another."""
    draw, limits = random.Random(0), {}
    engine = engine_of(policy, stop_ids=range(12), places=64)
    ended: dict[tuple[int, int], str] = {}
    lengths: dict[tuple[int, int], int] = {}
    peaks = []
    while engine.added < 10_000 or engine.busy:
        while engine.added < 10_000 and len(engine.waiting) < 40:
            limits[engine.added] = draw.randrange(1, 40)
            samples = draw.randrange(1, 4)
            ids = [draw.randrange(300) for _ in range(draw.randrange(1, 60))]
            sampling = Sampling(max_new_tokens=limits[engine.added], temperature=draw.choice([0, 0.7, 1.3]))
            engine.add(Request(ids, sampling, [draw.randrange(2**31) for _ in range(samples)]))
            ended.update({(engine.added - 1, k): "" for k in range(samples)})
        if draw.random() < 0.2:
            engine.cancel(draw.randrange(engine.added))
        for event in engine.step():
            key = event.request, event.sample
            assert ended[key] == "", "a row that has ended goes on"
            ended[key] = event.end
            if event.token is not None:
                lengths[key] = lengths.get(key, 0) + 1
                stops = event.token < 12
                assert (event.end == "stop") == stops
                assert stops or (event.end == "length") == (lengths[key] == limits[event.request])
        if engine.added % 1000 < 20:
            peaks.append((engine.added, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    assert len(limits) == 10_000
    assert set(ended.values()) == {"stop", "length", "cancelled"}
    assert not engine.groups
    early = max(peak for added, peak in peaks if added < 3000)
    assert peaks[-1][1] < early + 30_000, "memory grows (kilobytes)"
