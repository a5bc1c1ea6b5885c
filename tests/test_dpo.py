"""DPO as a stage: gradients, that it learns, what its numbers mean, and what a bad file gives."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.too_long import Lengths, row_limit
from camelid.train.dpo import DpoSettings, pair_loss, train_dpo
from camelid.train.pairs import pair_rows
from camelid.train.reference import summed
from camelid.types import Preference
from preference_rows import LORA, PREFERENCES, preference, run_stage, write
from test_batch import own_logprobs, random_rows
from tiny import user


def train(tmp_path, llama, rows=PREFERENCES, **changes):
    few = {"model": LORA, "batch_size": 8, "epochs": 2, "held_out": 16, "learning_rate": 1e-2}
    settings = DpoSettings(**few | changes)
    return run_stage(train_dpo, settings, tmp_path / "runs", model=llama, preferences=write(tmp_path / "p.jsonl", rows))


def trainable(llama, budget: int = 1000, rank: int = 4) -> Policy:
    settings = ModelSettings(precision="float32", lora_rank=rank, micro_batch_tokens=budget)
    return Policy.load_for_training(llama, settings, OptimizerSettings(weight_decay=0.0), seed=0)


def random_pairs(number: int) -> list[tuple[Row, Row]]:
    """Rows with the log-probabilities of a made-up reference, so that nothing is at zero."""
    rows = [
        Row(row.ids, row.loss_mask, {"ref_logprobs": torch.full((len(row.ids),), -3.0 - 0.2 * (i % 3))})
        for i, row in enumerate(random_rows([6 + (7 * i) % 23 for i in range(2 * number)]))
    ]
    return list(zip(rows[0::2], rows[1::2], strict=True))


# --- the gradient ---


@pytest.mark.parametrize(
    "settings",
    [
        DpoSettings(),
        DpoSettings(loss="ipo"),
        DpoSettings(label_smoothing=0.2, log_ratio="mean", beta=2),
        DpoSettings(margins="large"),
    ],
    ids=lambda s: f"{s.loss}-{s.label_smoothing}-{s.log_ratio}-{s.margins}",
)
def test_the_gradient_does_not_depend_on_the_micro_batches(llama, settings):
    """Offsets differ from pair to pair, so that a mix-up would show."""
    loss = partial(pair_loss, s=settings, offsets=[0.5, 0.0, 3.0, 1.0, 2.0, 0.25])
    results = []
    for budget in (1, 60, 1000):
        policy = trainable(llama, budget)
        metrics = policy.forward_backward_groups(random_pairs(6), loss)
        results.append((metrics, {name: p.grad for name, p in policy.updater.named.items() if p.grad is not None}))
    (metrics, gradients), *others = results
    assert metrics["count"] == 6
    for other_metrics, other_gradients in others:
        assert other_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
        for name, gradient in gradients.items():
            scale = gradient.abs().max().item()
            torch.testing.assert_close(other_gradients[name], gradient, rtol=1e-3, atol=1e-4 * scale, msg=name)


def test_the_loss_is_that_of_whole_completions_by_transformers_own_model(llama):
    pairs = random_pairs(3)
    metrics = trainable(llama).forward_backward_groups(pairs, partial(pair_loss, s=DpoSettings(), offsets=[0.0] * 3))
    sums = [[own_logprobs(llama, row).sum().item() for row in pair] for pair in pairs]
    references = [
        [row.values["ref_logprobs"][torch.tensor(row.loss_mask)].sum().item() for row in pair] for pair in pairs
    ]
    margins = [0.1 * ((c - rc) - (r - rr)) for (c, r), (rc, rr) in zip(sums, references, strict=True)]
    assert metrics["loss"] == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins) / 3, rel=1e-4)
    assert metrics["margin"] == pytest.approx(sum(margins) / 3, rel=1e-3)
    assert metrics["chosen_logprob"] == pytest.approx(sum(c for c, _ in sums) / 3, rel=1e-4)


def test_what_stands_outside_the_loss_mask_is_not_looked_at(llama):
    def gradient(garbage: float):
        pairs = random_pairs(2)
        for row in (row for pair in pairs for row in pair):
            row.values["ref_logprobs"][~torch.tensor(row.loss_mask)] = garbage
        policy = trainable(llama)
        policy.forward_backward_groups(pairs, partial(pair_loss, s=DpoSettings(), offsets=[0.0] * 2))
        return [p.grad for p in policy.updater.named.values()]

    assert all(torch.equal(a, b) for a, b in zip(gradient(0.0), gradient(float("nan")), strict=True))


# --- learning ---


@pytest.mark.parametrize("rank", [0, 4])
def test_a_preference_is_learnt(tied_llama, tmp_path, rank):
    model = LORA.model_copy(update={"lora_rank": rank})
    path, results, rows = train(tmp_path, tied_llama, model=model, learning_rate=1e-2 if rank else 3e-3)
    assert results["num_train"] == 40
    before, first, *_, after = rows
    assert before["held_out_loss"] == pytest.approx(math.log(2))
    assert (before["held_out_accuracy"], before["held_out_margin"]) == (0.5, 0.0)
    # The first step's forward pass is the reference's own: nothing has moved yet.
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["drift"] == pytest.approx(0, abs=1e-6)
    assert after["held_out_loss"] < 0.4
    assert results["accuracy"]["value"] >= 15 / 16
    assert results["accuracy"]["n"] == 16
    # The saved model has learnt it too: the right answer is now the likelier one.
    policy = Policy.load(path / "model", LORA)
    pairs = [pair for _, pair in pair_rows(policy.chat, PREFERENCES, Lengths("pairs", "stop", row_limit(256, 256)))]
    chosen, rejected = (summed(policy, [pair[side] for pair in pairs]) for side in (0, 1))
    assert (chosen > rejected).float().mean() > 0.9


def test_ipo_stays_near_its_target_where_dpo_runs_on(tied_llama, tmp_path):
    """The target of h is 1 / (2 x 0.1) = 5 nats, of the reward beta times that, 0.5. Means a token keep steps small."""
    more = {"epochs": 10, "log_ratio": "mean"}
    _, ipo, rows = train(tmp_path, tied_llama, loss="ipo", **more)
    _, dpo, _ = train(tmp_path, tied_llama, **more)
    assert 0.4 < ipo["held_out_margin"] < 0.6
    assert [row["margin"] for row in rows[-5:-1]] == pytest.approx([0.5] * 4, abs=0.05)
    assert dpo["held_out_margin"] > 2 * ipo["held_out_margin"]
    assert ipo["accuracy"]["value"] > 0.9


def test_smoothed_labels_hold_the_margin_back(tied_llama, tmp_path):
    """Its minimum is at sigmoid(margin) = 0.7, margin = ln(0.7 / 0.3) = 0.85."""
    _, smoothed, _ = train(tmp_path, tied_llama, label_smoothing=0.3, epochs=4)
    _, plain, _ = train(tmp_path, tied_llama, epochs=4)
    assert 0.4 < smoothed["held_out_margin"] < 1.7 < plain["held_out_margin"]


def test_ratings_ask_for_gaps(tied_llama, tmp_path):
    rows = [
        preference(p.chosen, p.rejected, "significantly better" if i % 2 else "negligibly better")
        for i, p in enumerate(PREFERENCES)
    ]
    _, _, with_margins = train(tmp_path, tied_llama, rows, margins="large", held_out=0)
    _, _, without = train(tmp_path, tied_llama, rows, held_out=0)
    assert with_margins[0]["loss"] > without[0]["loss"]  # the same pairs at h = 0: -log sigmoid(-3) against ln 2
    assert without[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)


def test_the_floors_stand_beside_the_accuracy(tied_llama, tmp_path):
    path, results, _ = train(tmp_path, tied_llama)
    assert {"accuracy", "longer_wins", "tfidf", "likelier_at_start_wins"} <= results.keys()
    assert results["by_rating"]["better"]["accuracy"] == results["accuracy"]
    assert (path / "accuracy.json").exists()
    assert "| held_out_margin |" in (path / "model" / "README.md").read_text()


def test_cut_completions_are_counted(tied_llama, tmp_path):
    _, results, _ = train(tmp_path, tied_llama, max_tokens=24, held_out=0, too_long="cut")
    assert results["cut"] > 0


# --- what is refused ---


@pytest.mark.parametrize(
    "both",
    [
        {"loss": "ipo", "label_smoothing": 0.1},
        {"loss": "ipo", "margins": "small"},
        {"label_smoothing": 0.1, "margins": "small"},
    ],
)
def test_two_losses_at_once_are_an_error(both):
    with pytest.raises(ValueError, match="three losses; choose one"):
        DpoSettings(**both)


def test_bad_files_are_errors_that_say_what_is_wrong(tied_llama, tmp_path):
    with pytest.raises(ValueError, match=r"no preferences in .*p\.jsonl: the file is empty"):
        train(tmp_path, tied_llama, [])
    with pytest.raises(ValueError, match="held_out = 16 leaves nothing to train on: there are 3 rows"):
        train(tmp_path, tied_llama, PREFERENCES[:3])
    long = Preference(prompt=user("Tell me more. " * 30), chosen="Yes.", rejected="No.", id="long", source="me")
    with pytest.raises(ValueError, match=r"preference long \(me\) has \d+ tokens, more than max_tokens = 40: raise"):
        train(tmp_path, tied_llama, [*PREFERENCES, long], max_tokens=40, too_long="stop")
    (tmp_path / "q.jsonl").write_text('{"prompt": "Hello", "chosen": "a"}\n')
    with pytest.raises(ValueError, match=r"q\.jsonl, line 1: not a Preference: .*camelid data convert"):
        run_stage(train_dpo, DpoSettings(), tmp_path, model=tied_llama, preferences=tmp_path / "q.jsonl")
