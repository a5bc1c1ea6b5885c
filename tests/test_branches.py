"""Rows that begin alike go through the network once: same values, same gradients, fewer tokens."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camelid.functional.ranking import ranking_loss
from camelid.functional.sft import sft_loss
from camelid.models import batch as module
from camelid.models.batch import Batch, Row, make_batches
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.models.prefix_tree import share
from camelid.models.reward_model import RewardModel
from tiny import write_tiny_llama

CPU = torch.device("cpu")


def tokens(draw: random.Random, number: int) -> list[int]:
    return [draw.randrange(400) for _ in range(number)]


def family(draw: random.Random, prompt: int, answers: list[int], *, shared_words: int = 0) -> list[Row]:
    """Answers to one prompt, the first `shared_words` tokens of which are the same; only answers train."""
    begin, words = tokens(draw, prompt), tokens(draw, shared_words)
    rows = []
    for length in answers:
        ids = [*begin, *words, *tokens(draw, length)]
        rows.append(Row(ids, [False] * prompt + [True] * (len(ids) - prompt)))
    return rows


def nll(batch: Batch, outputs: Outputs) -> Loss:
    return Loss(*sft_loss(outputs.logprobs, batch.loss_mask), {})


def load(folder: Path, budget: int = 256) -> Policy:
    held = ModelSettings(precision="float32", lora_rank=0, micro_batch_tokens=budget)
    return Policy.load_for_training(folder, held, OptimizerSettings(), seed=0)


def gradient(model) -> torch.Tensor:
    parts = [p.grad.flatten().clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return torch.cat(parts)


def separately(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain segments from here on."""
    monkeypatch.setattr(module, "WORTH", 0.0)


# --- what lies where ---


def test_what_rows_begin_with_lies_there_once():
    """A prompt of 20, two answers of 3 and 5 that share their first 2 tokens: 20 + 2 + 1 + 3 tokens."""
    rows = [r.ids for r in family(random.Random(0), 20, [1, 3], shared_words=2)]
    shared = share([*rows, [7, 8]], at_least=16)
    assert len(shared.ids) == 20 + 2 + 1 + 3 + 2
    for ids, places in zip([*rows, [7, 8]], shared.places, strict=True):
        assert [shared.ids[i] for i in places] == ids
        assert [shared.positions[i] for i in places] == list(range(len(ids)))
    assert sum(piece.width for piece in shared.pieces) == len(shared.ids)


def test_a_short_beginning_is_not_worth_a_branch():
    rows = [[1, 2, 3, *range(10, 30)], [1, 2, 3, *range(40, 60)]]
    assert len(share(rows, at_least=4).ids) == 46
    assert len(share(rows, at_least=3).ids) == 43


@given(
    seed=st.integers(0, 10**6),
    prompts=st.lists(st.tuples(st.integers(1, 40), st.lists(st.integers(0, 12), min_size=1, max_size=4)), max_size=5),
    at_least=st.integers(1, 20),
)
def test_places_always_give_back_the_rows(seed, prompts, at_least):
    draw = random.Random(seed)
    rows = [r.ids for prompt, answers in prompts for r in family(draw, prompt, answers)]
    rows += rows[:1]  # the same row twice
    shared = share(rows, at_least)
    for ids, places in zip(rows, shared.places, strict=True):
        assert [shared.ids[i] for i in places] == ids
        assert [shared.positions[i] for i in places] == list(range(len(ids)))
    assert len(shared.ids) <= sum(map(len, rows))
    for piece in shared.pieces:
        assert piece.path in shared.places
        assert piece.path[-piece.width :] == list(range(piece.first, piece.first + piece.width))


# --- what comes of it ---


def test_samples_of_a_prompt_share_it_wherever_they_stand():
    """6 prompts of 40 with 4 answers of 10 each, shuffled: 6 (40 + 40) tokens instead of 6 * 4 * 50."""
    draw = random.Random(0)
    rows = [row for _ in range(6) for row in family(draw, 40, [10] * 4)]
    draw.shuffle(rows)
    batches = make_batches([[row] for row in rows], 160, CPU)
    assert sum(b.branches.ids.shape[1] for b in batches if b.branches) == 6 * 80
    assert sorted(i for b in batches for i in b.rows) == list(range(24))
    for b in batches:
        for index, ids in b.unpack(b.ids):
            assert ids.tolist() == rows[index].ids


def test_rows_that_share_nothing_stay_plain_segments():
    draw = random.Random(0)
    batches = make_batches([family(draw, 30, [5]) for _ in range(8)], 100, CPU)
    assert all(b.branches is None for b in batches)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    prompts=st.lists(
        st.tuples(st.integers(16, 40), st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 5)),
        min_size=1,
        max_size=4,
    ),
    budget=st.integers(20, 300),
)
def test_values_and_gradients_are_those_of_separate_rows(llama, seed, prompts, budget):
    draw = random.Random(seed)
    rows = [r for prompt, answers, same in prompts for r in family(draw, prompt, answers, shared_words=same)]
    policy = load(llama, budget)
    found = []
    for worth in (module.WORTH, 0.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "WORTH", worth)
            logprobs = torch.cat(policy.logprobs(rows))
            metrics = policy.forward_backward(rows, nll)
        found.append((logprobs, metrics["loss"], gradient(policy.model)))
    shared, separate = found
    torch.testing.assert_close(shared[0], separate[0], rtol=1e-5, atol=1e-5)
    assert shared[1] == pytest.approx(separate[1], rel=1e-6)
    torch.testing.assert_close(shared[2], separate[2], rtol=1e-4, atol=2e-5)


def test_pairs_of_a_reward_model_share_their_prompt(tied_llama, monkeypatch):
    draw = random.Random(1)
    pairs = [tuple(family(draw, draw.randint(20, 40), [draw.randint(3, 20), 8])) for _ in range(6)]
    held = ModelSettings(precision="float32", lora_rank=0, micro_batch_tokens=200)
    reward = RewardModel.create(tied_llama, held, OptimizerSettings(), num_layers=None, seed=0)

    def loss(scores, rows):
        return Loss(*ranking_loss(scores[0::2], scores[1::2], torch.zeros(len(scores) // 2)), {})

    shared = reward.forward_backward(pairs, loss), gradient(reward.model), reward.score([r for p in pairs for r in p])
    assert any(batch.branches for batch in make_batches(pairs, 200, CPU))
    separately(monkeypatch)
    plain = reward.forward_backward(pairs, loss), gradient(reward.model), reward.score([r for p in pairs for r in p])
    assert shared[0] == pytest.approx(plain[0], rel=1e-5)
    torch.testing.assert_close(shared[1], plain[1], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(shared[2], plain[2], rtol=1e-4, atol=1e-5)


def test_a_sliding_window_hides_what_lies_too_far_back_in_branches_too(tmp_path, monkeypatch):
    folder = write_tiny_llama(tmp_path, architecture="MistralForCausalLM", sliding_window=8)
    policy = load(folder)
    rows = family(random.Random(2), 20, [6, 12])
    assert make_batches([[row] for row in rows], 256, CPU)[0].branches
    shared = torch.cat(policy.logprobs(rows))
    separately(monkeypatch)
    torch.testing.assert_close(shared, torch.cat(policy.logprobs(rows)), rtol=1e-5, atol=1e-5)
