"""The recipe on a tiny model: the checkpoint by reward, rankings, the reward model's bias, PPO and its text."""

import json

import pytest

from camelid import settings_text
from camelid.recipes.instructgpt_tiny import InstructGPTTiny, stages
from camelid.runs import Output, execute, read_manifest
from camelid.types import Ranking, read_records
from tiny import SENTENCES, write_tiny_llama
from tiny_rounds import REWARD, SFT, flat, write_data

CHANGES = {
    "validation.held_out": 4,
    "epochs": [0.25, 0.5],
    "sft": {name: value for name, value in SFT.items() if name != "epochs"} | {"opening_epochs": 0},
    "judge": REWARD,
    "annotator": REWARD,
    "reward": REWARD,
    "choose": {"model.precision": "float32", "sampling.max_new_tokens": 8, "max_prompts": 6},
    "rank": {"model.precision": "float32", "num_samples": 3, "sampling.max_new_tokens": 8},
    "ppo": {
        "model.precision": "float32",
        "model.lora_rank": 4,
        "model.lora_first_layer": 0,
        "num_iterations": 2,
        "batch_size": 6,
        "mini_batch_size": 3,
        "sampling.max_new_tokens": 8,
        "ptx.max_tokens": 16,
    },
    "nll": {"model.precision": "float32", "window_tokens": 16, "max_windows": 4},
    "evaluate": {"sampling.max_new_tokens": 8, "kl_prompts": 4, "model.precision": "float32"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instructgpt")
    model = write_tiny_llama(folder / "start", max_position_embeddings=2048)
    write_data(folder)
    texts = [{"text": f"{number}. {sentence * 3}"} for number in range(4) for sentence in SENTENCES]
    (folder / "documents.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    files = {
        "demonstrations": ["demonstrations.jsonl"],
        "preferences": ["preferences.jsonl"],
        "prompts": ["prompts.jsonl"],
        "pretraining": ["documents.jsonl"],
        "evaluation_prompts": ["evaluation.jsonl"],
    }
    given = {"start_model": str(model), "data": {"folder": str(folder)} | files}
    plan = stages(settings_text.change(InstructGPTTiny(), flat(given | CHANGES)))
    return execute(plan, folder / "run"), {stage.name: stage for stage in plan}


def results(finished, name):
    return json.loads((finished[name] / "results.json").read_text())


def test_the_checkpoint_with_the_highest_reward_goes_on(run):
    finished, plan = run
    choice = results(finished, "sft/chosen")
    assert [*choice["candidates"]] == ["0.25 epochs", "0.5 epochs"]
    assert choice["by_loss"] in ("0.25 epochs", "0.5 epochs")
    for name in ("rankings", "reward", "ppo", "ppo-ptx", "evaluate-sft"):
        assert plan[name].inputs["model"] == Output("sft/chosen", "model")


def test_rankings_of_the_models_own_answers_are_learnt_with_all_their_pairs(run):
    finished, _ = run
    rankings = read_records(finished["rankings"] / "rankings.jsonl", Ranking)
    assert rankings
    metrics = read_manifest(finished["reward"])["metrics"]
    assert metrics["num_train"] + metrics["num_held_out"] > len(rankings)  # and the open verdicts
    assert metrics["num_train_pairs"] > metrics["num_train"]
    assert metrics["scale"].startswith("mean 0 on")


def test_text_is_in_one_of_two_ppos(run):
    finished, plan = run
    assert "pretraining" not in plan["ppo"].inputs
    assert plan["ppo-ptx"].inputs["pretraining"] == Output("data/documents", "train.jsonl")
    rows = [json.loads(line) for line in (finished["ppo-ptx"] / "metrics.jsonl").read_text().splitlines()]
    assert all("pretraining_loss" in row for row in rows)
    assert results(finished, "nll-ppo")["nll"]["0-16"]["value"] > 0


def test_three_versions_are_placed(run):
    finished, _ = run
    found = results(finished, "path")
    assert [row["version"] for row in found["versions"]] == ["sft", "ppo", "ppo-ptx"]
    assert (finished["report"] / "report.html").exists()
