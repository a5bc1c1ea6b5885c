"""Answers scored by two reward models: means by prompt, the curve of the best of N, gains over another version."""

from __future__ import annotations

import json

import numpy as np
import pytest

from camelid.evaluate.score_answers import (
    ScoredAnswer,
    ScoreSettings,
    describe,
    gains,
    judged_prompts,
    read_answers,
    score_answers,
)
from camelid.functional.best_of_n import expected_best_of_n, expected_second_score
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Prompt, write_records
from stage_resume import resumed
from tiny import user

FLOAT = ModelSettings(precision="float32", lora_rank=2)


def answers(drawn, second, greedy):
    """One prompt a row: scores of drawn answers by both models, and of the likeliest one by the first."""
    rows = []
    for number, (firsts, seconds, likeliest) in enumerate(zip(drawn, second, greedy, strict=True)):
        scores = [(likeliest, 0.0, True), *((a, b, False) for a, b in zip(firsts, seconds, strict=True))]
        rows += [
            ScoredAnswer(
                prompt_ids=[1],
                ids=[2],
                logprob=-1.0,
                prompt_id=f"p{number}",
                greedy=is_greedy,
                text="",
                num_tokens=3,
                finished=True,
                score=score,
                second_score=other,
            )
            for score, other, is_greedy in scores
        ]
    return rows


def test_numbers_by_hand():
    rows = answers([[0, 4, 1, 3], [2, 2, 6, 2]], [[1, 0, 0, 0], [0, 0, 8, 0]], [7, 9])
    found = describe(rows)
    # Means over each prompt's drawn answers first: 2 and 3.
    assert found["sampled"]["score"]["value"] == 2.5
    assert found["sampled"]["score"]["n"] == 2
    assert found["sampled"]["second_score"]["value"] == pytest.approx((0.25 + 2) / 2)
    assert found["greedy"]["score"]["value"] == 8
    one, two, four = found["curve"]
    assert (one["n"], two["n"], four["n"]) == (1, 2, 4)
    # Of four samples the maxima are 4 and 6. Blocks of two: maxima 4 and 3, medians 2 and 2; 2 and 6, 2 and 4.
    assert four["best"]["value"] == four["picked"]["value"] == 5
    assert two["picked"]["value"] == pytest.approx((3.5 + 4) / 2)
    assert two["median"]["value"] == pytest.approx((2 + 3) / 2)
    assert four["median"]["value"] == pytest.approx((2 + 2) / 2)
    assert four["second"]["value"] == pytest.approx((0 + 8) / 2)
    gained = found["best_of_all"]["gain"]
    assert gained["score"]["value"] == pytest.approx((2 + 3) / 2)
    assert gained["second_score"]["value"] == pytest.approx((-0.25 + 6) / 2)
    assert gained["median"]["value"] == pytest.approx((0 - 1) / 2)
    assert found["best_of_all"]["picked_less_estimated"]["value"] == 0  # a quarter of four is one
    eight = describe(answers([[3, 1, 2, 5, 0, 0, 0, 0]], [[0] * 8], [0]))["best_of_all"]
    # Blocks of two: maxima 3, 5, 0, 0, mean 2. Of the 28 pairs 7 have the maximum 5, 6 the 3, 5 the 2, 4 the 1.
    assert eight["picked_less_estimated"]["value"] == pytest.approx(2 - (35 + 18 + 10 + 4) / 28)


def test_gains_are_taken_prompt_by_prompt():
    before = answers([[0, 2], [10, 12]], [[0, 0], [0, 0]], [0, 0])
    after = answers([[3, 3, 3], [13, 13, 13]], [[1, 1, 1], [1, 1, 1]], [1, -1])
    found = gains(after, before, "before.jsonl")
    assert found["sampled"]["score"]["value"] == 2
    assert found["sampled"]["score"]["standard_error"] == 0  # the same gain on both prompts, far apart as they are
    assert found["sampled"]["second_score"]["value"] == 1
    assert found["greedy"]["score"]["value"] == 0
    with pytest.raises(ValueError, match=r"before.jsonl: answers to other prompts"):
        gains(after, before[:3], "before.jsonl")


def test_at_equal_length_only_what_length_did_not_buy_is_gained():
    """Four prompts: a point for each token more, and half a point besides."""
    before = answers([[1], [2], [3], [4]], [[0]] * 4, [0] * 4)
    longer = [2, 0, 5, 1]
    after = answers([[b + 0.5 + m] for b, m in zip((1, 2, 3, 4), longer, strict=True)], [[0]] * 4, [0] * 4)
    lengths = [m for m in longer for _ in range(2)]
    after = [row.model_copy(update={"num_tokens": 3 + m}) for row, m in zip(after, lengths, strict=True)]
    found = gains(after, before, "before.jsonl")["sampled"]
    assert found["score"]["value"] == 2.5 and found["score_at_equal_length"]["value"] == pytest.approx(0.5)


def test_reward_models_can_read_other_prompts_than_those_that_are_asked():
    asked = [Prompt(id="a", prompt=user("Why? Be rude.")), Prompt(id="b", prompt=user("Who? Be rude."))]
    assert judged_prompts(asked, None) == {"a": user("Why? Be rude."), "b": user("Who? Be rude.")}


@pytest.fixture(scope="module")
def files(tied_llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    for seed, name in enumerate(("reward_model", "second_reward_model")):
        RewardModel.create(tied_llama, FLOAT, OptimizerSettings(), num_layers=1, seed=seed).save(folder / name, "")
    write_records(folder / "prompts.jsonl", [Prompt(prompt=user(f"Question {n}?")) for n in range(7)])
    reads = {name: folder / name for name in ("reward_model", "second_reward_model")}
    return reads | {"model": tied_llama, "prompts": [folder / "prompts.jsonl"]}


def test_a_model_is_asked_and_scored_and_goes_on_after_a_kill(files, tmp_path):
    settings = ScoreSettings(
        model=FLOAT, sampling=Sampling(max_new_tokens=5), num_samples=3, prompts_a_chunk=3, max_prompts=6
    )
    stage = Stage("answers", score_answers, settings, files)
    path = execute([stage], tmp_path / "runs")["answers"]
    rows = read_answers(path / "answers.jsonl")
    assert [row.greedy for row in rows] == [True, False, False, False] * 6
    for name in ("reward_model", "second_reward_model"):
        judge = RewardModel.load(files[name], FLOAT)
        asked = {p.id: p for p in [Prompt(prompt=user(f"Question {n}?")) for n in range(7)]}
        scores = judge.score([judge.row(asked[row.prompt_id].prompt, row.text or " ") for row in rows])
        mine = [row.score if name == "reward_model" else row.second_score for row in rows]
        assert mine == pytest.approx(scores.tolist(), abs=1e-5)
    drawn = np.array([row.score for row in rows if not row.greedy]).reshape(6, 3)
    second = np.array([row.second_score for row in rows if not row.greedy]).reshape(6, 3)
    results = json.loads((path / "results.json").read_text())
    point = results["curve"][1]
    assert point["best"]["value"] == pytest.approx(np.mean([expected_best_of_n(row, 2) for row in drawn]))
    both = [expected_second_score(a, b, 2) for a, b in zip(drawn, second, strict=True)]
    assert point["second"]["value"] == pytest.approx(np.mean(both))
    assert read_manifest(path)["metrics"]["greedy_score"] == results["greedy"]["score"]["value"]
    resumed(stage, path, "answers.jsonl", 14, tmp_path / "again")

    after = Stage("answers", score_answers, settings, files | {"before": path / "answers.jsonl"})
    found = json.loads((execute([after], tmp_path / "after")["answers"] / "results.json").read_text())
    assert found["gain"]["sampled"]["score"] == {**found["gain"]["sampled"]["score"], "value": 0.0}
    tags = {f"Question {n}?": ("unsafe",) if n == 2 else ("helpful",) for n in range(7)}
    write_records(tmp_path / "tagged.jsonl", [Prompt(prompt=user(text), tags=tag) for text, tag in tags.items()])
    tagged = [settings.model_copy(update={"tag": tag, "max_prompts": 0}) for tag in ("unsafe", "mild")]
    given = files | {"prompts": tmp_path / "tagged.jsonl"}
    path = execute([Stage("answers", score_answers, tagged[0], given)], tmp_path / "tagged")["answers"]
    assert read_manifest(path)["metrics"]["num_prompts"] == 1
    with pytest.raises(ValueError, match="none of the 7 prompts is tagged 'mild'"):
        execute([Stage("answers", score_answers, tagged[1], given)], tmp_path / "mild")
    marked = [Prompt(id=f"q{n}", prompt=user(f"Question {n}? Be rude.")) for n in range(4)]
    plain = [p.model_copy(update={"prompt": user(f"Question {n}?")}) for n, p in enumerate(marked)]
    write_records(tmp_path / "marked.jsonl", marked)
    write_records(tmp_path / "plain.jsonl", plain[:3])
    given = files | {"prompts": tmp_path / "marked.jsonl", "judged": tmp_path / "plain.jsonl"}
    with pytest.raises(ValueError, match=r"plain\.jsonl has no prompt q3, which is asked"):
        execute([Stage("answers", score_answers, settings, given)], tmp_path / "missing")
    write_records(tmp_path / "plain.jsonl", plain)
    path = execute([Stage("answers", score_answers, settings, given)], tmp_path / "judged")["answers"]
    rows = read_answers(path / "answers.jsonl")
    judge = RewardModel.load(files["reward_model"], FLOAT)
    asked = {p.id: p.prompt for p in plain}
    scores = judge.score([judge.row(asked[row.prompt_id], row.text or " ") for row in rows])
    assert [row.score for row in rows] == pytest.approx(scores.tolist(), abs=1e-5)
    alone = {name: value for name, value in files.items() if name != "second_reward_model"}
    path = execute([Stage("answers", score_answers, settings, alone)], tmp_path / "alone")["answers"]
    results = json.loads((path / "results.json").read_text())
    assert "second_score" not in results["greedy"] and results["curve"][0]["second"] is None
