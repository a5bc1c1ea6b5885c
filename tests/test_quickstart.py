"""The whole recipe on a tiny model: every stage runs, meets the next, and the report tells what happened."""

import json

import pytest
import torch

from camelid import settings_text
from camelid.commands.runs import newest_model
from camelid.evaluate.version import read_answers
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.recipes.quickstart import STARTER, Quickstart, stages
from camelid.runs import execute, read_manifest
from tiny import write_tiny_llama


def lines(name, start, count):
    return (STARTER / name).read_text().splitlines(keepends=True)[start : start + count]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of one round: folder, directories of its stages, what was announced, its stages."""
    folder = tmp_path_factory.mktemp("quickstart")
    model = write_tiny_llama(folder / "start", max_position_embeddings=2048)
    (folder / "prompts.jsonl").write_text("".join(lines("rollout_prompts.jsonl", 48, 6)))
    evaluation = lines("evaluation_prompts.jsonl", 0, 6)
    evaluation += lines("evaluation_prompts.jsonl", 120, 6) + lines("evaluation_prompts.jsonl", 190, 6)
    (folder / "evaluation.jsonl").write_text("".join(evaluation))
    changes = {
        "start_model": model,
        "rounds": 1,
        "data.prompts": folder / "prompts.jsonl",
        "data.evaluation_prompts": folder / "evaluation.jsonl",
        "demonstrations.max_rows": 30,
        "hold_back.max_rows": 64,
        "sft.held_out": 5,
        "judge.num_layers": 1,
        "judge.model.lora_first_layer": 0,
        "judge.held_out": 5,
        "annotator.num_layers": 1,
        "annotator.model.lora_first_layer": 0,
        "annotator.held_out": 5,
        "round.reward.num_layers": 2,
        "round.reward.model.lora_first_layer": 0,
        "round.reward.held_out": 8,
        "round.pairs.sampling.max_new_tokens": 8,
        "round.pairs.other_sampling.max_new_tokens": 8,
        "round.best.sampling.max_new_tokens": 40,
        "round.ppo.model.lora_first_layer": 0,
        "round.reject.model.lora_first_layer": 0,
        "sft.model.lora_first_layer": 0,
        "round.ppo.batch_size": 4,
        "round.ppo.mini_batch_size": 2,
        "round.ppo.num_iterations": 2,
        "round.ppo.sampling.max_new_tokens": 8,
        "evaluate.sampling.max_new_tokens": 8,
        "evaluate.kl_prompts": 4,
        "evaluate.model.precision": "float32",
    }
    settings = settings_text.change(Quickstart(), [f"{name}={value}" for name, value in changes.items()])
    plan = stages(settings)
    announced: list[str] = []
    return folder, execute(plan, folder / "run", announce=announced.append), announced, plan


def test_every_stage_is_finished_and_running_again_does_nothing(run):
    folder, finished, _, plan = run
    assert all(read_manifest(path) for path in finished.values())
    before = {name: (path / "manifest.json").stat().st_mtime_ns for name, path in finished.items()}
    said: list[str] = []
    assert execute(plan, folder / "run", announce=said.append) == finished
    assert all(text.endswith("is done") for text in said)
    assert before == {name: (path / "manifest.json").stat().st_mtime_ns for name, path in finished.items()}


def test_the_report_holds_what_the_stages_measured(run):
    _, finished, _, _ = run
    report = json.loads((finished["report"] / "report.json").read_text())
    assert [v["version"] for v in report["versions"]] == ["start", "sft", "round-1/reject", "round-1/ppo"]
    last = json.loads((finished["round-1/evaluate-ppo"] / "results.json").read_text())
    assert report["headline"]["win_rate"] == last["win_rate_vs_start"]
    assert report["headline"]["unsafe_refused"]["n"] == 6
    assert {row["name"] for row in report["rewards"]} == {"judge", "annotator", "round-1/reward"}
    assert [p["step"] for p in report["ppo"][0]["points"]] == [1, 2]
    assert any("scripted annotator" in note for note in report["notes"])
    assert "round-1/ppo" in (finished["report"] / "report.html").read_text()


def test_the_kl_from_the_start_is_what_scoring_with_both_models_gives(run):
    folder, finished, _, _ = run
    path = finished["round-1/evaluate-ppo"]
    answers = read_answers(path / "answers.jsonl")[:: 18 // 4]
    rows = [Row([*a.prompt_ids, *a.ids], [False] * len(a.prompt_ids) + [True] * len(a.ids)) for a in answers]
    settings = Quickstart().evaluate

    def totals(model):
        policy = Policy.load(model, ModelSettings(precision="float32"), settings.chat_format)
        scored = policy.logprobs(rows, temperature=settings.sampling.temperature)
        return torch.stack([logprobs.sum() for logprobs in scored])

    version, start = totals(finished["round-1/ppo"] / "model"), totals(folder / "start")
    torch.testing.assert_close(torch.tensor([a.logprob for a in answers]), version, atol=1e-3, rtol=0)
    kl = json.loads((path / "results.json").read_text())["kl_from_start"]
    assert kl["n"] == len(answers)
    assert kl["value"] == pytest.approx((version - start).mean().item(), abs=1e-3)


def test_no_preference_stands_in_two_parts(run):
    _, finished, _, _ = run
    parts = [
        set((finished["data/held-back"] / f"{name}.jsonl").read_text().splitlines())
        for name in ("train", "annotator", "judge")
    ]
    assert [len(part) for part in parts] == [26, 16, 22]
    assert len(set.union(*parts)) == 64


def test_the_rounds_reward_model_trains_on_the_rounds_verdicts_too(run):
    _, finished, _, _ = run
    verdicts = read_manifest(finished["round-1/preferences"])["metrics"]["num_preferences"]
    trained = read_manifest(finished["round-1/reward"])["metrics"]["num_train"]
    assert verdicts > 0
    assert trained == 26 - 8 + verdicts


def test_the_chosen_answers_of_the_training_part_are_imitated_too(run):
    _, finished, _, _ = run
    chosen = read_manifest(finished["data/held-back"])["metrics"]["num_demonstrations"]
    assert 0 < chosen <= 26
    assert read_manifest(finished["sft"])["metrics"]["num_demonstrations"] == 30 + chosen - 5


def test_the_chat_takes_the_last_model_and_it_answers(run):
    folder, finished, _, _ = run
    model = newest_model(folder / "run")
    assert model == finished["round-1/ppo"] / "model"
    assert Policy.load(model).chat.template == Policy.load(model, chat_format="chatml").chat.template


def test_another_seed_draws_everything_anew_and_gives_all_versions_the_same_random_numbers(tmp_path):
    model = str(write_tiny_llama(tmp_path / "start"))
    zero, one = (stages(Quickstart(start_model=model, seed=seed)) for seed in (0, 1))
    assert all(stage.settings.seed < 100 for stage in zero)
    assert all(a.settings.seed != b.settings.seed for a, b in zip(zero, one, strict=True))
    evaluations = {stage.settings.seed for stage in one if "evaluate-" in stage.name}
    assert len(evaluations) == 1
    practice = [stage.settings.seed for stage in one if stage.name.endswith("/ppo")]
    assert len(set(practice)) == len(practice) == 2
