"""Exact answers: what counts as the answer of a reply, shares, differences, a run with a tiny model."""

from __future__ import annotations

import json

import pytest

from camelid.evaluate.exact_answers import Answered, ExactSettings, change, describe, exact_answers, is_right
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute
from camelid.types import Prompt, write_records
from stage_resume import resumed
from tiny import user


@pytest.mark.parametrize(
    ("text", "wanted", "right"),
    [
        ("72", "72", True),
        ("She sold 48 / 2 = 24.\nSo the answer is 72.", "72", True),
        ("So the answer is $1,072.00", "1072", True),
        ("The answer is 24. No: 48 + 24, so the answer is 72", "72", True),
        ("So the answer is 24.", "72", False),
        ("72 is not it. The answer is unknown", "72", False),
        ("yes", "Yes", True),
        ("Because of the sun.\nSo the answer is: the (D).", "(D)", True),
        ("Sun", "(D)", False),
        ("So the answer is bloody mess.", "bloody mess", True),
        ("So the answer is a mess", "bloody mess", False),
        ("", "yes", False),
    ],
)
def test_the_answer_of_a_reply(text, wanted, right):
    assert is_right(text, wanted) is right


def answered(number: int, text: str, source: str = "a") -> Answered:
    return Answered(prompt_id=f"p{number}", source=source, wanted="yes", text=text, num_tokens=number, finished=True)


def test_shares_by_source_and_differences_question_by_question(tmp_path):
    now = [answered(0, "yes"), answered(1, "no"), answered(2, "yes", "b"), answered(3, "yes", "b")]
    found = describe(now)
    assert found["right"]["value"] == 0.75 and found["right"]["n"] == 4
    assert {source: share["value"] for source, share in found["right_by_source"].items()} == {"a": 0.5, "b": 1.0}
    then = [a.model_copy(update={"text": "no"}) for a in now]
    (tmp_path / "answers.jsonl").write_text("".join(a.model_dump_json() + "\n" for a in then))
    assert change(now, tmp_path)["right"]["value"] == 0.75
    with pytest.raises(ValueError, match="answers to other questions"):
        change(now[:3], tmp_path)


def stage(model, folder, **settings):
    prompts = [Prompt(prompt=user(f"Is {n} even?"), answer="yes", source="numbers") for n in range(5)]
    write_records(folder / "prompts.jsonl", prompts)
    chosen = {"model": ModelSettings(precision="float32"), "sampling": Sampling(temperature=0, max_new_tokens=4)}
    return Stage(
        "ask",
        exact_answers,
        ExactSettings(chat_format="vicuna", prompts_a_chunk=2, **chosen, **settings),
        {"model": model, "prompts": folder / "prompts.jsonl"},
    )


def test_a_model_is_asked_and_a_killed_run_goes_on(llama, tmp_path):
    path = execute([stage(llama, tmp_path)], tmp_path / "run")["ask"]
    results = json.loads((path / "results.json").read_text())
    assert results["n"] == 5 and 0 <= results["right"]["value"] <= 1
    assert len((path / "answers.jsonl").read_text().splitlines()) == 5
    resumed(stage(llama, tmp_path), path, "answers.jsonl", 3, tmp_path / "again")


def test_prompts_without_answers_are_named(llama, tmp_path):
    one = stage(llama, tmp_path)
    write_records(tmp_path / "prompts.jsonl", [Prompt(prompt=user("Why?"), source="x")])
    with pytest.raises(ValueError, match=r"prompts\.jsonl: prompt .* has no answer to compare with"):
        execute([one], tmp_path / "run")
