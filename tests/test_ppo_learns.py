"""PPO learns: on prompts that it never trained on, the reward rises, and the KL penalty holds it back as it should."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from camelid.checkpoints import Checkpoints
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import Run
from camelid.train import ppo as ppo_module
from camelid.train.common import in_turn
from camelid.train.held_out import HeldOut
from camelid.train.ppo import PRESETS, PpoSettings, ppo
from camelid.train.practice import Watch
from camelid.train.rollout import roll_out
from camelid.train.scoring import Scorer, ScoreSettings
from camelid.train.verifiable import Score
from camelid.types import Prompt
from tiny import user

WORDS = ("red", "blue", "llama", "France", "Paris", "capital", "colour", "Andes")
PROMPTS = [Prompt(prompt=user(f"Tell me of {a} and {b}.")) for a, b in itertools.permutations(WORDS, 2)]
TRAIN, UNSEEN = PROMPTS[:40], PROMPTS[40:]


def share_of_vowels(prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
    """The synthetic reward: a share in [0, 1] that no single token decides."""
    return torch.tensor([sum(letter in "aeiou" for letter in text) / max(len(text), 1) for text in completions])


def nothing(prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
    return torch.zeros(len(completions))


def scorer(score: Score = share_of_vowels, **changes) -> Scorer:
    """One function as the only source; of unfinished completions too, if nothing else is said."""
    chosen = ScoreSettings(**{"sources": {"function": 1.0}, "unfinished_score": None} | changes)
    return Scorer(chosen, {"function": lambda prompts, texts: {"function": score(prompts, texts)}}, 64)


def train(run: Run, policy: Policy, score: Score = share_of_vowels) -> dict[str, float]:
    return ppo(run, policy, TRAIN, watch(run, score))


def watch(run: Run, score: Score = share_of_vowels) -> Watch:
    """One that looks at no held-out prompts."""
    s = run.settings
    return Watch(run, scorer(score), HeldOut([], s.sampling, every=1, patience=0, seed=s.seed))


class Learnt(NamedTuple):
    before: list[float]
    """Scores of completions of the unseen prompts before training."""
    after: list[float]
    rows: list[dict[str, float]]
    """metrics.jsonl"""


def settings(**changes) -> PpoSettings:
    values = {
        "num_iterations": 24,
        "batch_size": 64,
        "mini_batch_size": 16,
        "ppo_epochs": 2,
        "learning_rate": 3e-3,
        "kl_coef": 0.0,
        "sampling": Sampling(max_new_tokens=12),
    }
    return PpoSettings(**values | changes)


def load(folder: Path, *, rank: int = 16) -> Policy:
    model = ModelSettings(precision="float32", lora_rank=rank, micro_batch_tokens=4096)
    return Policy.load_for_training(folder, model, OptimizerSettings(weight_decay=0.0), seed=0)


def learn(folder: Path, path: Path, score: Score = share_of_vowels, *, rank: int = 16, **changes) -> Learnt:
    path.mkdir(exist_ok=True)
    policy = load(folder, rank=rank)
    s = settings(**changes)

    def unseen() -> list[float]:
        ids = [policy.chat.prompt_ids(prompt.prompt) for prompt in UNSEEN * 4]
        texts = [policy.chat.completion_text(k[0].ids) for k in policy.sample(ids, s.sampling, seed=99)]
        return score(UNSEEN * 4, texts).tolist()

    before = unseen()
    train(Run(path, s, {}, Checkpoints(path / "checkpoints")), policy, score)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return Learnt(before, unseen(), rows)


def standard_error(scores: list[float]) -> float:
    return statistics.stdev(scores) / math.sqrt(len(scores))


@pytest.fixture(scope="module")
def free(tied_llama, tmp_path_factory) -> Learnt:
    """PPO without a KL penalty."""
    return learn(tied_llama, tmp_path_factory.mktemp("free"))


def test_the_reward_rises_on_prompts_that_were_never_trained_on(free):
    gain = statistics.mean(free.after) - statistics.mean(free.before)
    noise = math.hypot(standard_error(free.after), standard_error(free.before))
    assert gain > 0.2
    assert gain > 8 * noise


def test_full_fine_tuning_learns_too(untied_llama, tmp_path):
    result = learn(untied_llama, tmp_path, rank=0, num_iterations=18)
    assert statistics.mean(result.after) > statistics.mean(result.before) + 0.1


def test_the_first_iteration_is_on_the_policy(free):
    """Nothing has been updated: no KL, and what the sampler says of its tokens is what the trainer says."""
    first = free.rows[0]
    assert first["kl"] == 0.0
    assert first["engine_mean"] < 1e-5
    assert [row["step"] for row in free.rows] == list(range(1, 25))
    assert max(row["engine_mean"] for row in free.rows) < 1e-4


def test_a_larger_kl_coef_keeps_the_policy_nearer_to_the_reference(free, tied_llama, tmp_path):
    def late_kl(result: Learnt) -> float:
        return statistics.mean(row["kl"] for row in result.rows[-4:])

    loose = late_kl(free)
    some, much = (late_kl(learn(tied_llama, tmp_path / f"{coef}", kl_coef=coef)) for coef in (0.02, 0.2))
    assert free.rows[2]["kl"] < loose
    assert loose > 10  # nats a completion of 12 tokens
    assert some < 0.5 * loose
    assert much < 0.5 * some


def test_without_a_reward_the_policy_stays_where_it_is(tied_llama, tmp_path):
    result = learn(tied_llama, tmp_path, nothing, kl_coef=0.05, num_iterations=6)
    assert max(abs(row["kl"]) for row in result.rows) < 1e-3


def test_an_adaptive_kl_coef_follows_the_kl(tied_llama, tmp_path):
    """Far below the target the coefficient falls by 20% * 64 / 640 = 2% an iteration, far above it rises by as much."""
    low = learn(tied_llama, tmp_path / "low", num_iterations=3, kl_coef=0.1, kl_target=1000.0, kl_horizon=640)
    assert [row["kl_coef"] for row in low.rows] == pytest.approx([0.1, 0.098, 0.098 * 0.98])
    high = learn(tied_llama, tmp_path / "high", num_iterations=5, kl_coef=0.1, kl_target=1e-6, kl_horizon=640)
    coefs = [row["kl_coef"] for row in high.rows]
    assert coefs[-1] == pytest.approx(coefs[-2] * 1.02)


def test_a_run_killed_after_its_last_iteration_still_has_its_results(tied_llama, tmp_path):
    s = settings(num_iterations=2, checkpoint_every=1)
    run = Run(tmp_path, s, {}, Checkpoints(tmp_path / "checkpoints"))
    first, second = load(tied_llama), load(tied_llama)
    metrics = train(run, first)
    rows = (tmp_path / "metrics.jsonl").read_text()
    assert train(run, second) == metrics != {}
    assert (tmp_path / "metrics.jsonl").read_text() == rows
    weights = second.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in first.model.state_dict().items())


def test_cut_completions_get_the_unfinished_score(tied_llama):
    policy = load(tied_llama)
    policy.add_value_head(OptimizerSettings())
    s = settings(sampling=Sampling(max_new_tokens=60))
    rollout = roll_out(policy, PROMPTS, scorer(unfinished_score=-3.0), s.sampling, seed=0)
    ended = [row.ids[-1] in policy.chat.stop_ids for row in rollout.rows]
    assert 0 < sum(ended) < len(ended)
    assert [completion.finished for completion in rollout.drawn.completions] == ended
    assert [score == -3.0 for score in rollout.drawn.scored.final.tolist()] == [not end for end in ended]
    assert rollout.drawn.scored.score.min() >= 0


def test_an_engine_that_is_not_the_trainer_is_told_and_made_up_for(tied_llama, tmp_path, monkeypatch, capsys):
    """An engine that says each token was likelier than the trainer has it, by a fifth of a nat."""
    own = Policy.sample

    def another(*arguments, **keywords):
        drawn = own(*arguments, **keywords)
        return [[one._replace(logprobs=[x + 0.2 for x in one.logprobs]) for one in samples] for samples in drawn]

    monkeypatch.setattr(Policy, "sample", another)
    policy = load(tied_llama)
    policy.add_value_head(OptimizerSettings())
    rollout = roll_out(policy, PROMPTS, scorer(), settings().sampling, seed=0, importance_limit=2.0)
    assert rollout.weights is not None
    assert rollout.weights[rollout.mask].tolist() == pytest.approx([math.exp(-0.2)] * int(rollout.mask.sum()), rel=1e-4)
    assert rollout.engine.mean == pytest.approx(0.2, abs=1e-4)
    assert rollout.engine.kl == pytest.approx(math.exp(-0.2) - 1 + 0.2, rel=1e-2)

    losses = {}
    for limit in (0.0, 2.0, 0.5):
        run = Run(
            tmp_path,
            settings(num_iterations=1, mini_batch_size=512, importance_limit=limit),
            {},
            Checkpoints(tmp_path / f"{limit}"),
        )
        losses[limit] = train(run, load(tied_llama))["policy_loss"]
    assert losses[2.0] == pytest.approx(losses[0.0] * math.exp(-0.2), rel=1e-3)
    assert losses[0.5] == pytest.approx(losses[0.0] * 0.5, rel=1e-3)
    assert "iteration 1: engine_kl is 0.0187, above guards.engine_kl.limit=0.01" in capsys.readouterr().err


@given(
    num_prompts=st.integers(1, 30), batch_size=st.integers(1, 50), iterations=st.integers(1, 8), seed=st.integers(0, 9)
)
def test_every_iteration_asks_a_whole_batch_and_every_prompt_equally_often(num_prompts, batch_size, iterations, seed):
    batches = [in_turn(num_prompts, batch_size, i, seed) for i in range(iterations)]
    assert {len(batch) for batch in batches} == {batch_size}
    order = [index for batch in batches for index in batch]
    for start in range(0, len(order), num_prompts):
        counts = Counter(order[start : start + num_prompts])
        assert set(counts.values()) == {1}
        assert counts.keys() <= set(range(num_prompts))


def test_settings_that_make_no_sense_are_refused():
    for name, value in {"schedule": "quadratic", "clip": 0, "batch_size": 1, "kl_coef": -1}.items():
        with pytest.raises(ValidationError, match=name):
            settings(**{name: value})


@pytest.mark.parametrize("changed", [{"top_p": 0.9}, {"top_k": 5}, {"repetition_penalty": 1.1}, {"min_new_tokens": 2}])
def test_what_is_drawn_from_another_distribution_is_refused(changed):
    with pytest.raises(ValueError, match="PPO needs completions of the policy's own distribution"):
        PpoSettings(sampling=Sampling(**changed))


def test_whitened_rewards_have_deviation_one_and_keep_their_mean(tied_llama, tmp_path, monkeypatch):
    seen = []
    own = ppo_module.gae

    def noting(rewards, values, mask, **settings):
        seen.append(rewards[mask])
        return own(rewards, values, mask, **settings)

    monkeypatch.setattr(ppo_module, "gae", noting)
    for whiten in (False, True):
        s = settings(num_iterations=1, whiten_rewards=whiten)
        train(Run(tmp_path, s, {}, Checkpoints(tmp_path / f"{whiten}")), load(tied_llama))
    plain, whitened = seen
    assert whitened.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert whitened.mean().item() == pytest.approx(plain.mean().item(), abs=1e-6)
    assert plain.std().item() < 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings_of_the_stage(name):
    assert PpoSettings.model_validate(PRESETS[name].model_dump()) == PRESETS[name]
    assert PRESETS[name].model.lora_rank == 0
