"""Agreement of raters from files: known answer 3, formats, and what is wrong with a file."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from camelid.cli import main
from camelid.evaluate.people.agreement import agreement
from camelid.evaluate.people.rating_tables import is_rater_column, read_ratings
from camelid.evaluate.people.ratings import build
from real_data import DATA, needs_data

PANDALM = DATA / "preferences" / "pandalm_testset.json"


@needs_data
def test_pandalms_people(capsys):
    assert main(["eval", "agreement", str(PANDALM), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["raters"], found["invalid"], found["missing"]) == (999, 3, 0, 0)
    assert found["gwet_ac1"] == pytest.approx(0.8864, abs=5e-5)
    assert [found["pairs"][p]["tie_discounted"] for p in ("1-2", "1-3", "2-3")] == pytest.approx(
        [0.9304, 0.9449, 0.9354], abs=5e-5
    )
    assert [found["pairs"][p]["exact"] for p in ("1-2", "1-3", "2-3")] == pytest.approx(
        [0.9129, 0.9289, 0.9179], abs=5e-5
    )
    for name in ("exact", "tie_discounted"):
        assert found[name] == pytest.approx(np.mean([pair[name] for pair in found["pairs"].values()]))
    # irrCAC 0.4.4 on the same labels: values and linearised intervals. Ours are a bootstrap's.
    theirs = {
        "gwet_ac1": (0.88644471, 0.86720826, 0.90568115),
        "gwet_ac2": (0.87602599, 0.85383206, 0.89821991),
        "fleiss_kappa": (0.86417536, 0.8414949, 0.88685583),
        "krippendorff_alpha": (0.86422069, 0.84154022, 0.88690115),
    }
    for name, (value, low, high) in theirs.items():
        assert found[name] == pytest.approx(value, abs=1e-8)
        assert found["intervals"][name] == pytest.approx([low, high], abs=0.002)


@needs_data
def test_a_table_for_reading(capsys):
    assert main(["eval", "agreement", str(PANDALM)]) == 0
    out, talk = capsys.readouterr()
    assert "0.8864  [0.867" in out
    assert "annotator1 and annotator3    999  0.9289" in out
    assert "labels in this order: 1, 0, 2" in talk


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_one_table_in_five_formats(tmp_path):
    rows = [
        {"id": f"q{i}", "rater_ann": a, "rater_bob": b} for i, (a, b) in enumerate([(1, 2), (2, 2), (3, 1), (1, 1)])
    ]
    lines = write(tmp_path / "lines.jsonl", rows)
    array = tmp_path / "array.json"
    array.write_text(json.dumps(rows), encoding="utf-8")
    inside = tmp_path / "inside.json"
    inside.write_text(json.dumps({"meta": 1, "data": rows}), encoding="utf-8")
    table = "id,rater_ann,rater_bob\n" + "".join(f"{r['id']},{r['rater_ann']},{r['rater_bob']}.0\n" for r in rows)
    commas, semicolons = tmp_path / "commas.csv", tmp_path / "semicolons.csv"
    commas.write_text("\ufeff" + table, encoding="utf-8")
    semicolons.write_text(table.replace(",", ";"), encoding="utf-8")
    long = write(
        tmp_path / "long.jsonl",
        [{"item": r["id"], "rater": who, "label": r[who]} for r in rows for who in ("rater_ann", "rater_bob")],
    )
    found = [agreement(read_ratings(path)) for path in (lines, array, inside, commas, semicolons, long)]
    # 2 of 4 the same. Of 8 labels four are 1, three 2, one 3: pi (1 - pi) sums to (16 + 15 + 7) / 64, by chance half.
    assert found[0]["gwet_ac1"] == pytest.approx((1 / 2 - 19 / 64) / (45 / 64))
    assert found[0]["labels"] == ["1", "2", "3"]
    assert found[0]["ordered"]
    assert found[0]["tie_discounted"] is None
    assert "tie" in found[0]["undefined"]["tie_discounted"]
    assert all(other == found[0] for other in found[1:])


def test_missing_and_invalid_ratings_are_counted_and_in_no_figure(tmp_path):
    row = {"response1": "a", "response2": "b"}
    labels = [(1, 1, 1), (2, 2, None), (0, 2, 7), ("?", 1, 1), (1, "", math.nan), (2, 2, [2])]
    path = write(
        tmp_path / "t.jsonl",
        [row | dict(zip(("annotator1", "annotator2", "annotator3"), x, strict=True)) for x in labels],
    )
    found = agreement(read_ratings(path))
    assert (found["missing"], found["invalid"]) == (3, 3)
    assert (found["items"], found["n"]) == (6, 5)
    # Pairs of ratings: 3 of 3, 1 of 1, 0 of 1 (a tie: one half), 1 of 1, 1 of 1.
    assert found["exact"] == pytest.approx(6 / 7)
    assert found["tie_discounted"] == pytest.approx(6.5 / 7)
    assert found["pairs"]["1-2"]["n"] == 4


def test_pandalms_verdicts_in_words_are_its_codes_and_other_words_are_not(tmp_path):
    names = ("annotator1", "annotator2", "annotator3")
    codes = [(1, 1, 2), (2, 0, 2), (0, 0, 1), (2, 2, 2)]
    in_words = {1: "A", 2: "response2", 0: "Tie"}

    def table(values):
        pair = {"response1": "a", "response2": "b"}
        return write(tmp_path / "t.jsonl", [pair | dict(zip(names, row, strict=True)) for row in values])

    expected = agreement(read_ratings(table(codes)))
    assert agreement(read_ratings(table([[in_words[code] for code in row] for row in codes]))) == expected
    with pytest.raises(ValueError, match="none of the labels, such as 'banana', is on the scale 1, 0, 2"):
        read_ratings(table([["banana"] * 3] * 2))


def test_rows_of_one_id_that_differ_are_let_be(tmp_path):
    # PandaLM's idx may name an instruction that several pairs share.
    rows = [{"idx": 1, "annotator1": 1, "annotator2": label} for label in (1, 2)]
    assert agreement(read_ratings(write(tmp_path / "t.jsonl", rows)))["n"] == 2


def test_raters_who_all_say_the_same_leave_kappa_undefined_and_json_clean():
    same = build("f", ["1", "2"], ["annotator1", "annotator2"], [[1, 1], [1, 1]])
    found = json.loads(json.dumps(agreement(same), allow_nan=False))
    assert found["fleiss_kappa"] is found["krippendorff_alpha"] is found["intervals"]["fleiss_kappa"] is None
    assert "0/0" in found["undefined"]["fleiss_kappa"]
    assert found["gwet_ac1"] == found["exact"] == 1  # PandaLM's scale has two other labels
    assert found["intervals"]["exact"][0] < 0.5
    unknown = agreement(build("f", ["1", "2"], ["x", "y"], [["good", "good"], ["good", "good"]]))
    assert unknown["gwet_ac1"] is None  # with one label on the scale nothing could differ


def test_the_scale_can_be_said():
    values = [["bad", "good"], ["fair", "fair"], ["good", "good"], ["junk", "bad"]]
    plain = build("f", list("1234"), ["x", "y"], values)
    assert plain.scores is None
    assert "order" in agreement(plain)["undefined"]["gwet_ac2"]
    said = build("f", list("1234"), ["x", "y"], values, scale=["bad", "fair", "good"])
    assert said.invalid == 1
    assert build("f", ["1"], ["x", "y"], [[1, "2.0"]], scale=["1.0", "2", "3.00"], tie="2.0").codes.tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="names a label twice"):
        build("f", ["1"], ["x", "y"], [[1, 2]], scale=["1", "2", "1.0"])
    assert agreement(said)["gwet_ac2"] is not None
    assert build("f", ["1"], ["x", "y"], [[-1, 1]], scale=["-1", "0", "1"]).tie == 1
    assert build("f", ["1"], ["x", "y"], [["A", "Tie"]]).tie is not None
    mostly_numbers = build("f", list("123"), ["x", "y"], [[1, 2], [2, 3], [3, "n.b."]])
    assert (mostly_numbers.scale, mostly_numbers.invalid) == (["1", "2", "3"], 1)


@pytest.mark.parametrize(
    ("name", "rater"),
    [
        ("annotator1", True),
        ("Rater A", True),
        ("label_2", True),
        ("annotation_1", True),
        ("rater_ann", True),
        ("labeler3", True),
        ("rater", False),  # whom, not what
        ("label", False),
        ("rater_comment", False),
        ("annotator_id", False),
        ("rating", False),
        ("prompt", False),
    ],
)
def test_names_of_raters_columns(name, rater):
    assert is_rater_column(name) == rater


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.json", "", "is empty"),
        ("e.txt", "hello", "a .csv is wanted"),
        ("e.json", '[{"a": 1}]', "no columns of raters"),
        ("e.json", '[{"annotator1": 1}]', "one rater only"),
        ("e.json", '[{"annotator1": null, "annotator2": ""}]', "no rating in annotator1, annotator2"),
        ("e.json", '[{"annotator1": 1, "annotator2": null}]', "no item has two ratings"),
        ("e.csv", "item,rater,label\n1,x,1\n1,x,2\n", "row 2: x has rated item 1 before"),
        ("e.csv", "id,rater_a,rater_b\n1,x,y\n2,x,x\n1,x,y\n", "row 3: the same as row 1; it would count twice"),
    ],
)
def test_wrong_files_are_one_line_of_error(tmp_path, capsys, name, content, said):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert main(["eval", "agreement", str(tmp_path / name), "--json"]) == 1
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert said in error


def test_wrong_options(tmp_path, capsys):
    path = write(tmp_path / "t.jsonl", [{"x": 1, "y": 2, "text": f"t{i}", "more": f"m{i}"} for i in range(200)])
    for words, said in (
        (["--raters", "x", "z"], "no column 'z'; there are x, y, text, more"),
        (["--raters", "text", "more"], "are these labels?"),
        (["--raters", "x", "y", "--tie", "5"], "no label '5' to be the tie"),
        (["--raters", "x", "y", "--scale", "a,b"], "none of the labels, such as '1', is on the scale a, b"),
    ):
        assert main(["eval", "agreement", str(path), *words]) == 1
        assert said in capsys.readouterr().err
