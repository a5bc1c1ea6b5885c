"""Training a reward model: rankings against their pairs, the safety loss, the scale, what accuracy.json says."""

from __future__ import annotations

import json

import pytest
import torch

from camelid.cli import main
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss
from camelid.models.reward_model import RewardModel
from camelid.models.too_long import Lengths, row_limit
from camelid.train.judged import Judged, Step, judged_rows, verdict_loss
from camelid.train.reward import PRESETS, RewardSettings, train_reward
from camelid.types import Comparison, Conversation, Message, Preference, Ranking, write_records
from preference_rows import LORA, PREFERENCES, WORDS, run_stage, write
from tiny import user


def ranking(a: str, b: str, ranks=(3, 1, 2, 3)) -> Ranking:
    """Two of four completions are tied at the end: five pairs."""
    completions = (f"No, {a}!", f"It is {b}.", f"{b}, I think.", f"{a} {a}!")
    return Ranking(prompt=user(f"Tell me of {a} and {b}."), completions=completions, ranks=ranks)


RANKINGS = [ranking(a, b) for a in WORDS for b in WORDS if a != b]
SMALL = RewardSettings(model=LORA, num_layers=1, batch_size=8, learning_rate=1e-2, held_out=8)


def file_of(path, rows):
    write_records(path, rows)
    return path


def create(folder, budget=10_000) -> RewardModel:
    settings = ModelSettings(precision="float32", lora_rank=4, micro_batch_tokens=budget)
    return RewardModel.create(folder, settings, OptimizerSettings(), num_layers=1, seed=0)


def judged(reward: RewardModel, verdicts) -> list[Judged]:
    return judged_rows(reward.chat, verdicts, Lengths("rows", "stop", row_limit(256, 256)))


def gradients(reward: RewardModel, groups, loss) -> tuple[dict, dict]:
    metrics = reward.forward_backward(groups, loss)
    return metrics, {name: p.grad.clone() for name, p in reward.updater.named.items()}


def trained(tied_llama, tmp_path, settings=SMALL, **inputs):
    path, metrics, rows = run_stage(train_reward, settings, tmp_path / "runs", model=tied_llama, **inputs)
    return path, json.loads((path / "accuracy.json").read_text()), rows, metrics


# --- rankings ---


@pytest.mark.parametrize("budget", [10_000, 1])
def test_a_rankings_loss_and_gradient_are_the_mean_of_its_pairs(tied_llama, budget):
    reward = create(tied_llama, budget)
    verdicts = [*RANKINGS[:3], PREFERENCES[20]]
    whole = judged(reward, verdicts)
    step = Step.of(whole, "small")
    metrics, together = gradients(
        reward, [j.rows for j in whole], lambda s, r: verdict_loss(s, r, step=step, safety_coef=0)
    )

    alone = create(tied_llama, budget)
    pairs = [p for v in RANKINGS[:3] for p in v.preferences()] + [PREFERENCES[20]]
    weights = torch.tensor([1 / 5] * 15 + [1.0])
    margins = torch.tensor([0.0] * 15 + [2 / 3])  # the pair is rated "better"

    def weighted(scores, rows):
        mine = rows[0::2] // 2
        losses = torch.nn.functional.softplus(-(scores[0::2] - scores[1::2] - margins[mine]))
        return Loss((weights[mine] * losses).sum(), weights[mine].sum(), {})

    apart, expected = gradients(alone, [j.rows for j in judged(alone, pairs)], weighted)
    assert metrics["count"] == 4 and apart["count"] == pytest.approx(4)
    assert metrics["loss"] == pytest.approx(apart["loss"], rel=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(together[name], gradient, rtol=1e-3, atol=1e-4, msg=name)


def test_each_completion_goes_through_the_trunk_once_and_the_prompt_once(tied_llama):
    reward = create(tied_llama)
    long = RANKINGS[0].model_copy(update={"prompt": user("Tell me of red and blue. " * 6)})
    [one] = judged(reward, [long])
    seen = []
    inner = reward.trunk.hidden
    reward.trunk.hidden = lambda batch: (seen.append(batch), inner(batch))[1]
    step = Step.of([one], "none")
    reward.forward_backward([one.rows], lambda s, r: verdict_loss(s, r, step=step, safety_coef=0))
    [batch] = seen
    assert sorted(batch.rows) == [0, 1, 2, 3]  # of five pairs
    prompt = len(reward.chat.prompt_ids(long.prompt))
    own = sum(len(row.ids) - prompt for row in one.rows)
    assert prompt > 40 and batch.branches.ids.shape[1] <= prompt + own


def test_two_completions_train_as_the_preference_they_are(tied_llama, tmp_path):
    pairs = [p.model_copy(update={"rating": None}) for p in PREFERENCES]
    twos = [Ranking(prompt=p.prompt, completions=(p.chosen, p.rejected), ranks=(1, 2)) for p in pairs]
    _, of_pairs, steps, _ = trained(tied_llama, tmp_path, preferences=write(tmp_path / "p.jsonl", pairs))
    _, of_twos, same, _ = trained(tied_llama, tmp_path, rankings=file_of(tmp_path / "r.jsonl", twos))
    assert steps == same and len(steps) > 4
    assert of_pairs == of_twos


def test_a_model_learns_from_rankings_and_pairs_in_one_training(tied_llama, tmp_path):
    inputs = {"rankings": file_of(tmp_path / "r.jsonl", RANKINGS), "preferences": write(tmp_path / "p.jsonl")}
    settings = SMALL.model_copy(update={"epochs": 3.0, "held_out": 16})
    _, results, rows, _ = trained(tied_llama, tmp_path, settings, **inputs)
    assert results["num_train"] == 2 * 56 - 16
    assert results["num_train_pairs"] + results["num_held_out_pairs"] == 56 + 5 * 56
    assert results["accuracy"]["low"] > 0.6 and results["accuracy"]["n"] <= 16  # prompts, not pairs
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_files_that_hold_nothing_to_train_on_are_errors(tied_llama, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match=r"no rankings in .*empty\.jsonl: the file is empty"):
        trained(tied_llama, tmp_path, rankings=tmp_path / "empty.jsonl")
    with pytest.raises(ValueError, match="the stage needs an input 'preferences'"):
        trained(tied_llama, tmp_path)
    row = RANKINGS[0].model_dump(mode="json") | {"ranks": [1, 2]}
    (tmp_path / "short.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=r"short\.jsonl, line 1: not a Ranking: 2 ranks for 4 completions"):
        trained(tied_llama, tmp_path, rankings=tmp_path / "short.jsonl")


# --- safety ---


def labelled(a: str, b: str, kind: int) -> Preference:
    """Answers with `!` are unsafe. Pairs that are both safe or both unsafe tell the level, which ranking cannot."""
    good, bad = (f"It is {b}.", f"{b} or {a}."), (f"No, {a}!", f"{a}, {b}!")
    chosen, rejected = ((good[0], bad[0]), good, bad)[kind]
    return Preference(
        prompt=user(f"Tell me of {a} and {b}."),
        chosen=chosen,
        rejected=rejected,
        kind="safety",
        chosen_safe=kind != 2,
        rejected_safe=kind == 1,
    )


LABELLED = [labelled(a, b, (i + 3 * k) % 3) for i, a in enumerate(WORDS) for k, b in enumerate(WORDS) if a != b]
LABELLED += [labelled(a, b, (i + k) % 3) for i, a in enumerate(WORDS) for k, b in enumerate(WORDS) if a < b]


def test_the_safety_term_is_added_and_split_over_micro_batches(tied_llama):
    found = []
    for budget in (10_000, 1):
        reward = create(tied_llama, budget)
        some = judged(reward, [*LABELLED[:5], RANKINGS[0]])  # a ranking without labels has no part in it
        step = Step.of(some, "none")
        found.append(
            gradients(reward, [j.rows for j in some], lambda s, r, t=step: verdict_loss(s, r, step=t, safety_coef=0.5))
        )
    (metrics, gradient), (other, again) = found
    assert metrics["loss"] == pytest.approx(metrics["ranking_loss"] + 0.5 * metrics["safety_loss"])
    scores = reward.score([row for j in some for row in j.rows])[:10]
    labels = torch.tensor([float(label) for j in some[:5] for label in j.safe])
    by_hand = torch.nn.functional.softplus(scores * (1 - 2 * labels)).view(5, 2).mean(1).sum() / 6
    assert metrics["safety_loss"] == pytest.approx(by_hand.item(), rel=1e-4)
    assert other == pytest.approx(metrics, rel=1e-4)
    for name in gradient:
        torch.testing.assert_close(again[name], gradient[name], rtol=1e-3, atol=1e-4, msg=name)


def test_with_the_safety_loss_the_score_itself_tells_unsafe_from_safe(tied_llama, tmp_path):
    file = write(tmp_path / "p.jsonl", LABELLED)
    settings = SMALL.model_copy(update={"epochs": 4.0, "held_out": 20})
    _, plain, _, _ = trained(tied_llama, tmp_path, settings, preferences=file)
    _, taught, rows, _ = trained(
        tied_llama, tmp_path, settings.model_copy(update={"safety_coef": 1.0}), preferences=file
    )
    for results in (plain, taught):
        assert results["safety"]["num_unsafe"] + results["safety"]["num_safe"] == 40
    assert taught["safety"]["unsafe_recall"]["value"] > 0.9 < taught["safety"]["unsafe_precision"]["value"]
    assert taught["safety"]["auc"]["low"] > 0.7 and taught["safety"]["auc"]["n"] <= 20
    shares = ("unsafe_recall", "unsafe_precision")
    assert sum(taught["safety"][n]["value"] for n in shares) > sum(plain["safety"][n]["value"] for n in shares)
    assert rows[-1]["safety_loss"] < 0.5 * rows[0]["safety_loss"]
    assert 0 < taught["safety"]["gate_threshold"] < 1
    assert sum(b["number"] for b in taught["safety"]["calibration"]["bins"]) == 40


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (PREFERENCES[:20], "of 40 answers 0 are labelled safe, 0 unsafe"),
        ([p for p in LABELLED if p.rejected_safe], r"of \d+ answers \d+ are labelled safe, 0 unsafe"),
    ],
)
def test_a_safety_loss_without_labels_of_both_kinds_is_an_error(tied_llama, tmp_path, rows, said):
    settings = SMALL.model_copy(update={"safety_coef": 1.0, "held_out": 0})
    with pytest.raises(ValueError, match=rf"{said}; fill chosen_safe and rejected_safe .* or set safety_coef=0"):
        trained(tied_llama, tmp_path, settings, preferences=write(tmp_path / "p.jsonl", rows))


# --- the scale ---


def test_demonstrations_score_zero_on_average_and_it_is_said(tied_llama, tmp_path):
    shown = [Conversation(messages=(*p.prompt, Message(role="assistant", content=p.chosen))) for p in PREFERENCES[:9]]
    inputs = {"preferences": write(tmp_path / "p.jsonl"), "demonstrations": file_of(tmp_path / "d.jsonl", shown)}
    path, results, _, _ = trained(tied_llama, tmp_path, **inputs)
    assert results["scale"] == "mean 0 on 9 demonstrations"
    reward = RewardModel.load(path / "model", ModelSettings(precision="float32"))
    scores = reward.score([reward.row(c.messages[:-1], c.messages[-1].content) for c in shown])
    assert scores.mean().item() == pytest.approx(0, abs=1e-4) and reward.score_std == 1.0
    _, plain, _, _ = trained(tied_llama, tmp_path, preferences=inputs["preferences"])
    assert plain["scale"] == "as trained"
    # A bias changes no difference of scores.
    told = {name: value for name, value in results.items() if not name.startswith("demonstrations_")}
    assert plain | {"scale": ""} == told | {"scale": ""}


def test_the_scale_by_samples_is_said_and_two_scales_are_an_error(tied_llama, tmp_path):
    samples = [Comparison(prompt=p.prompt, first=p.chosen, second=p.rejected) for p in PREFERENCES[:9]]
    inputs = {"preferences": write(tmp_path / "p.jsonl"), "samples": file_of(tmp_path / "s.jsonl", samples)}
    _, results, _, _ = trained(tied_llama, tmp_path, **inputs)
    assert results["scale"] == "mean 0 and standard deviation 1 on 18 samples"
    with pytest.raises(ValueError, match="samples and demonstrations are two scales"):
        trained(tied_llama, tmp_path, **inputs, demonstrations=inputs["samples"])
    empty = file_of(tmp_path / "e.jsonl", samples[:0])
    with pytest.raises(ValueError, match="0 answers in samples: a scale for the scores wants at least two"):
        trained(tied_llama, tmp_path, **inputs | {"samples": empty})


# --- what is said ---


def test_gaps_by_rating_calibration_and_training_accuracy_stand_in_accuracy_json(tied_llama, tmp_path):
    rows = [
        p.model_copy(update={"rating": "significantly better" if i % 2 else None}) for i, p in enumerate(PREFERENCES)
    ]
    # Some verdicts are the wrong way round, so that no temperature is infinitely sure.
    rows = [
        p if i % 7 else p.model_copy(update={"chosen": p.rejected, "rejected": p.chosen}) for i, p in enumerate(rows)
    ]
    path, results, _, _ = trained(
        tied_llama, tmp_path, SMALL.model_copy(update={"held_out": 24}), preferences=write(tmp_path / "p.jsonl", rows)
    )
    assert list(results["gap_by_rating"]) == ["significantly better"]
    assert 0 < results["gap_by_rating"]["significantly better"]["n"] < results["gap"]["n"] == 24
    assert results["train_accuracy"]["n"] == 24 and 1 / 3 < results["bimodality"]["value"] <= 1
    found = results["calibration"]
    assert sum(b["number"] for b in found["bins"]) == 24 and found["error_by_chance"] > 0
    assert found["temperature"]["low"] < found["temperature"]["value"] < found["temperature"]["high"]
    assert found["at_temperature"]["brier_score"]["n"] == 24
    assert "safety" not in results and results["warnings"] == []
    kept = RewardModel.load(path / "model", ModelSettings(precision="float32"))
    assert kept.temperature == pytest.approx(found["temperature"]["value"])


def test_a_temperature_that_is_not_finite_is_not_applied_and_the_reason_is_said(tied_llama, tmp_path):
    settings = SMALL.model_copy(update={"epochs": 4.0, "held_out": 3})
    path, results, _, _ = trained(tied_llama, tmp_path, settings, preferences=write(tmp_path / "p.jsonl"))
    assert results["accuracy"]["value"] == 1
    assert results["calibration"]["temperature"] is None
    assert results["calibration"]["no_temperature"] == "all held-out pairs are ordered right"
    assert RewardModel.load(path / "model", ModelSettings(precision="float32")).temperature == 1.0


def test_more_than_one_epoch_is_warned_of(tied_llama, tmp_path, capsys):
    settings = SMALL.model_copy(update={"epochs": 1.5, "held_out": 0})
    _, results, _, metrics = trained(tied_llama, tmp_path, settings, preferences=write(tmp_path / "p.jsonl"))
    assert results["warnings"] == metrics["warnings"] and "epochs = 1.5" in results["warnings"][0]
    assert "stage: WARNING: epochs = 1.5" in capsys.readouterr().err


# --- presets ---


def test_the_papers_presets():
    llama, safety, instruct = PRESETS["llama-2-helpfulness"], PRESETS["llama-2-safety"], PRESETS["instructgpt"]
    assert (llama.learning_rate, llama.batch_size, llama.epochs, llama.schedule) == (1e-5, 512, 1, "cosine")
    assert [llama.learning_rate_at(step, 1000) for step in (0, 29, 999)] == pytest.approx([1e-5 / 30, 1e-5, 1e-6])
    assert llama.learning_rate_at(0, 40) == pytest.approx(1e-5 / 5)  # 3% of 40 steps is one
    assert (instruct.learning_rate, instruct.batch_size, instruct.epochs) == (9e-6, 64, 1)
    assert instruct.learning_rate_at(99, 100) == pytest.approx(9e-7)
    assert llama.model.lora_rank == instruct.model.lora_rank == 0
    assert (llama.safety_coef, safety.safety_coef) == (0, 1)
    assert safety.model_copy(update={"safety_coef": 0.0}) == llama
    o = llama.optimizer
    assert (o.beta1, o.beta2, o.eps, o.weight_decay, o.max_grad_norm) == (0.9, 0.95, 1e-5, 0.1, 1.0)


def test_a_preset_is_where_the_command_begins(tied_llama, tmp_path, capsys):
    words = ["reward", "--model", str(tied_llama), "--preferences", str(write(tmp_path / "p.jsonl"))]
    words += ["--out", str(tmp_path / "run"), "--set", "num_layers=1", "--set", "held_out=4"]
    assert main([*words, "--preset", "instructgpt"]) == 0
    [manifest] = (tmp_path / "run").glob("*/manifest.json")
    settings = json.loads(manifest.read_text())["settings"]
    assert (settings["learning_rate"], settings["held_out"], settings["model"]["lora_rank"]) == (9e-6, 4, 0)
    assert main([*words, "--preset", "gpt-5"]) == 1
    assert "--preset gpt-5: this stage has llama-2-helpfulness, llama-2-safety, instructgpt" in capsys.readouterr().err
