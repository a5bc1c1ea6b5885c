"""Policy gradients without a value network: gradients, presets, dynamic sampling, resume, and that each one learns."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from camelid.checkpoints import Checkpoints
from camelid.functional.advantages import leave_one_out
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sample, Sampling
from camelid.runs import Run, Settings
from camelid.train.algorithms import ALGORITHMS, policy_loss
from camelid.train.policy_gradient import PolicyGradientSettings, draw_informative, policy_gradient, with_targets
from camelid.train.rollout import Drawn, draw, look
from camelid.train.scoring import Completion, Scored
from test_batch import random_rows
from test_ppo_learns import PROMPTS, TRAIN, UNSEEN, load, scorer, share_of_vowels, standard_error, watch


def settings(**changes) -> PolicyGradientSettings:
    values = {
        "num_iterations": 12,
        "prompts_an_iteration": 16,
        "num_samples": 4,
        "prompts_a_step": 8,
        "learning_rate": 5e-3,
        "kl_coef": 0.0,
        "sampling": Sampling(max_new_tokens=12),
    }
    return PolicyGradientSettings(**values | changes)


def right(prompts, completions) -> Tensor:
    """A verifiable reward: whether at least three letters in ten are vowels."""
    return (share_of_vowels(prompts, completions) >= 0.3).float()


def run_in(path: Path, s: Settings) -> Run:
    path.mkdir(exist_ok=True)
    return Run(path, s, {}, Checkpoints(path / "checkpoints"))


def logged(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def practise(loop: Callable, run: Run, policy: Policy, score: Callable) -> dict[str, float]:
    return loop(run, policy, TRAIN, watch(run, score))


def drawn_with(samples: Sequence[Sample], scores: Tensor) -> Drawn:
    """Completions of a prompt of two tokens, with given scores."""
    completions = [Completion("", len(sample.ids), sample.finished) for sample in samples]
    return Drawn(
        [PROMPTS[0]] * len(samples), [[1, 2]] * len(samples), [*samples], completions, Scored(scores, scores, {})
    )


class Gain(NamedTuple):
    """How far scores on prompts that were never trained on rose."""

    value: float
    noise: float


def gain_of(loop: Callable, folder: Path, path: Path, score: Callable, s: Settings) -> Gain:
    policy = load(folder)

    def unseen() -> list[float]:
        ids = [policy.chat.prompt_ids(prompt.prompt) for prompt in UNSEEN * 4]
        texts = [policy.chat.completion_text(k[0].ids) for k in policy.sample(ids, s.sampling, seed=99)]
        return score(UNSEEN * 4, texts).tolist()

    before = unseen()
    practise(loop, run_in(path, s), policy, score)
    after = unseen()
    gain = statistics.mean(after) - statistics.mean(before)
    return Gain(gain, math.hypot(standard_error(before), standard_error(after)))


def assert_resumes(loop: Callable, folder: Path, tmp_path: Path, s: Settings) -> None:
    """Stopped in the third iteration and taken up again, it ends bitwise as if nothing had happened."""
    calls = 0

    def stopping(prompts, completions) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return share_of_vowels(prompts, completions)

    whole, cut, resumed = load(folder), load(folder), load(folder)
    metrics = practise(loop, run_in(tmp_path / "whole", s), whole, share_of_vowels)
    with pytest.raises(KeyboardInterrupt):
        practise(loop, run_in(tmp_path / "cut", s), cut, stopping)
    assert practise(loop, run_in(tmp_path / "cut", s), resumed, share_of_vowels) == metrics
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")
    assert len(logged(tmp_path / "cut")) == s.num_iterations
    weights = resumed.model.state_dict()
    start = load(folder).model.state_dict()
    moved = [name for name, tensor in whole.model.state_dict().items() if not torch.equal(tensor, start[name])]
    assert moved
    assert all(torch.equal(weights[name], tensor) for name, tensor in whole.model.state_dict().items())


# --- learning ---


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_raises_a_verifiable_reward_on_unseen_prompts(tied_llama, tmp_path, algorithm):
    # Whole completions soon leave RLOO's clip, so it takes one step an iteration, as in the paper.
    once = {"prompts_a_step": 16, "learning_rate": 1e-2} if algorithm == "rloo" else {}
    gain = gain_of(policy_gradient, tied_llama, tmp_path / "run", right, settings(algorithm=algorithm, **once))
    assert gain.value > 0.5
    assert gain.value > 5 * gain.noise
    rows = logged(tmp_path / "run")
    assert rows[0]["kl"] == 0.0
    assert rows[0]["engine_mean"] < 1e-5
    assert {"score", "kl", "length", "finished", "entropy", "alike", "clip_fraction", "gradient_norm"} <= rows[0].keys()


@pytest.mark.parametrize("kl", ["reward", "loss_k2", "loss_k3", "loss_unbiased"])
def test_a_kl_term_keeps_the_policy_nearer_to_the_reference(tied_llama, tmp_path, kl):
    few = {"algorithm": "dr_grpo", "num_iterations": 6, "average": "sum", "kl": kl}
    late = {}
    for coef in (0.0, 0.3):
        run = run_in(tmp_path / f"{coef}", settings(**few, kl_coef=coef))
        practise(policy_gradient, run, load(tied_llama), right)
        late[coef] = logged(tmp_path / f"{coef}")[-1]["kl"]
    assert late[0.3] < 0.6 * late[0.0]


def test_resuming_is_bitwise(tied_llama, tmp_path):
    """With everything that has a state: the running baseline and the adaptive coefficient."""
    s = settings(algorithm="reinforce", num_iterations=4, kl_coef=0.05, kl_target=1.0, kl_horizon=200)
    assert_resumes(policy_gradient, tied_llama, tmp_path, s)
    assert len({row["kl_coef"] for row in logged(tmp_path / "whole")}) == 4


# --- the gradient ---


def made_up_rows() -> list[Row]:
    """Six rows of other lengths with numbers that are nowhere at their start."""
    rows = []
    for i, row in enumerate(random_rows([6 + (7 * i) % 23 for i in range(6)])):
        torch.manual_seed(i)
        names = ("old_logprobs", "ref_logprobs")
        values = {name: -3.0 + 0.5 * torch.randn(len(row.ids)) for name in names}
        values["advantages"] = torch.full((len(row.ids),), (-1.0) ** i * (1 + i))
        rows.append(Row(row.ids, row.loss_mask, values))
    return rows


def gradients_of(policy: Policy, rows: list[Row], loss: Callable) -> tuple[dict, dict[str, Tensor]]:
    metrics = policy.forward_backward(rows, loss)
    return metrics, {name: p.grad.clone() for name, p in policy.updater.named.items() if p.grad is not None}


def trainable(llama: Path, budget: int) -> Policy:
    held = ModelSettings(precision="float32", lora_rank=4, micro_batch_tokens=budget)
    return Policy.load_for_training(llama, held, OptimizerSettings(), seed=0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_gradient_does_not_depend_on_the_micro_batches(tied_llama, algorithm):
    loss = partial(policy_loss, c=ALGORITHMS[algorithm], kl_coef=0.1, constant=20)
    (metrics, gradients), *others = (
        gradients_of(trainable(tied_llama, budget), made_up_rows(), loss) for budget in (1000, 60, 1)
    )
    for other_metrics, other in others:
        assert other_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
        for name, gradient in gradients.items():
            scale = gradient.abs().max().item()
            torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-4 * scale, msg=name)


@pytest.mark.parametrize("algorithm", ["rloo", "reinforce"])
def test_on_the_policy_the_gradient_is_reinforces(tied_llama, algorithm):
    """Of - mean_i A_i log pi(y_i), with A the leave-one-out advantage of drawn and scored completions."""
    policy = trainable(tied_llama, 1000)
    sampling = Sampling(max_new_tokens=10)
    rollout = look(policy, draw(policy, PROMPTS[:3], scorer(), sampling, seed=1, num_samples=4), sampling)
    advantages = leave_one_out(rollout.drawn.scored.final.view(-1, 4)).view(-1, 1).expand_as(rollout.logprobs)
    rows = with_targets(rollout, advantages)
    _, found = gradients_of(policy, rows, partial(policy_loss, c=ALGORITHMS[algorithm], kl_coef=0.0, constant=10))

    def reinforce(batch, outputs):
        loss = -batch.row_sums(outputs.logprobs * batch.values["advantages"]).sum()
        return type(policy_loss(batch, outputs, c=ALGORITHMS["rloo"], kl_coef=0, constant=1))(
            loss, loss.new_tensor(1), {}
        )

    _, expected = gradients_of(trainable(tied_llama, 1000), rows, reinforce)
    assert max(g.abs().max() for g in expected.values()) > 1e-3
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4 * scale, msg=name)


# --- dynamic sampling ---


class Teacher:
    """Scores that differ within a group for some prompts only, and what was asked."""

    def __init__(self, hopeless: int):
        self.hopeless = {prompt.id for prompt in TRAIN[:hopeless]}
        self.asked: list[list[str]] = []

    def __call__(self, prompts, completions) -> Tensor:
        self.asked.append([prompt.id for prompt in prompts])
        return torch.tensor([0.0 if p.id in self.hopeless else float(i % 2) for i, p in enumerate(prompts)])


@pytest.mark.parametrize(("hopeless", "draws"), [(0, 1), (20, None), (40, 4)])
def test_groups_that_are_alike_are_drawn_again_up_to_the_limit(tied_llama, hopeless, draws):
    teacher, s = Teacher(hopeless), settings(redraws=3)
    drawn, everything, about = draw_informative(load(tied_llama), TRAIN, scorer(teacher), s, 0)
    groups = [ids[::4] for ids in teacher.asked]
    same = [sum(prompt in teacher.hopeless for prompt in ids) for ids in groups]
    assert [len(ids) for ids in groups[1:]] == [*same[: len(groups) - 1]]  # just as many as were alike
    assert about["redrawn"] == sum(same[: len(groups) - 1])
    assert about["alike"] == same[0] / 16
    expected = [0.0 if prompt in teacher.hopeless else 0.5 for ids in groups for prompt in ids]
    assert everything.scored.means()["score"] == pytest.approx(statistics.mean(expected))
    assert [p.id for p in everything.prompts] == [prompt for ids in teacher.asked for prompt in ids]
    assert draws is None or len(groups) == draws
    assert len(drawn.samples) == 64
    left = sum(group.std() == 0 for group in drawn.scored.final.view(-1, 4))
    assert left == (same[-1] if len(groups) == 4 else 0)  # what is still alike stays
    if hopeless == 20:
        assert len(groups) > 1
        assert left < same[0]
        assert len(set(map(tuple, groups))) == len(groups)


def test_without_redraws_nothing_is_drawn_again(tied_llama):
    teacher = Teacher(40)
    drawn, everything, about = draw_informative(load(tied_llama), TRAIN, scorer(teacher), settings(), 0)
    assert len(teacher.asked) == 1
    assert drawn is everything
    assert about == {"alike": 1.0}


# --- several samples a prompt ---


def test_completions_of_a_prompt_stand_side_by_side_and_differ(tied_llama):
    policy, sampling = load(tied_llama), Sampling(max_new_tokens=10)
    drawn = draw(policy, PROMPTS[:3], scorer(), sampling, seed=5, num_samples=4)
    ids = [policy.chat.prompt_ids(prompt.prompt) for prompt in PROMPTS[:3]]
    assert drawn.prompt_ids == [own for own in ids for _ in range(4)]
    assert len({tuple(sample.ids) for sample in drawn.samples}) == 12
    texts = [policy.chat.completion_text(sample.ids) for sample in drawn.samples]
    torch.testing.assert_close(drawn.scored.final, share_of_vowels([], texts))
    rollout = look(policy, drawn, sampling)
    assert rollout.values.shape == (0, 0)  # no value head
    assert rollout.drawn is drawn


# --- an engine that is not the trainer ---


def test_importance_weights_scale_the_loss(tied_llama, tmp_path, monkeypatch, capsys):
    """Each token e^-0.2 times as likely under the trainer as under the engine; limit 0.5 truncates."""
    own = Policy.sample

    def another(*arguments, **keywords):
        drawn = own(*arguments, **keywords)
        return [[one._replace(logprobs=[x + 0.2 for x in one.logprobs]) for one in samples] for samples in drawn]

    monkeypatch.setattr(Policy, "sample", another)
    norms = {}
    for limit in (0.0, 2.0, 0.5):
        s = settings(num_iterations=1, prompts_a_step=16, importance_limit=limit)
        norms[limit] = practise(policy_gradient, run_in(tmp_path / f"{limit}", s), load(tied_llama), share_of_vowels)
    assert norms[2.0]["gradient_norm"] == pytest.approx(norms[0.0]["gradient_norm"] * math.exp(-0.2), rel=1e-3)
    assert norms[0.5]["gradient_norm"] == pytest.approx(norms[0.0]["gradient_norm"] * 0.5, rel=1e-3)
    assert "iteration 1: engine_kl is 0.0187, above guards.engine_kl.limit=0.01" in capsys.readouterr().err


# --- settings ---


def test_a_choice_can_be_set_by_itself():
    s = PolicyGradientSettings(algorithm="dapo", clip_high=0.4, redraws=0)
    assert s.choices == ALGORITHMS["dapo"]._replace(clip_high=0.4, redraws=0)
    assert PolicyGradientSettings(algorithm="rloo").choices == ALGORITHMS["rloo"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_samples": 1}, "advantage=group_standardized compares .* draw at least 2"),
        ({"algorithm": "reinforce", "num_samples": 1, "redraws": 1}, "redraws=1 compares"),
        ({"algorithm": "rloo", "importance_limit": 2}, "ratio=completion is of completions; set ratio=token"),
        ({"algorithm": "dapo", "kl_target": 6}, "kl_target multiplies kl_coef, which is 0"),
        ({"sampling": {"top_p": 0.9}}, "the policy's own distribution"),
        ({"kl": "loss_k1"}, "kl"),
        ({"algorithm": "ppo"}, "algorithm"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed, message):
    with pytest.raises(ValidationError, match=message):
        PolicyGradientSettings(**changed)


def test_reinforce_does_with_one_completion_a_prompt(tied_llama, tmp_path):
    s = settings(algorithm="reinforce", num_samples=1, num_iterations=1)
    metrics = practise(policy_gradient, run_in(tmp_path / "run", s), load(tied_llama), share_of_vowels)
    assert "alike" not in metrics
    assert metrics["gradient_norm"] > 0
