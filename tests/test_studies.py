"""Studies: numbers of cells over seeds, claims, the page; and the command."""

import json
import math

import pytest

from camelid.cli import main
from camelid.curate.folds import FoldSettings, split_fold
from camelid.evaluate.studies.claims import Claim, judge
from camelid.evaluate.studies.conclude import ConcludeSettings, conclude
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Cell, Curve, Measure, difference, estimate_of, joined
from camelid.functional.statistics import Z95, normal
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Message, Preference, read_records, write_records

ACCURACY = Measure(name="accuracy", path=("accuracy",), share=True)
SPREAD = Measure(name="spread", path=("deep", "spread"))


def written(folder, **values):
    files = []
    for number, content in enumerate(values["rows"]):
        file = folder / f"{number}.json"
        file.write_text(json.dumps(content))
        files.append(file)
    return files


def row(accuracy, spread, error=0.01):
    points = [{"n": n, "mean": accuracy * n, "standard_error": 0.1} for n in (1, 2)]
    estimate = {"value": accuracy, "low": 0, "high": 1, "n": 100, "standard_error": error}
    return {"accuracy": estimate, "deep": {"spread": spread}, "points": points}


def settings(**changes):
    given = {
        "title": "A study",
        "question": "Does it help?",
        "cells": tuple(Cell(name=name, seed=seed) for name in ("without", "with") for seed in (0, 1)),
        "measures": (ACCURACY, SPREAD),
        "curves": (Curve(name="best of N", path=("points",), x="n", y="mean", error="standard_error"),),
        "claims": (
            Claim(text="it helps", measure="accuracy", cell="with", against="without"),
            Claim(text="it harms", measure="accuracy", cell="with", against="without", direction="below"),
            Claim(text="it reaches 0.7", measure="accuracy", cell="with", against=0.7),
        ),
        "figures": (
            Figure(title="Arms", measures=("accuracy",)),
            Figure(title="Curve", kind="curve", measures=("best of N",), log_x=True),
            Figure(title="Plane", kind="plane", measures=("accuracy", "spread")),
        ),
    }
    return ConcludeSettings(**(given | changes))


def concluded(tmp_path, s, rows):
    stage = Stage("study", conclude, s, {"results": written(tmp_path, rows=rows)})
    return execute([stage], tmp_path / "run")["study"]


def test_a_study_from_its_cells_to_its_page(tmp_path):
    rows = [row(0.5, 1.0), row(0.6, 2.0), row(0.7, 3.0), row(0.8, 5.0)]
    folder = concluded(tmp_path, settings(), rows)
    study = json.loads((folder / "study.json").read_text())
    without = study["arms"]["without"]["measures"]
    assert without["accuracy"]["by_run"] == [0.5, 0.6]
    assert without["accuracy"]["value"] == pytest.approx(0.55)
    # The seeds' spread (variance 0.005, over two) beside the items' own error.
    assert without["accuracy"]["standard_error"] == pytest.approx(math.sqrt(0.01**2 + 0.005 / 2))
    assert without["spread"]["standard_error"] == pytest.approx(math.sqrt(0.5 / 2))
    assert study["curves"]["best of N"]["with"][1]["value"] == pytest.approx(1.5)
    claims = {claim["text"]: claim for claim in study["claims"]}
    # Seed by seed both differences are 0.2: the spread of the seeds drops out.
    assert claims["it helps"]["difference"]["value"] == pytest.approx(0.2)
    assert claims["it helps"]["difference"]["standard_error"] == pytest.approx(0.01 * math.sqrt(2))
    assert [claims[text]["verdict"] for text in ("it helps", "it harms", "it reaches 0.7")] == [
        "shown",
        "contradicted",
        "undecided",
    ]
    assert read_manifest(folder)["metrics"] == {"shown": 1, "contradicted": 1, "undecided": 1}
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "Does it help?" in page
    assert "| it helps | shown | 20.0 [17.2, 22.8] | 100 |" in (folder / "tables.md").read_text()


def test_arms_of_unlike_numbers_of_seeds_are_compared_as_wholes():
    one, two = [normal(0.7, 0.03, 50)], [normal(0.5, 0.04, 80), normal(0.5, 0.04, 80)]
    found = difference(one, two)
    assert found.value == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(0.05)
    assert found.n == 50


def test_folds_are_one_test_of_all_their_items():
    folds = [normal(0.6, 0.04, 100), normal(0.9, 0.02, 300)]
    found = joined(folds, folds=True)
    assert found.value == pytest.approx((60 + 270) / 400)
    assert found.standard_error == pytest.approx(math.hypot(4, 6) / 400)
    assert found.n == 400


def test_a_bare_number_of_one_seed_shows_nothing():
    bare = [estimate_of(3, "here")]
    assert math.isinf(joined(bare).standard_error)
    claim = Claim(text="more than nothing", measure="spread", cell="a")
    found, verdict = judge(claim, lambda cell, measure: bare)
    assert (found.value, verdict) == (3.0, "undecided")


def test_no_loss_of_more_than_a_point():
    reads = {"a": [normal(0.70, 0.003, 9)], "b": [normal(0.702, 0.003, 9)]}
    claim = Claim(text="no loss", measure="m", cell="a", against="b", than=-0.015)
    found, verdict = judge(claim, lambda cell, measure: reads[cell])
    assert found.low == pytest.approx(-0.002 - Z95 * 0.003 * math.sqrt(2))
    assert verdict == "shown"


def test_no_change_of_more_than_a_tenth():
    def verdict(value, error):
        claim = Claim(text="flat", measure="m", cell="a", direction="within", than=0.1)
        return judge(claim, lambda cell, measure: [normal(value, error, 9)])[1]

    assert verdict(0.05, 0.02) == verdict(-0.05, 0.02) == "shown"
    assert verdict(0.05, 0.03) == verdict(0.11, 0.02) == verdict(-0.11, 0.02) == "undecided"
    assert verdict(0.2, 0.02) == verdict(-0.2, 0.02) == "contradicted"
    with pytest.raises(ValueError, match=r"within 0 of no change there is nothing"):
        Claim(text="flat", measure="m", cell="a", direction="within")


def test_cells_of_several_files_and_measures_of_some_arms(tmp_path):
    s = settings(
        cells=(Cell(name="start"), *(Cell(name="tuned", seed=seed, parts=("a", "b")) for seed in (0, 1))),
        measures=(
            Measure(name="own", path=("accuracy",), arms=("start",)),
            Measure(name="rate", path=("a", "accuracy"), arms=("tuned",)),
            Measure(name="spread", path=("b", "deep", "spread"), arms=("tuned",)),
        ),
        curves=tuple(
            Curve(name=f"of {part}", path=(part, "points"), x="n", y="mean", arms=("tuned",)) for part in "ab"
        ),
        claims=(Claim(text="higher", measure="rate", cell="tuned", against="start", against_measure="own"),),
        figures=(
            Figure(title="Arms", measures=("rate", "own")),
            Figure(title="Curve", kind="curve", measures=("of a",)),
            Figure(title="Curves", kind="curve", measures=("of a", "of b")),
        ),
    )
    rows = [row(0.4, 1.0), row(0.6, 2.0), row(0.7, 3.0), row(0.8, 4.0), row(0.9, 5.0)]
    folder = concluded(tmp_path, s, rows)
    study = json.loads((folder / "study.json").read_text())
    assert study["arms"]["start"]["measures"]["own"]["by_run"] == [0.4]
    assert list(study["arms"]["start"]["measures"]) == ["own"]
    assert study["arms"]["tuned"]["measures"]["rate"]["by_run"] == [0.6, 0.8]
    assert study["arms"]["tuned"]["measures"]["spread"]["by_run"] == [3.0, 5.0]
    assert study["claims"][0]["difference"]["value"] == pytest.approx(0.7 - 0.4)
    assert list(study["curves"]["of a"]) == ["tuned"]
    page = (folder / "report.html").read_text()  # in words of each figure, what tells its lines apart
    assert "Curve. tuned: 0.7 at 1" in page and "Curves. of a: 0.7 at 1" in page and "of b: 0.8 at 1" in page
    line = next(line for line in (folder / "tables.md").read_text().splitlines() if line.startswith("| start"))
    assert line.endswith("| – | – |")
    with pytest.raises(ValueError, match=r"no 'own' of 'tuned'"):
        wrong = s.model_copy(update={"claims": (Claim(text="?", measure="own", cell="tuned"),)})
        concluded(tmp_path, wrong, rows)
    with pytest.raises(ValueError, match=r"3 cells and 4 results; the cells are made of 5"):
        concluded(tmp_path, s, rows[:4])


@pytest.mark.parametrize(
    ("changes", "rows", "message"),
    [
        ({"measures": (Measure(name="accuracy", path=("accuracy", "mean")),)}, None, "nothing at accuracy.mean"),
        ({"cells": (Cell(name="with"),)}, None, "1 cells and 4 results"),
        ({"claims": (Claim(text="?", measure="accuracy", cell="width"),)}, None, "no 'accuracy' of 'width'"),
        ({"figures": (Figure(title="?", kind="curve", measures=("nosuch",)),)}, None, "no curve 'nosuch'"),
        ({}, [row("much", 1.0)] * 4, "could not convert|is no number"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, changes, rows, message):
    rows = rows or [row(0.5, 1.0)] * 4
    if rows[0]["accuracy"]["value"] == "much":
        rows = [{**r, "accuracy": "much"} for r in rows]
    with pytest.raises(ValueError, match=message):
        concluded(tmp_path, settings(**changes), rows)


def preferences(prompts, each):
    return [
        Preference(prompt=(Message(role="user", content=f"question {p}"),), chosen=f"yes {i}", rejected=f"no {i}")
        for p in range(prompts)
        for i in range(each)
    ]


def test_folds_share_no_prompt_and_cover_all(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = preferences(11, 3)
    write_records(file, rows)
    tested = []
    for fold in range(5):
        stage = Stage(f"fold-{fold}", split_fold, FoldSettings(fold=fold), {"preferences": file})
        folder = execute([stage], tmp_path)[f"fold-{fold}"]
        train, test = (read_records(folder / f"{name}.jsonl", Preference) for name in ("train", "test"))
        assert {p.prompt for p in train}.isdisjoint({p.prompt for p in test})
        assert len(train) + len(test) == len(rows)
        tested += [p.id for p in test]
    assert sorted(tested) == sorted(p.id for p in rows)


def test_folds_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match="fold=5: of 5 folds the last is 4"):
        FoldSettings(fold=5)
    file = tmp_path / "rows.jsonl"
    write_records(file, preferences(3, 2))
    with pytest.raises(ValueError, match="has 3 prompts, too few for folds=5"):
        execute([Stage("fold", split_fold, FoldSettings(), {"preferences": file})], tmp_path)


def test_studies_are_listed_and_named(capsys):
    assert main(["study"]) == 0
    assert "reward-model" in capsys.readouterr().out
    assert main(["study", "nosuch"]) == 1
    assert "no study 'nosuch'; there are: " in capsys.readouterr().err
