"""The choice of a checkpoint: by reward, beside the one by loss; linked, resumed, and wrong names."""

import json
import os

import pytest

from camelid.evaluate.checkpoint_choice import Candidate, ChoiceSettings, choose_checkpoint, describe
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute
from camelid.types import Conversation, Message, Prompt, write_records
from tiny import user, write_tiny_llama

HELD = ModelSettings(precision="float32", lora_rank=4)


def candidate(name, scores, nats):
    return Candidate(name=name, scores=scores, nats=nats, tokens=[2] * len(nats))


def test_the_highest_score_wins_and_the_lowest_loss_is_named():
    found = describe(
        [
            candidate("1", [0.0, 1.0], [2.0, 2.0]),
            candidate("2", [2.0, 2.5], [3.0, 4.0]),
            candidate("3", [0.0, 0.0], [9, 9]),
        ]
    )
    assert (found["by_reward"], found["by_loss"], found["differ"]) == ("2", "1", True)
    assert found["score_gained"]["value"] == pytest.approx(1.75)
    assert found["candidates"]["2"]["nll"]["value"] == pytest.approx(7 / 4)


def test_without_demonstrations_no_loss_is_named():
    found = describe([candidate("a", [1.0, 1.0], []), candidate("b", [1.0, 1.0], [])])
    assert (found["by_reward"], found["by_loss"], found["differ"]) == ("a", None, None)


@pytest.fixture
def inputs(tmp_path):
    models = [write_tiny_llama(tmp_path / f"model-{seed}", seed=seed) for seed in range(3)]
    reward = RewardModel.create(models[0], HELD, OptimizerSettings(), num_layers=None, seed=0)
    reward.save(tmp_path / "reward", "")
    prompts = [Prompt(prompt=user(f"Tell me of llama {i}.")) for i in range(5)]
    write_records(tmp_path / "prompts.jsonl", prompts)
    told = [Conversation(messages=(*p.prompt, Message(role="assistant", content="It is red."))) for p in prompts]
    write_records(tmp_path / "told.jsonl", told)
    return {
        "models": models,
        "reward_model": tmp_path / "reward",
        "prompts": tmp_path / "prompts.jsonl",
        "demonstrations": tmp_path / "told.jsonl",
    }


def chosen(tmp_path, inputs, **changes):
    settings = ChoiceSettings(**{"model": HELD, "sampling": Sampling(max_new_tokens=6)} | changes)
    return execute([Stage("choose", choose_checkpoint, settings, inputs)], tmp_path / "run")["choose"]


def test_the_chosen_model_is_there_and_takes_no_second_place(tmp_path, inputs):
    folder = chosen(tmp_path, inputs, names=("a", "b", "c"))
    results = json.loads((folder / "results.json").read_text())
    scores = {name: row["score"]["value"] for name, row in results["candidates"].items()}
    assert results["by_reward"] == max(scores, key=scores.get)
    original = inputs["models"]["abc".index(results["by_reward"])] / "model.safetensors"
    assert os.path.samefile(folder / "model" / "model.safetensors", original)
    losses = {name: row["nll"]["value"] for name, row in results["candidates"].items()}
    assert results["by_loss"] == min(losses, key=losses.get)


def test_a_candidate_that_was_measured_is_not_measured_again(tmp_path, inputs):
    folder = chosen(tmp_path, inputs)
    whole = (folder / "candidates.jsonl").read_bytes()
    (folder / "manifest.json").unlink()
    lines = whole.splitlines(keepends=True)
    (folder / "candidates.jsonl").write_bytes(lines[0] + lines[1][:20])
    assert (chosen(tmp_path, inputs) / "candidates.jsonl").read_bytes() == whole


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "b")])
def test_every_model_has_a_name_of_its_own(tmp_path, inputs, names):
    with pytest.raises(ValueError, match="give each a name of its own"):
        chosen(tmp_path, inputs, names=names)
