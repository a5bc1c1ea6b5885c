"""Guards: each trips beyond its limit and nowhere else, leaves a row, and stops a run before its next update."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from camelid.checkpoints import Checkpoints
from camelid.models.averaging import trained_weights
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import Run
from camelid.train.guards import Guards, GuardSettings, Limit, length_correlation
from camelid.train.held_out import HeldOut
from camelid.train.ppo import PpoSettings, ppo
from camelid.train.practice import Watch
from camelid.train.scoring import Scorer, ScoreSettings
from camelid.types import Prompt
from tiny import user

PROMPTS = [Prompt(prompt=user(f"Tell me of {name}.")) for name in ("llamas", "Paris", "colours", "France")]


def run_of(path: Path, settings: PpoSettings | None = None) -> Run:
    return Run(path, settings or PpoSettings(), {}, Checkpoints(path / "checkpoints"))


def rows(path: Path, name: str) -> list[dict]:
    file = path / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize(
    ("guard", "limit", "inside", "outside"),
    [
        ("length_correlation", 0.5, 0.5, 0.51),
        ("kl", 10.0, 9.9, 10.1),
        ("entropy", 0.3, 0.31, 0.29),
        ("engine_kl", 0.02, 0.01, 0.03),
    ],
)
def test_a_guard_trips_beyond_its_limit(tmp_path, capsys, guard, limit, inside, outside):
    guards = Guards(GuardSettings(**{guard: Limit(limit=limit, action="stop")}))
    for value in (inside, math.nan):
        assert guards.look(run_of(tmp_path), 1, {guard: value}) is None
    assert guards.look(run_of(tmp_path), 1, {}) is None
    assert rows(tmp_path, "guards") == []
    assert guards.look(run_of(tmp_path), 3, {guard: outside}) == guard
    assert rows(tmp_path, "guards") == [
        {"iteration": 3, "guard": guard, "value": outside, "limit": limit, "action": "stop"}
    ]
    side = "below" if guard == "entropy" else "above"
    assert (
        f"iteration 3: {guard} is {outside:.3g}, {side} guards.{guard}.limit={limit:g} (stop)"
        in capsys.readouterr().err
    )

    warns = Guards(GuardSettings(**{guard: Limit(limit=limit)}))
    assert warns.look(run_of(tmp_path), 4, {guard: outside}) is None
    assert rows(tmp_path, "guards")[-1]["action"] == "warn"
    off = Guards(GuardSettings(**{guard: Limit(limit=None, action="stop")}))
    assert off.look(run_of(tmp_path), 5, {guard: outside}) is None
    assert len(rows(tmp_path, "guards")) == 2


def test_values_must_be_poor_for_some_iterations_in_a_row(tmp_path):
    guards = Guards(GuardSettings(explained_variance=Limit(limit=0.0), value_iterations=3))
    for iteration, value in enumerate([-1, -1, 0.5, -1, -1, -1, -1, 0.0], 1):
        guards.look(run_of(tmp_path), iteration, {"explained_variance": value})
    assert [row["iteration"] for row in rows(tmp_path, "guards")] == [6, 7]


def test_a_score_that_rises_while_the_alarm_falls_is_told(tmp_path):
    settings = GuardSettings(divergence=Limit(limit=0.6, action="stop"), divergence_window=4)
    scores, alarms = [0, 0, 1, 1, 2, 2], [5, 5, 4.5, 4.5, 4, 3]
    # Windows of four: score +1 each; the alarm falls by 0.5, (4.75 - 4.25) 0.5, (4.5 - 3.5) 1.
    guards, restored, stops, seen = Guards(settings), Guards(settings), [], []
    for iteration, (score, alarm) in enumerate(zip(scores, alarms, strict=True), 1):
        metrics = {"score": score, "alarm_score": alarm}
        stops.append(guards.look(run_of(tmp_path), iteration, metrics))
        seen.append(metrics.get("divergence"))
        if iteration == 4:
            restored.restore(json.loads(json.dumps(guards.state())))
        elif iteration > 4:
            again = {"score": score, "alarm_score": alarm}
            restored.look(run_of(tmp_path), iteration, again)
            assert again == metrics
    assert seen == [None, None, None, 0.5, 0.5, 1.0]
    assert stops == [None] * 5 + ["divergence"]


def test_length_correlation_is_pearsons_where_it_is_defined():
    scores, lengths = torch.tensor([1.0, 2.0, 3.0, 5.0]), torch.tensor([2.0, 4.0, 6.0, 10.0])
    assert length_correlation(scores, lengths) == {"length_correlation": pytest.approx(1.0)}
    assert length_correlation(-scores, lengths) == {"length_correlation": pytest.approx(-1.0)}
    assert length_correlation(scores, torch.ones(4)) == {}


def vowels(prompts, texts) -> dict[str, torch.Tensor]:
    shares = [sum(letter in "aeiou" for letter in text) / max(len(text), 1) for text in texts]
    return {"function": torch.tensor(shares)}


def test_a_stop_leaves_the_model_as_it_was_before_the_iterations_updates(tied_llama, tmp_path):
    """A run that a guard ends has the weights of one that was never to go further."""

    def run(path: Path, **changes) -> tuple[dict, dict]:
        path.mkdir(exist_ok=True)
        s = PpoSettings(
            **{"num_iterations": 6, "batch_size": 16, "mini_batch_size": 8, "learning_rate": 1e-2, "kl_coef": 0.0}
            | changes,
            sampling=Sampling(max_new_tokens=8),
        )
        model = ModelSettings(precision="float32", lora_rank=4)
        policy = Policy.load_for_training(tied_llama, model, OptimizerSettings(), seed=0)
        scorer = Scorer(ScoreSettings(sources={"function": 1.0}, unfinished_score=None), {"function": vowels}, 8)
        held_out = HeldOut([], s.sampling, every=1, patience=0, seed=s.seed)
        run = run_of(path, s)
        return ppo(run, policy, PROMPTS, Watch(run, scorer, held_out)), trained_weights(policy)

    run(tmp_path / "free")
    kls = [row["kl"] for row in rows(tmp_path / "free", "metrics")]
    limit = kls[1] * 1.01
    first = next(i for i, kl in enumerate(kls) if kl > limit)
    guard = GuardSettings(kl=Limit(limit=limit, action="stop"))
    metrics, weights = run(tmp_path / "guarded", guards=guard, checkpoint_every=4)
    _, expected = run(tmp_path / "short", num_iterations=first)
    assert (metrics["stopped_by"], metrics["kl"]) == ("kl", kls[first])
    assert "policy_loss" not in metrics
    assert [row["step"] for row in rows(tmp_path / "guarded", "metrics")] == list(range(1, first + 2))
    assert [row["iteration"] for row in rows(tmp_path / "guarded", "guards")] == [first + 1]
    assert all(torch.equal(weights[name], weight) for name, weight in expected.items())

    # Killed after its last checkpoint: what is stopped stays stopped.
    again, same = run(tmp_path / "guarded", guards=guard, checkpoint_every=4)
    assert again == metrics
    assert all(torch.equal(same[name], weight) for name, weight in weights.items())
    assert len(rows(tmp_path / "guarded", "guards")) == 1
