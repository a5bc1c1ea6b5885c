"""Refusals and violations by kind of prompt and category."""

import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.safety.prompts import KNOWN_FILES, read_prompts
from camelid.evaluate.safety.rates import rates, ratings_verdicts
from camelid.evaluate.safety.replies import read_replies
from camelid.functional.safety_ratings import majority_violates
from real_data import DATA as REAL_DATA
from real_data import needs_data

DATA = REAL_DATA / "safety"
ROWS = [
    {"prompt": [{"role": "user", "content": "a"}], "text": "I won't.", "tags": ["unsafe", "theft", "direct"]},
    {"prompt": [{"role": "user", "content": "b"}], "text": "First, take", "tags": ["unsafe", "theft", "casual"]},
    {"prompt": [{"role": "user", "content": "c"}], "text": "Of course.", "tags": ["borderline", "homonym"]},
    {"prompt": [{"role": "user", "content": "d"}], "text": "I can't do this.", "tags": ["helpful"]},
]


def jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("ratings", "violates"),
    [([1, 2, 5], True), ([2, 3, 5], False), ([3], False), ([2], True), ([1, 5], None), ([2, 2, 3, 4], None)],
)
def test_a_violation_is_a_majority_of_ones_and_twos(ratings, violates):
    assert majority_violates(ratings) is violates


@pytest.mark.parametrize("ratings", [[], [0, 3, 3], [6]])
def test_ratings_outside_the_scale_are_errors(ratings):
    with pytest.raises(ValueError, match="from 1"):
        majority_violates(ratings)


def test_rates_by_kind_and_category(tmp_path):
    found = {(r.kind, r.category): r for r in rates(read_replies(jsonl(tmp_path / "a.jsonl", ROWS)))}
    assert list(found)[:2] == [("unsafe", ""), ("unsafe", "theft")]  # unsafe first, larger categories first
    assert {key: (r.refused.value, r.refused.n) for key, r in found.items()} == {
        ("unsafe", ""): (0.5, 2),
        ("unsafe", "theft"): (0.5, 2),
        ("unsafe", "direct"): (1.0, 1),
        ("unsafe", "casual"): (0.0, 1),
        ("harmless", ""): (0.5, 2),
        ("harmless", "homonym"): (0.0, 1),
    }
    assert all(r.violations is None and r.unjudged == r.refused.n for r in found.values())


def test_not_refused_is_never_called_a_violation(tmp_path, capsys):
    path = jsonl(tmp_path / "a.jsonl", ROWS)
    assert main(["eval", "safety", path, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["violations_judged_by"] is None
    assert "not a violation rate" in result["note"]
    assert not any("violation_rate" in group for group in result["groups"])
    assert main(["eval", "safety", path]) == 0
    assert "not a violation rate" in capsys.readouterr().err


def test_violations_by_ratings(tmp_path, capsys):
    path = jsonl(tmp_path / "a.jsonl", ROWS)
    # a: no majority, so unjudged; b: 2 of 3 say violation; c: none; d is not rated.
    given = [
        {"prompt": "a", "ratings": [2, 4]},
        {"prompt": "b", "rating_1": "1", "rating_2": "2", "rating_3": "5"},
        {"prompt": "c", "answer": "Of course.", "ratings": [5, 5, 3]},
    ]
    assert main(["eval", "safety", path, "--ratings", jsonl(tmp_path / "r.jsonl", given), "--json"]) == 0
    groups = {(g["prompts"], g["category"]): g for g in json.loads(capsys.readouterr().out)["groups"]}
    unsafe, harmless = groups["unsafe", None], groups["harmless", None]
    assert (unsafe["violation_rate"], unsafe["violation_rate_n"], unsafe["unjudged"]) == (100, 1, 1)
    assert (harmless["violation_rate"], harmless["violation_rate_n"], harmless["unjudged"]) == (0, 1, 1)


def test_violations_by_a_reward_model_are_its_scores_below_the_threshold(tied_llama, tmp_path, capsys):
    from camelid.models.model_settings import ModelSettings
    from camelid.models.optimizer import OptimizerSettings
    from camelid.models.reward_model import RewardModel

    settings = ModelSettings(precision="float32")
    model = RewardModel.create(tied_llama, settings, OptimizerSettings(), num_layers=1, seed=0)
    model.save(tmp_path / "judge", card="")
    path = jsonl(tmp_path / "a.jsonl", ROWS)
    rows = read_replies(path)
    scores = sorted(model.score([model.row(r.messages, r.answer) for r in rows]).tolist())
    for threshold, expected in [(scores[0] - 1, 0), ((scores[1] + scores[2]) / 2, 2), (scores[3] + 1, 4)]:
        words = ["eval", "safety", path, "--judge", str(tmp_path / "judge"), "--threshold", str(threshold), "--json"]
        assert main(words) == 0
        result = json.loads(capsys.readouterr().out)
        kinds = [g for g in result["groups"] if g["category"] is None]
        assert sum(g["violation_rate"] * g["violation_rate_n"] / 100 for g in kinds) == pytest.approx(expected)
        assert result["violations_judged_by"].startswith("reward model")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a"}, "line 1: ratings"),
        ({"prompt": "a", "ratings": [2.5]}, "not whole numbers"),
        ({"prompt": "a", "ratings": ["good"]}, "line 1: could not convert"),
        ({"ratings": [1]}, r"line 1: no prompt \(its fields are ratings\)"),
    ],
)
def test_wrong_ratings_are_errors(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        ratings_verdicts(jsonl(tmp_path / "r.jsonl", [row]))


def test_ratings_of_other_answers_and_half_a_judge_are_errors(tmp_path, capsys):
    path = jsonl(tmp_path / "a.jsonl", ROWS)
    other = jsonl(tmp_path / "r.jsonl", [{"prompt": "z", "ratings": [1]}])
    for words, message in [
        (["--ratings", other], "rates none of the 4 answers"),
        (["--judge", "somewhere"], "--judge needs --threshold"),
        (["--judge", "somewhere", "--threshold", "0", "--ratings", other], "give one of them"),
    ]:
        assert main(["eval", "safety", path, *words]) == 1
        assert message in capsys.readouterr().err


def test_answers_that_do_not_say_what_they_answer_need_prompt_files(tmp_path, capsys):
    path = jsonl(
        tmp_path / "a.jsonl", [{"instruction": "Say hello ", "output": "Hello."}, {"instruction": "?", "output": ""}]
    )
    assert main(["eval", "safety", path]) == 1
    assert "name the prompt files with --prompts" in capsys.readouterr().err
    prompts = tmp_path / "I-Alpaca.json"
    prompts.write_text(json.dumps({"instructions": [" Say hello"]}))
    assert main(["eval", "safety", path, "--prompts", str(prompts), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n"], result["left_out"]) == (1, 1)
    assert result["groups"][0]["prompts"] == "harmless"
    prompts.rename(tmp_path / "other.json")
    assert main(["eval", "safety", path, "--prompts", str(tmp_path / "other.json")]) == 1
    assert "known of I-Alpaca" in capsys.readouterr().err


@needs_data
def test_the_prompt_files_and_their_counts():
    counts = {}
    for name in KNOWN_FILES:
        asked = read_prompts([DATA / f"{name}.json"])
        counts[name] = len(asked)
        assert {a.categories for a in asked.values()} == {(name,)}
    assert (counts["Q-Harm"], counts["I-MaliciousInstructions"]) == (100, 98)  # 100 and 100 rows, 2 of them twice
    xstest = read_prompts([DATA / "xstest_prompts.csv"])
    kinds = [asked.kind for asked in xstest.values()]
    assert (kinds.count("harmless"), kinds.count("unsafe")) == (250, 200)


@needs_data
def test_xstest_answers_are_sorted_alike_by_their_type_and_by_the_prompt_file():
    answers = read_replies(DATA / "xstest_completions/xstest_v2_completions_gpt4.csv")
    known = read_prompts([DATA / "xstest_prompts.csv"])
    matched = [(r, known[r.prompt.strip()]) for r in answers if r.prompt.strip() in known]
    assert len(matched) == 449  # one prompt was reworded between the files
    assert [(r.kind, r.categories) for r, _ in matched] == [asked[:2] for _, asked in matched]
    assert [asked.borderline for asked in known.values()].count(True) == 250
