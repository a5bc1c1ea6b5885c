"""The recipe on a tiny model: every stage runs and meets the next, and what LLaMA-2 does is what happens."""

import json

import pytest

from camelid.commands.recipes import load_recipe, recipe_settings
from camelid.runs import Output, execute, read_manifest
from camelid.types import Conversation, Preference, Prompt, read_records
from tiny import write_tiny_llama
from tiny_rounds import tiny_rounds, write_data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Directories of the stages of a finished run of two rounds, and its stages."""
    folder = tmp_path_factory.mktemp("llama2")
    model = write_tiny_llama(folder / "start", max_position_embeddings=2048)
    write_data(folder)
    changes = {"2": ["best.max_prompts=6"]}
    plan = tiny_rounds(folder, model, smaller_models=json.dumps([str(model)]), changes=json.dumps(changes))
    return execute(plan, folder / "run"), {stage.name: stage for stage in plan}


def metrics(finished, name):
    return read_manifest(finished[name])["metrics"]


def test_versions_are_placed_by_reward_models_and_judge(run):
    finished, _ = run
    results = json.loads((finished["path"] / "results.json").read_text())
    assert [row["version"] for row in results["versions"]] == ["sft", "V1", "V2", "V2 (PPO)"]
    assert results["num_prompts"] == {"helpfulness": 6, "safety": 6}
    assert results["reference"] == "sft"
    assert (finished["report"] / "report.html").exists()


def test_every_version_begins_with_the_base_and_the_reward_models_with_the_chat_model(run):
    _, plan = run
    start = plan["sft"].inputs["model"]
    assert plan["round-1/reject"].inputs["model"] == plan["round-2/reject"].inputs["model"] == start
    assert plan["round-2/reward"].inputs["model"] == Output("sft", "model")
    assert plan["round-2/ppo"].inputs["model"] == Output("round-2/reject", "model")


def test_ppo_is_the_last_rounds_alone_with_gate_alarm_and_held_out_prompts(run):
    finished, plan = run
    assert "round-1/ppo" not in plan
    inputs = plan["round-2/ppo"].inputs
    assert inputs["gate"] == Output("round-2/reward-safety", "accuracy.json")
    assert inputs["alarm_model"] == Output("alarm", "model")
    rows = [json.loads(line) for line in (finished["round-2/ppo"] / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert {"alarm_score", "helpfulness_score", "safety_score", "held_out_score"} <= rows[-1].keys()
    assert "best_iteration" in metrics(finished, "round-2/ppo")


def test_the_two_reward_models_learn_from_their_mixtures(run):
    finished, plan = run
    helpful, safe = (
        read_records(finished[f"round-2/{name}-mixture"] / "mixed.jsonl", Preference)
        for name in ("reward", "reward-safety")
    )
    kinds = [row.kind for row in helpful]
    assert kinds.count("helpfulness") >= kinds.count("safety") > 0  # all helpful, and as many of the rest at most
    share = sum(row.kind == "helpfulness" for row in safe) / len(safe)
    assert 0 < share <= 0.15
    assert plan["round-2/reward-safety"].settings.safety_coef == 1
    assert plan["round-2/reward"].settings.safety_coef == 0
    assert len(safe) > len(read_records(finished["annotator-safety-mixture"] / "mixed.jsonl", Preference))


def test_each_round_judges_new_pairs_that_the_next_reward_models_learn_from(run):
    finished, plan = run
    files = plan["round-2/reward-mixture"].inputs["helpful"]
    assert files[-2:] == [Output(f"round-{n}/preferences", "preferences.jsonl") for n in (1, 2)]
    assert metrics(finished, "round-1/preferences")["num_preferences"] > 0


def test_best_of_k_is_drawn_at_the_rounds_own_temperature(run):
    finished, _ = run
    for number in (1, 2):
        chosen = json.loads((finished[f"round-{number}/temperature"] / "temperature.json").read_text())["temperature"]
        curve = json.loads((finished[f"round-{number}/best"] / "curve.json").read_text())
        assert curve["temperature"] == chosen


def test_the_pool_holds_the_best_of_all_rounds(run):
    finished, plan = run
    assert plan["round-2/pool"].inputs["best"] == [Output(f"round-{n}/best", "best.jsonl") for n in (1, 2)]
    assert len(metrics(finished, "round-2/pool")["kept_by_round"]) == 2
    assert plan["round-2/reject"].inputs["demonstrations"][2:] == [
        Output("round-2/pool", "pool.jsonl"),
        Output("round-2/ghost", "demonstrations.jsonl"),
        Output("round-2/distilled", "demonstrations.jsonl"),
    ]
    assert "round-1/ghost" not in plan


def test_smaller_models_are_fine_tuned_on_the_last_rounds_samples(run):
    finished, plan = run
    (name,) = [name for name in plan if name.startswith("smaller/")]
    assert Output("round-2/pool", "pool.jsonl") in plan[name].inputs["demonstrations"]
    assert (finished[name] / "model" / "model.safetensors").exists()


def test_no_verdict_stands_in_two_parts_and_no_harmful_answer_is_imitated(run):
    finished, _ = run
    for source in ("preferences", "safety-preferences", "judgements"):
        parts = [
            {row.id for row in read_records(finished[f"data/{source}-held-back"] / f"{name}.jsonl", Preference)}
            for name in ("train", "annotator", "judge")
        ]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts))
    imitated = read_records(finished["data/preferences-held-back"] / "chosen.jsonl", Conversation)
    asked = {row.prompt for row in read_records(finished["data/safety-preferences"] / "rows.jsonl", Preference)}
    assert imitated
    assert not any(row.messages[:-1] in asked for row in imitated)


def test_evaluation_prompts_are_in_no_part(run):
    finished, _ = run
    asked = {row.prompt for row in read_records(finished["data/evaluation-prompts"] / "rows.jsonl", Prompt)}
    assert len(asked) == 18
    for name in ("prompts", "preferences"):
        record = Preference if name == "preferences" else Prompt
        assert not asked & {row.prompt for row in read_records(finished[f"data/{name}"] / "rows.jsonl", record)}


@pytest.mark.parametrize("name", ["llama2-chat", "instructgpt", "sparrow"])
def test_the_papers_own_recipes_are_planned_with_their_numbers(tmp_path, name):
    model = write_tiny_llama(tmp_path / "start")
    recipe = load_recipe(name)
    plan = {s.name: s for s in recipe.stages(recipe_settings(recipe)(start_model=str(model)))}
    trained = [s.settings for s in plan.values() if hasattr(s.settings, "learning_rate")]
    assert len(trained) > 5
    assert all(settings.model.lora_rank == 0 for settings in trained)
    if name == "llama2-chat":
        assert [n for n in plan if n.endswith("/ppo")] == ["round-5/ppo"]
        ppo, reward = plan["round-5/ppo"].settings, plan["round-1/reward"].settings
        assert (ppo.learning_rate, ppo.batch_size, ppo.mini_batch_size, ppo.kl_coef) == (1e-6, 512, 64, 0.01)
        assert (ppo.scoring.two_models, ppo.scoring.gate_threshold) == ("gate", 0.15)
        assert (reward.batch_size, reward.learning_rate, reward.epochs) == (512, 1e-5, 1)
        assert [n for n in plan if n.endswith("/ghost")] == ["round-4/ghost", "round-5/ghost"]
    if name == "instructgpt":
        ppo = plan["ppo-ptx"].settings
        assert (ppo.ptx.coef, ppo.ptx.ratio, ppo.ema_decay, ppo.kl_coef) == (27.8, 8, 0.992, 0.02)
        assert plan["rankings"].settings.num_samples == 9
        assert "sft/epochs-16" in plan


def test_a_change_between_rounds_stands_in_manifests_and_report(run):
    finished, plan = run
    assert [plan[f"round-{n}/best"].settings.max_prompts for n in (1, 2)] == [8, 6]
    assert read_manifest(finished["round-2/best"])["settings"]["max_prompts"] == 6
    assert "From round 2 on: best.max_prompts=6." in (finished["report"] / "report.html").read_text()


def test_a_change_of_what_is_no_setting_of_a_round_is_an_error(tmp_path):
    write_data(tmp_path)
    model = write_tiny_llama(tmp_path / "start")
    with pytest.raises(ValueError, match=r"no setting 'best\.k'"):
        tiny_rounds(tmp_path, model, changes='{"2": ["best.k=3"]}')
