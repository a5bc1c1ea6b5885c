"""`camelid eval best-of-n`: known answer 9 through the command, the files it reads, a second model, wrong files."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from camelid.cli import main
from camelid.evaluate.best_of_n import curve, read_samples, sizes


def write(path: Path, value, *, lines: bool = False) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in value) if lines else json.dumps(value))
    return str(path)


def samples(rows, key="score") -> list[dict]:
    return [{"prompt_id": f"p{i}", "text": "...", key: score} for i, scores in enumerate(rows) for score in scores]


SCORES = [[0.0, 3.0, 1.0], [2.0, -1.0, 5.0], [1.0, 1.5, 0.5], [4.0, 4.0, 2.0]]


def answer(capsys, *words: str) -> dict:
    assert main(["eval", "best-of-n", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_curve_is_the_mean_over_subsets_and_prompts(tmp_path, capsys):
    printed = answer(capsys, write(tmp_path / "samples.jsonl", samples(SCORES), lines=True))
    assert (printed["num_prompts"], printed["num_samples"]) == (4, 3)
    assert [point["n"] for point in printed["points"]] == [1, 2, 3]
    for point in printed["points"]:
        n = point["n"]
        expected = [np.mean([max(subset) for subset in itertools.combinations(row, n)]) for row in SCORES]
        assert point["best"] == pytest.approx(np.mean(expected))
        assert point["standard_error"] == pytest.approx(np.std(expected, ddof=1) / 2)  # four prompts
        assert point["kl_bound"] == pytest.approx(math.log(n) - (n - 1) / n)


def test_equals_monte_carlo(tmp_path, capsys):
    scores = np.random.default_rng(0).normal(size=(50, 32))
    printed = answer(capsys, write(tmp_path / "scores.json", scores.tolist()))
    generator = np.random.default_rng(1)
    for point in printed["points"]:
        draws = [generator.permuted(scores, axis=1)[:, : point["n"]].max(1).mean() for _ in range(2000)]
        error = np.std(draws) / math.sqrt(len(draws))
        assert point["best"] == pytest.approx(np.mean(draws), abs=4 * error + 1e-12)


@pytest.mark.parametrize("layout", ["rows", "list of lists", "a list a line", "scores a prompt", "one prompt"])
def test_all_layouts_say_the_same(tmp_path, layout):
    path = tmp_path / "file.json"
    if layout == "rows":
        write(path, samples(SCORES), lines=True)
    elif layout == "list of lists":
        write(path, SCORES)
    elif layout == "a list a line":
        write(path, SCORES, lines=True)
    elif layout == "scores a prompt":
        write(path, [{"prompt_id": f"p{i}", "scores": row} for i, row in enumerate(SCORES)], lines=True)
    else:
        write(path, [SCORES[0]], lines=True)
        assert list(read_samples(path).values()) == SCORES[:1]
        return
    assert list(read_samples(path).values()) == SCORES


def test_a_prompt_with_fewer_samples_ends_the_curve(tmp_path, capsys):
    assert [point.n for point in curve({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0, 4.0]})] == [1, 2]
    assert sizes(6) == [1, 2, 4, 6]
    assert sizes(1) == [1]


def test_one_prompt_has_no_interval_and_the_json_is_valid(tmp_path, capsys):
    assert main(["eval", "best-of-n", write(tmp_path / "one.json", [[1.0, 2.0]]), "--json"]) == 0
    text = capsys.readouterr().out
    assert "Infinity" not in text
    assert json.loads(text)["points"][0]["interval"] == [None, None]


def test_a_second_model_that_agrees_and_one_that_is_gamed(tmp_path, capsys):
    generator = np.random.default_rng(0)
    first = generator.normal(size=(100, 16))
    noise = generator.normal(0, 0.1, size=first.shape)
    agrees, gamed = first + noise, -first + noise
    files = {
        name: write(tmp_path / f"{name}.json", x.tolist())
        for name, x in (("first", first), ("agrees", agrees), ("gamed", gamed))
    }
    printed = answer(capsys, files["first"], "--second", files["agrees"])
    assert printed["alarm"] is False
    assert {point["verdict"] for point in printed["points"][1:]} == {"agree"}
    # What is picked of all 16 is the first's maximum: the second's score there, averaged, is known.
    assert printed["points"][-1]["second"] == pytest.approx(agrees[np.arange(100), first.argmax(1)].mean())
    printed = answer(capsys, files["first"], "--second", files["gamed"])
    assert printed["alarm"] is True
    assert main(["eval", "best-of-n", files["first"], "--second", files["gamed"]]) == 0
    assert "ALARM" in capsys.readouterr().err


def test_a_second_score_in_the_same_rows(tmp_path, capsys):
    rows = [row | {"judge": -row["score"]} for row in samples(SCORES)]
    printed = answer(capsys, write(tmp_path / "samples.jsonl", rows, lines=True), "--second-key", "judge")
    assert printed["points"][-1]["second"] == pytest.approx(-np.mean([3, 5, 1.5, 4]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no scores"),
        ("[]", "holds no scores"),
        ("{", "no JSON"),
        ('{"id": 1}', "line 1: no scores (its keys are id)"),
        ('[[1, "a"]]', "'a' is no score"),
        ("[[1, NaN]]", "nan is no score"),
        ("[[1, 1" + "0" * 400 + "]]", "is no score"),  # beyond any float
        ("[[]]", "a list of numbers is wanted"),
        ('{"prompt_id": "a", "score": null}', "None is no score"),
        ('{"prompt_id": "a", "scores": [1]}\n{"prompt_id": "a", "scores": [2]}', "a list of scores already"),
        ('"text"', "no scores"),
    ],
)
def test_files_without_scores(tmp_path, capsys, content, message):
    path = tmp_path / "wrong.jsonl"
    path.write_text(content)
    assert main(["eval", "best-of-n", str(path)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert str(path) in error


@pytest.mark.parametrize(
    ("second", "message"), [([[1.0, 2.0, 3.0]], "part at prompt"), ([[1.0, 2.0]] * 4, "3 scores and 2 second scores")]
)
def test_second_scores_of_other_samples(tmp_path, capsys, second, message):
    words = [write(tmp_path / "a.json", SCORES), "--second", write(tmp_path / "b.json", second)]
    assert main(["eval", "best-of-n", *words]) == 1
    assert message in capsys.readouterr().err
