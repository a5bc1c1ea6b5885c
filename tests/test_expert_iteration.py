"""Expert iteration: what is imitated, that it learns, and that it resumes."""

from __future__ import annotations

import pytest
import torch

from camelid.models.sampling import Sample, Sampling
from camelid.train.expert_iteration import ExpertIterationSettings, expert_iteration, kept
from camelid.train.rollout import Drawn
from test_policy_gradient import assert_resumes, drawn_with, gain_of, logged, practise, right, run_in
from test_ppo_learns import load, share_of_vowels


def settings(**changes) -> ExpertIterationSettings:
    values = {
        "num_iterations": 8,
        "prompts_an_iteration": 32,
        "num_samples": 8,
        "prompts_a_step": 8,
        "learning_rate": 5e-3,
        # A random model hardly ever ends its turn; a stop string ends most completions.
        "sampling": Sampling(max_new_tokens=12, stop=("s", "t", " ")),
    }
    return ExpertIterationSettings(**values | changes)


def drawn() -> Drawn:
    """Three prompts with three completions each, named by their only token; the third prompt's are all cut."""
    finished = [True, False, True, True, True, True, False, False, False]
    samples = [Sample([10 + i], [0.0], end) for i, end in enumerate(finished)]
    scores = torch.tensor([1.0, 9.0, 2.0, 0.0, 1.0, 0.5, 5.0, 5.0, 5.0])
    return drawn_with(samples, scores)


def names(experts) -> list[list[int]]:
    return [[row.ids[-1] for row in group] for group in experts]


def test_the_best_finished_completion_of_each_prompt_is_kept():
    assert names(kept(drawn(), 3, None)) == [[12], [14]]


def test_with_a_threshold_all_that_reach_it_are_kept():
    assert names(kept(drawn(), 3, 1.0)) == [[10, 12], [14]]
    assert names(kept(drawn(), 3, 2.5)) == []


@pytest.mark.parametrize(("score", "threshold"), [(share_of_vowels, None), (right, 1.0)])
def test_the_reward_rises_on_unseen_prompts(tied_llama, tmp_path, score, threshold):
    gain = gain_of(expert_iteration, tied_llama, tmp_path / "run", score, settings(threshold=threshold))
    assert gain.value > 0.15
    assert gain.value > 8 * gain.noise
    first, *_, last = logged(tmp_path / "run")
    assert first["kl"] == 0.0
    assert 0.5 < first["finished"] < 1
    assert first["best_score"] > first["score"]
    assert {"length", "entropy", "kept", "prompts_without", "loss", "gradient_norm"} <= last.keys()


def test_where_nothing_passes_nothing_is_learnt(tied_llama, tmp_path):
    policy, s = load(tied_llama), settings(num_iterations=1, threshold=2.0)
    metrics = practise(expert_iteration, run_in(tmp_path / "run", s), policy, right)
    assert (metrics["kept"], metrics["prompts_without"]) == (0.0, 1.0)
    assert "loss" not in metrics
    assert policy.updates == 0


def test_resuming_is_bitwise(tied_llama, tmp_path):
    s = settings(num_iterations=4, prompts_an_iteration=8, num_samples=4)
    assert_resumes(expert_iteration, tied_llama, tmp_path, s)
