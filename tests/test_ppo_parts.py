"""What goes with PPO's loop: pretraining text in its steps, averaged weights, held-out prompts, its files."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from camelid.functional.sft import sft_loss
from camelid.models.averaging import MovingAverage, put_back, trained_weights
from camelid.models.batch import Batch
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute, read_manifest
from camelid.train.common import in_turn
from camelid.train.held_out import HeldOut
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.pretraining_mix import Mix, MixSettings, mix_rows
from camelid.train.scoring import Scorer, ScoreSettings
from camelid.types import Conversation, Message, Prompt, write_records
from tiny import user

MODEL = ModelSettings(precision="float32", lora_rank=4, micro_batch_tokens=128)
PROMPTS = [Prompt(prompt=user(f"Tell me of {name}.")) for name in ("llamas", "Paris", "colours", "France", "me", "it")]
TEXTS = [
    "A llama is a camelid. It lives in the Andes.",
    "The capital of France is Paris.",
    "Red and blue are two colours, and there are more.",
]


def load(folder: Path, rank: int = 4) -> Policy:
    settings = MODEL.model_copy(update={"lora_rank": rank})
    return Policy.load_for_training(folder, settings, OptimizerSettings(weight_decay=0.0), seed=0)


@pytest.fixture
def pretraining(tmp_path) -> Path:
    file = tmp_path / "documents.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return file


def nll(batch: Batch, outputs: Outputs) -> Loss:
    total, count = sft_loss(outputs.logprobs, batch.loss_mask)
    return Loss(total, count, {})


def gradients(policy: Policy) -> dict[str, Tensor]:
    """What has been added up; clears it."""
    assert policy.updater is not None
    found = {name: p.grad.clone() for name, p in policy.updater.named.items() if p.grad is not None}
    policy.updater.optimizer.zero_grad()
    return found


@pytest.mark.parametrize("rank", [4, 0])
def test_the_gradient_of_ppo_ptx_is_the_sum_of_its_parts(tied_llama, pretraining, rank):
    """Divided by the step's count: grad L_PPO / tokens + coef times the gradient of the text's mean loss a token."""
    policy = load(tied_llama, rank)
    settings = MixSettings(coef=3.0, ratio=1.0, max_tokens=24)
    mix = Mix(mix_rows(policy, [pretraining], settings), settings, seed=5)
    rollouts = mix_rows(policy, [pretraining], MixSettings(max_tokens=10))[:2]  # any rows with another loss

    def surrogate(batch: Batch, outputs: Outputs) -> Loss:
        return Loss((outputs.logprobs.exp() * batch.loss_mask).sum(), batch.loss_mask.sum(), {})

    count = policy.forward_backward(rollouts, surrogate)["count"]
    ppo = gradients(policy)
    text = [mix.rows[i] for i in in_turn(len(mix.rows), 2, 7, 5)]
    plain = policy.forward_backward(text, nll)
    ptx = gradients(policy)

    policy.forward_backward(rollouts, surrogate)
    logged = mix.add_gradient(policy, 7, num_rows=2, count=count)
    for name, both in gradients(policy).items():
        expected = ppo[name] / count + 3.0 * ptx[name] / plain["count"]
        torch.testing.assert_close(both / count, expected, atol=1e-5 * expected.abs().max().item(), rtol=1e-4)
    assert logged == {"pretraining_loss": pytest.approx(plain["loss"], rel=1e-5)}


def test_the_mix_takes_documents_and_conversations_and_says_what_it_cannot_read(tied_llama, pretraining, tmp_path):
    policy = load(tied_llama)
    answer = Message(role="assistant", content="Red and blue.")
    write_records(tmp_path / "talk.jsonl", [Conversation(messages=(*user("Name two colours."), answer))])
    rows = mix_rows(policy, [pretraining, tmp_path / "talk.jsonl"], MixSettings(max_tokens=200))
    assert [policy.text_of(row.ids) for row in rows[:3]] == TEXTS
    assert all(sum(row.loss_mask) == len(row.ids) - 1 for row in rows[:3])
    trained = [i for i, trains in zip(rows[3].ids, rows[3].loss_mask, strict=True) if trains]
    assert policy.text_of(trained).strip() == "Red and blue."
    write_records(tmp_path / "prompts.jsonl", PROMPTS)
    with pytest.raises(ValueError, match=r"prompts\.jsonl: rows need `text` or `messages`"):
        mix_rows(policy, [tmp_path / "prompts.jsonl"], MixSettings())
    with pytest.raises(ValueError, match=r"pretraining conversation .*; raise ptx\.max_tokens"):
        mix_rows(policy, [tmp_path / "talk.jsonl"], MixSettings(max_tokens=8))


def test_a_moving_average_by_hand(tied_llama):
    policy = load(tied_llama)
    start = trained_weights(policy)
    average = MovingAverage(policy, 0.75)
    put_back(policy, {name: weight + 1 for name, weight in start.items()})
    average.update()  # 0.75 w + 0.25 (w + 1) = w + 0.25
    average.update()  # 0.75 (w + 0.25) + 0.25 (w + 1) = w + 0.4375
    now = trained_weights(policy)
    with average.in_place():
        for name, weight in trained_weights(policy).items():
            torch.testing.assert_close(weight, start[name] + 0.4375)
    assert all(torch.equal(weight, now[name]) for name, weight in trained_weights(policy).items())


class Moody:
    """A score that does not look at completions: one number a look."""

    def __init__(self, *moods: float):
        self.moods = list(moods)

    def __call__(self, prompts, texts) -> dict[str, Tensor]:
        return {"function": torch.full((len(texts),), self.moods.pop(0))}


def test_the_best_look_is_kept_and_patience_ends(tied_llama):
    policy = load(tied_llama)
    scorer = Scorer(ScoreSettings(sources={"function": 1.0}), {"function": Moody(0.0, 2.0, 1.0, 2.0, 3.0)}, 4)
    held_out = HeldOut(PROMPTS, Sampling(max_new_tokens=4), every=2, patience=2, seed=0)
    assert [i for i in range(7) if held_out.due(i)] == [0, 2, 4, 6]
    seen, impatient = [], []
    for iteration in (0, 2, 4, 6):
        put_back(policy, {name: torch.full_like(w, 0.01 * iteration) for name, w in trained_weights(policy).items()})
        seen.append(held_out.look(policy, scorer, iteration, nullcontext())["held_out_score"])
        impatient.append(held_out.out_of_patience)
    assert seen == [0.0, 2.0, 1.0, 2.0]
    assert impatient == [False, False, False, True]  # an equal score is no better one
    assert held_out.finish(policy) == {"best_iteration": 2, "best_held_out_score": 2.0}
    assert all((weight == 0.02).all() for weight in trained_weights(policy).values())


def test_instructgpts_warm_up_begins_at_a_tenth():
    rates = [PpoSettings(learning_rate=1.0, warmup_steps=10).learning_rate_at(i, 50) for i in (0, 1, 9, 10, 49)]
    assert rates == pytest.approx([0.1, 0.2, 1.0, 1.0, 1.0])


@pytest.fixture
def everything(tied_llama, pretraining, tmp_path):
    """`run(name, **settings)`: a stage with all optional inputs; returns its folder."""
    prompts = [Prompt(prompt=p.prompt, answer="a") for p in PROMPTS]
    write_records(tmp_path / "prompts.jsonl", prompts)
    write_records(tmp_path / "other.jsonl", [Prompt(prompt=user("And what of the Andes?"), answer="a")])

    def run(name: str, more: dict[str, Path] | None = None, **changes) -> Path:
        settings = PpoSettings(
            **{
                "model": MODEL,
                "num_iterations": 3,
                "batch_size": 4,
                "mini_batch_size": 2,
                "learning_rate": 1e-2,
                "sampling": Sampling(max_new_tokens=6),
                "scoring": ScoreSettings(sources={"pattern": 1.0}),
            }
            | changes
        )
        inputs = {"model": tied_llama, "prompts": tmp_path / "prompts.jsonl"} | (more or {})
        return execute([Stage("ppo", train_ppo, settings, inputs)], tmp_path / name)["ppo"]

    return run


def test_what_a_run_leaves(everything, pretraining, tmp_path):
    path = everything(
        "run",
        {"pretraining": pretraining, "held_out_prompts": tmp_path / "other.jsonl"},
        ema="beside",
        held_out_every=2,
        ptx=MixSettings(ratio=1.5),
    )
    metrics = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in metrics] == [0, 1, 2, 3]
    assert [row["step"] for row in metrics if "held_out_score" in row] == [0, 2, 3]
    assert all("pretraining_loss" in row and "pattern_score" in row for row in metrics[1:])
    samples = [json.loads(line) for line in (path / "samples.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in samples] == [1] * 4 + [2] * 4 + [3] * 4
    assert samples[0].keys() == {
        "iteration",
        "prompt_id",
        "prompt",
        "completion",
        "num_tokens",
        "finished",
        "scores",
    }
    assert all(row["scores"]["pattern_score"] == float("a" in row["completion"]) for row in samples)
    manifest = read_manifest(path)
    assert manifest["metrics"]["best_iteration"] in (0, 2, 3)
    best = max(row["held_out_score"] for row in metrics if "held_out_score" in row)
    assert manifest["metrics"]["best_held_out_score"] == best
    assert "model-ema/model.safetensors" in manifest["outputs"]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_average_may_stand_beside_the_model_or_in_its_place(everything):
    plain, beside, instead = (everything(ema, ema=ema, ema_decay=0.5) for ema in ("no", "beside", "instead"))
    assert weights(plain / "model") == weights(beside / "model")
    assert weights(instead / "model") == weights(beside / "model-ema") != weights(plain / "model")
    assert not (plain / "model-ema").exists()
    assert not (instead / "model-ema").exists()


def test_held_out_prompts_come_from_one_place_and_a_guard_needs_what_it_looks_at(everything, tmp_path):
    with pytest.raises(ValueError, match=r"set held_out=0, or leave the file out"):
        everything("both", {"held_out_prompts": tmp_path / "other.jsonl"}, held_out=2)
    with pytest.raises(ValueError, match=r"guards\.divergence .* give the input alarm_model"):
        everything("alarm", guards={"divergence": {"limit": 0.1}})
