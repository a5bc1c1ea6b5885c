"""Two reward models: who speaks on which prompt, what each learns from, and how the rounds pass them on."""

from __future__ import annotations

import pytest
import torch

from camelid.annotate.scripted import ScriptedSettings, annotate_by_reward_model
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.rewards import Rewards
from camelid.recipes.quickstart import Quickstart, stages
from camelid.runs import Output, Stage, execute, read_manifest
from camelid.train.reward import RewardSettings, train_reward
from camelid.types import Comparison, Preference, Prompt, read_records, write_records
from tiny import user

SETTINGS = ModelSettings(precision="float32", lora_rank=2)
ANSWERS = ("Yes, gladly.", "No, never, whatever you say.")


@pytest.fixture
def folders(tied_llama, tmp_path):
    """Two saved reward models that disagree about everything: the second's head is the first's, negated."""
    model = RewardModel.create(tied_llama, SETTINGS, OptimizerSettings(), num_layers=1, seed=0)
    model.save(tmp_path / "helpfulness", "")
    model.model.score.weight.data.neg_()
    model.save(tmp_path / "safety", "")
    return tmp_path / "helpfulness", tmp_path / "safety"


def asked(number: int, *tags: str) -> Prompt:
    return Prompt(prompt=user(f"Question {number}?"), tags=tags)


def test_the_safety_model_speaks_on_unsafe_prompts_and_only_there(folders):
    rewards = Rewards.load(*folders, SETTINGS, "model")
    prompts = [asked(1), asked(1, "unsafe"), asked(2, "borderline"), asked(2, "safety", "unsafe")]
    scores = rewards.score(prompts, ["Yes."] * 4)
    assert scores.abs().min() > 1e-3
    torch.testing.assert_close(scores[1::2], -scores[0::2])
    one = Rewards.load(folders[0], None, SETTINGS, "model").score(prompts, ["Yes."] * 4)
    torch.testing.assert_close(one, scores.abs() * scores[0::2].repeat_interleave(2).sign())


def test_an_annotator_of_two_models_judges_each_prompt_by_its_own(folders, tmp_path):
    comparisons = [
        Comparison(prompt=user(f"Question {n}?"), first=ANSWERS[0], second=ANSWERS[1], tags=tags)
        for n in range(4)
        for tags in ((), ("unsafe",))
    ]
    write_records(tmp_path / "comparisons.jsonl", comparisons)
    inputs = {
        "comparisons": tmp_path / "comparisons.jsonl",
        "reward_model": folders[0],
        "safety_reward_model": folders[1],
    }
    stage = Stage("annotate", annotate_by_reward_model, ScriptedSettings(model=SETTINGS), inputs)
    path = execute([stage], tmp_path / "runs")["annotate"]
    verdicts = read_records(path / "preferences.jsonl", Preference)
    assert [v.prompt for v in verdicts] == [c.prompt for c in comparisons]
    for plain, unsafe in zip(verdicts[0::2], verdicts[1::2], strict=True):
        assert (plain.chosen, plain.rejected) == (unsafe.rejected, unsafe.chosen)


def test_each_model_learns_from_its_own_prompts(tied_llama, tmp_path):
    tags = [("unsafe",)] * 3 + [()] * 4 + [("borderline",)] * 2
    rows = [
        Preference(prompt=user(f"Question {n}?"), chosen=ANSWERS[0], rejected=ANSWERS[1], tags=t)
        for n, t in enumerate(tags)
    ]
    write_records(tmp_path / "rows.jsonl", rows)
    write_records(tmp_path / "harmless.jsonl", rows[3:])

    def train(prompts: str, file: str):
        settings = RewardSettings(model=SETTINGS, num_layers=1, held_out=0, prompts=prompts)
        inputs = {"model": tied_llama, "preferences": tmp_path / file}
        return execute([Stage("reward", train_reward, settings, inputs)], tmp_path / "runs")["reward"]

    trained = {p: read_manifest(train(p, "rows.jsonl"))["metrics"]["num_train"] for p in ("all", "unsafe", "other")}
    assert trained == {"all": 9, "unsafe": 3, "other": 6}
    with pytest.raises(ValueError, match=r"none of 6 preferences .* prompts=unsafe.*round\.two_reward_models=false"):
        train("unsafe", "harmless.jsonl")


def test_a_round_with_two_models_gives_both_to_whatever_scores(tied_llama):
    settings = Quickstart(start_model=str(tied_llama))
    two = settings.model_copy(update={"round": settings.round.model_copy(update={"two_reward_models": True})})
    one = {stage.name: stage for stage in stages(settings)}
    plan = {stage.name: stage for stage in stages(two)}
    assert set(plan) - set(one) == {"annotator-safety", "round-1/reward-safety", "round-2/reward-safety"}
    assert [plan[n].settings.prompts for n in ("annotator", "annotator-safety", "judge")] == ["other", "unsafe", "all"]
    for name, models in (("preferences", "annotator"), ("best", "round-2/reward"), ("ppo", "round-2/reward")):
        inputs = plan[f"round-2/{name}"].inputs
        assert inputs["reward_model"] == Output(models, "model")
        assert inputs["safety_reward_model"] == Output(f"{models}-safety", "model")
        assert "safety_reward_model" not in one[f"round-2/{name}"].inputs
