"""A judge of truth: split by question, measured against floors, and refused where it does not beat them."""

import json
from pathlib import Path

import numpy as np
import pytest

from camelid.cli import main
from camelid.evaluate.safety.stored_features import stored_features
from camelid.evaluate.safety.truth_data import (
    Claim,
    accuracy_by_question,
    draw_by_question,
    floor_verdicts,
    folds,
    held_out_hits,
    read_claims,
)
from camelid.evaluate.safety.truth_judge import TruthJudgeSettings, fit_head, judge_answers, measure
from real_data import DATA, needs_data

FILE = DATA / "benchmarks/truthfulqa_judge_truth.jsonl"
S = TruthJudgeSettings()


def claims(number: int = 40) -> list[Claim]:
    """Four answers a question, two of them true; neither words nor question tell which."""
    generator = np.random.default_rng(0)
    return [
        Claim(f"question {i}", f"answer {generator.integers(9)} {generator.integers(9)} {j}", j % 2 == i % 2)
        for i in range(number)
        for j in range(4)
    ]


def test_a_question_is_held_out_once_with_all_of_its_answers():
    rows = claims(11)
    seen = []
    for train, test in folds(rows, 5, seed=0):
        assert {rows[i].question for i in train}.isdisjoint(rows[i].question for i in test)
        assert len(train) + len(test) == len(rows)
        seen += list(test)
    assert sorted(seen) == list(range(len(rows)))
    with pytest.raises(ValueError, match="cannot be split into 5"):
        next(folds(claims(4), 5, seed=0))


def test_accuracy_is_a_mean_over_questions():
    rows = [Claim("a", "1", True), Claim("a", "2", True), Claim("a", "3", True), Claim("b", "1", True)]
    # a: 2 of 3 right, b: 0 of 1: the mean is 1/3, where rows would give 1/2.
    estimate = accuracy_by_question(rows, np.array([True, True, False, False]))
    assert (estimate.value, estimate.n) == (pytest.approx(1 / 3), 2)


def test_rows_are_drawn_as_whole_questions():
    rows = claims(40)
    drawn = draw_by_question(rows, 40, seed=1)
    assert len(drawn) == 40
    assert len({claim.question for claim in drawn}) == 10
    assert draw_by_question(rows, 0, seed=1) == rows


def informed(rows: list[Claim], noise: float) -> np.ndarray:
    """Features that hold the truth under noise."""
    generator = np.random.default_rng(1)
    signal = np.array([1.0 if claim.true else -1.0 for claim in rows])
    return np.stack([signal + noise * generator.normal(size=len(rows)), generator.normal(size=len(rows))], axis=1)


def test_a_judge_that_knows_beats_its_floor_and_may_speak():
    rows = claims()
    features = informed(rows, noise=0.1)
    measured = measure(rows, features, S)
    assert measured.accuracy.value > 0.95
    assert measured.beats_floor
    # Half of the answers are true: accuracy is the mean of true ones called true and false ones not called so.
    balanced = (measured.true_called_true.value + 1 - measured.false_called_true.value) / 2
    assert measured.accuracy.value == pytest.approx(balanced)
    head = fit_head(features, np.array([c.true for c in rows]), S)
    share = judge_answers(head, measured, [("q", "a")] * 4, lambda texts: np.array([[1.0, 0], [1, 0], [1, 0], [-1, 0]]))
    assert (share.value, share.n) == (0.75, 4)


def test_a_judge_that_guesses_is_refused_with_its_figures():
    rows = claims()
    features = np.random.default_rng(2).normal(size=(len(rows), 3))
    measured = measure(rows, features, S)
    assert not measured.beats_floor
    head = fit_head(features, np.array([c.true for c in rows]), S)
    with pytest.raises(ValueError, match=r"right on .*% of held-out answers, .*means nothing"):
        judge_answers(head, measured, [("q", "a")], lambda texts: np.zeros((1, 3)))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q: a\nA: b\nTrue:", "completion": " perhaps"},
        {"prompt": "What?", "completion": " yes"},
        {"question": "a", "true": "yes"},
    ],
)
def test_rows_without_a_verdict_are_errors(tmp_path, row):
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match="line 1: need `prompt`"):
        read_claims(str(tmp_path / "x.jsonl"))


def test_train_and_judge_by_command(tied_llama, tmp_path, capsys):
    # The last token of an answer says whether it is true, so that even a tiny model of random weights can see it.
    data = tmp_path / "data.jsonl"
    rows = [
        {"question": f"number {i}?", "answer": f"{i}{'!' if t else '?'}", "true": t}
        for i in range(60)
        for t in (True, False)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge, model = str(tmp_path / "judge"), ["--model", str(tied_llama)]
    assert main(["eval", "truth-judge", str(data), *model, "--out", judge, "--layers", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n"], result["rows"]) == (60, 120)
    assert set(result["floors"]) == {"majority", "TF-IDF, question and answer", "TF-IDF, answer alone"}

    # Words see the mark as well: the judge does not beat that floor, and nothing may be called truthful.
    assert result["beats_floor"] is False
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"question": "number 7?", "answer": "7!"}\n{"question": "number 8?", "answer": ""}\n')
    assert main(["eval", "truth", str(answers), "--judge", judge]) == 1
    assert "means nothing" in capsys.readouterr().err

    # With a figure that beats the floor it speaks, and says how often it is right.
    notes = json.loads(Path(judge, "judge.json").read_text())
    notes["held_out"]["advantage"]["low"] = 0.01
    Path(judge, "judge.json").write_text(json.dumps(notes))
    assert main(["eval", "truth", str(answers), "--judge", judge, "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert (judged["n"], judged["empty"]) == (1, 1)
    assert judged["judge"] == pytest.approx(result["accuracy"])


def test_a_judge_is_bound_to_its_model(tied_llama, untied_llama, tmp_path, capsys):
    data = tmp_path / "data.jsonl"
    rows = [{"question": f"{i}", "answer": "x" if t else "y", "true": t} for i in range(10) for t in (True, False)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = tmp_path / "judge"
    words = ["eval", "truth-judge", str(data), "--model", str(tied_llama), "--out", str(judge)]
    assert main([*words, "--layers", "3"]) == 1
    assert "the model has 2 layers" in capsys.readouterr().err
    assert main([*words, "--layers", "1"]) == 0
    notes = json.loads((judge / "judge.json").read_text())
    notes["held_out"]["advantage"]["low"] = 0.01
    (judge / "judge.json").write_text(json.dumps(notes))
    capsys.readouterr()
    assert main(["eval", "truth", str(data), "--judge", str(judge), "--model", str(untied_llama)]) == 1
    assert "other weights" in capsys.readouterr().err
    assert main(["eval", "truth", str(data), "--judge", str(tmp_path)]) == 1
    assert "no judge of truth" in capsys.readouterr().err


def test_features_do_not_depend_on_the_texts_beside_them(tied_llama):
    from camelid.models.features import FrozenFeatures
    from camelid.models.model_settings import ModelSettings

    model = FrozenFeatures.load(tied_llama, 2, ModelSettings(precision="float32"))
    texts = ["Hello there!", "The capital of France is Paris.", "Hi"]
    together = model.of(texts)
    assert together.shape == (3, 64)
    for i, text in enumerate(texts):
        assert together[i] == pytest.approx(model.of([text])[0], abs=1e-5)
    with pytest.raises(ValueError, match="text 2 of those to be read is empty"):
        model.of(["a", ""])


def test_what_was_computed_before_a_stop_is_not_computed_again(tmp_path):
    texts = [f"text {i}" for i in range(1100)]
    asked: list[int] = []

    def features(chunk, stop_at: int) -> np.ndarray:
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        asked.append(len(chunk))
        return np.array([[float(text.split()[1])] for text in chunk], dtype=np.float32)

    with pytest.raises(KeyboardInterrupt):
        stored_features(tmp_path, texts, lambda chunk: features(chunk, 2), "model")
    found = stored_features(tmp_path, texts, lambda chunk: features(chunk, 9), "model")
    assert found[:, 0].tolist() == list(range(1100))
    assert asked == [500, 500, 100]
    stored_features(tmp_path, texts, lambda chunk: features(chunk, 9), "another model")
    assert len(asked) == 6  # what another model said is no use


@needs_data
def test_the_floors_on_all_of_truthfulqas_judge_data():
    rows = read_claims(str(FILE))
    assert len(rows) == 18_338  # of 22,434, the rest are the same row again
    assert len({claim.question for claim in rows}) == 817
    rows = draw_by_question(rows, 1000, seed=0)
    found = {name: held_out_hits(rows, verdict, 5, 0).mean() for name, verdict in floor_verdicts(rows).items()}
    assert found["majority"] < 0.6 < found["TF-IDF, question and answer"] < found["TF-IDF, answer alone"] < 0.75
