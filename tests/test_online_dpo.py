"""Online DPO: which completions make a pair, that it learns, and that it resumes."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from camelid.models.sampling import Sample, Sampling
from camelid.train.online_dpo import OnlineDpoSettings, best_and_worst, online_dpo
from test_policy_gradient import assert_resumes, drawn_with, gain_of, logged, practise, right, run_in
from test_ppo_learns import load, nothing, share_of_vowels


def settings(**changes) -> OnlineDpoSettings:
    values = {
        "num_iterations": 10,
        "prompts_an_iteration": 32,
        "num_samples": 4,
        "prompts_a_step": 8,
        "learning_rate": 5e-3,
        "sampling": Sampling(max_new_tokens=12),
    }
    return OnlineDpoSettings(**values | changes)


def test_the_best_stands_against_the_worst_and_what_is_alike_makes_no_pair():
    scores = torch.tensor([0.5, 2.0, -1.0, 1.0, 1.0, 1.0, 3.0, 0.0, 3.0])
    drawn = drawn_with([Sample([2], [0.0], True)] * 9, scores)
    assert best_and_worst(drawn, 3) == [(1, 2), (6, 7)]


def test_the_reward_rises_on_unseen_prompts(tied_llama, tmp_path):
    gain = gain_of(online_dpo, tied_llama, tmp_path / "run", share_of_vowels, settings())
    assert gain.value > 0.3
    assert gain.value > 8 * gain.noise
    first, *_, last = logged(tmp_path / "run")
    assert first["kl"] == 0.0
    assert last["score"] > first["score"]
    assert {"length", "finished", "entropy", "alike", "accuracy", "margin", "gradient_norm"} <= last.keys()


def test_the_first_step_begins_at_the_reference(tied_llama, tmp_path):
    """log 2 is the loss of a policy that is its own reference, at the sampling temperature too."""
    s = settings(
        num_iterations=1, prompts_a_step=32, num_samples=4, sampling=Sampling(max_new_tokens=12, temperature=0.7)
    )
    metrics = practise(online_dpo, run_in(tmp_path / "run", s), load(tied_llama), right)
    assert metrics["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics["drift"] == pytest.approx(0, abs=1e-6)
    assert 0 < metrics["alike"] < 1


def test_without_a_difference_nothing_is_learnt(tied_llama, tmp_path):
    policy, s = load(tied_llama), settings(num_iterations=2)
    metrics = practise(online_dpo, run_in(tmp_path / "run", s), policy, nothing)
    assert metrics["alike"] == 1.0
    assert "loss" not in metrics
    assert policy.updates == 0


def test_resuming_is_bitwise(tied_llama, tmp_path):
    assert_resumes(online_dpo, tied_llama, tmp_path, settings(num_iterations=4, prompts_an_iteration=8))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="two losses; choose one"):
        settings(loss="ipo", label_smoothing=0.1)
    with pytest.raises(ValidationError, match="num_samples"):
        settings(num_samples=1)
