"""Sheets for raters and back: blind, checked, un-blinded; LLaMA-2's figures; preferences that train."""

import csv
import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.people.answers import pair_up, read_answers
from camelid.evaluate.people.sheets import FORMULA, Key, guard, make_key, read_key, write_sheets
from camelid.evaluate.people.study import preferences, read_study
from camelid.evaluate.people.study_figures import study_figures
from camelid.types import Comparison, Message, Preference, read_records, write_records
from real_data import DATA, needs_data

TEACHERS = DATA / "teachers"


def outputs(path: Path, model: str, answers: list[str], start: int = 0) -> Path:
    rows = [{"instruction": f"q{i}", "output": a, "generator": model} for i, a in enumerate(answers, start)]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.fixture
def study(tmp_path) -> Path:
    """Eight items, three raters, nothing filled in; the answers of `ours` start with "good"."""
    a = outputs(tmp_path / "a.json", "ours", [f"good {i}" for i in range(8)])
    b = outputs(tmp_path / "b.json", "theirs", [f"=bad {i}" for i in range(8)])
    words = ["eval", "people", "export", str(a), str(b), "--out", str(tmp_path / "study"), "--secret", "s"]
    assert main(words) == 0
    return tmp_path / "study"


def sheet(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(path: Path, verdict, delimiter: str = ",") -> None:
    """Fill in a sheet: `verdict(row)` is the number of steps by which "good" is better, or a text."""
    rows = sheet(path)
    for row in rows:
        found = verdict(row)
        good_first = row["answer_1"].startswith("good")
        row["verdict"] = found if isinstance(found, str) else str(4 - found if good_first else 4 + found)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_sheets_are_blind_and_complete(study):
    raters = sorted((study / "raters").iterdir())
    assert [path.name for path in raters] == ["instructions.txt", "rater-1.csv", "rater-2.csv", "rater-3.csv"]
    text = "".join(path.read_text(encoding="utf-8") for path in raters)
    assert "ours" not in text
    assert "theirs" not in text
    orders = set()
    for path in raters[1:]:
        rows = sheet(path)
        assert sorted(row["conversation"] for row in rows) == [f"q{i}" for i in range(8)]
        for row in rows:
            assert {row["answer_1"].strip("'=")[:3], row["answer_2"].strip("'=")[:3]} == {"goo", "bad"}
            assert row["verdict"] == ""
        orders.add(tuple(row["item"] for row in rows))
    assert len(orders) == 3


def test_sides_are_even_and_drawn_for_each_item_and_rater():
    key = Key(a="a", b="b", secret="s", raters=("r",), kind="helpfulness", identical=0, unmatched=0, pairs={})
    sides = [[key.shows_a_first(f"item {i}", f"rater {r}") for i in range(1000)] for r in range(2)]
    assert all(440 < sum(one) < 560 for one in sides)  # 500 +- 16
    assert 440 < sum(x == y for x, y in zip(*sides, strict=True)) < 560
    other = key.model_copy(update={"secret": "t"})
    assert [other.shows_a_first(f"item {i}", "rater 0") for i in range(1000)] != sides[0]


def test_no_cell_is_a_formula(study):
    assert [guard(text) for text in ("=1+1", "-2", "@x", "plain", "a=b", "", "\t=x")] == [
        "'=1+1", "'-2", "'@x", "plain", "a=b", "", "'\t=x",
    ]  # fmt: skip
    for path in (study / "raters").glob("*.csv"):
        assert not [cell for row in sheet(path) for cell in row.values() if cell.startswith(FORMULA)]


def test_filled_sheets_give_llama2s_figures(study, capsys):
    # Eight items q0 to q7. Steps by which ours is better, by rater:
    steps = {
        "q0": (3, 2, 1), "q1": (1, 1, -1), "q2": (2, 0, 1), "q3": (1, 2, 3),  # four wins
        "q4": (0, 0, 3), "q5": (1, 0, -1),  # a tie said by two, and one where all three differ
        "q6": (-1, -2, 1), "q7": (-3, -3, -3),  # two losses
    }  # fmt: skip
    for rater in range(3):
        path = study / "raters" / f"rater-{rater + 1}.csv"
        fill(path, lambda row, rater=rater: steps[row["conversation"]][rater], ";" if rater == 1 else ",")
    capsys.readouterr()
    assert main(["eval", "people", "import", str(study), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["wins"], found["ties"], found["losses"], found["n"]) == (4, 2, 2, 8)
    assert (found["win_percent"], found["tie_percent"], found["loss_percent"]) == (50, 25, 25)
    assert found["win_rate"] == 62.5
    assert found["win_percent_interval"][0] < 50 < found["win_percent_interval"][1]
    assert (found["verdicts"], found["missing"], found["invalid"]) == (24, 0, 0)
    assert found["steps"] == {"-3": 3, "-2": 1, "-1": 3, "0": 4, "1": 7, "2": 3, "3": 3}
    assert [found["by_rater"][f"rater-{r}"]["wins"] for r in (1, 2, 3)] == [5, 3, 5]
    # Observed agreement, weights 1 - |x - y| / 6, by item: q0 1 - (1 + 1 + 2) / 18, and so on; the sums of distances
    # are 4 4 4 4 6 4 6 0, so 1 - 32 / 144 = 7/9.
    seven = found["seven_degrees"]
    assert seven["labels"] == ["-3", "-2", "-1", "0", "1", "2", "3"]
    pi = [found["steps"][label] / 24 for label in seven["labels"]]
    spread = sum(p * (1 - p) for p in pi)
    # Sum of the 49 weights: 49 - 2 (6 * 1 + 5 * 2 + 4 * 3 + 3 * 4 + 2 * 5 + 1 * 6) / 6 = 49 - 112 / 6.
    expected = (49 - 112 / 6) / 42 * spread
    assert found["gwet_ac2"] == pytest.approx((7 / 9 - expected) / (1 - expected))
    records = read_records(study / "preferences.jsonl", Preference)
    assert len(records) == found["num_preferences"] == 20  # 24 less 4 ties
    of_q0 = {r.annotator: r for r in records if r.prompt[0].content == "q0"}
    assert [of_q0[f"rater-{r}"].rating for r in (1, 2, 3)] == ["significantly better", "better", "slightly better"]
    assert all(r.chosen == "good 0" and r.rejected == "=bad 0" for r in of_q0.values())
    assert main(["eval", "people", "import", str(study)]) == 0
    out = capsys.readouterr().out
    assert "ours: wins" in out
    assert "50.0 [" in out


def test_what_a_rater_did_wrong_is_counted_and_in_no_figure(study, capsys):
    wrong = {"q0": "", "q1": "8", "q2": "about 3", "q3": "0"}
    for rater in (1, 2):
        fill(study / "raters" / f"rater-{rater}.csv", lambda row: wrong.get(row["conversation"], 2))
    path = study / "raters" / "rater-2.csv"
    text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").rstrip("\n").split("\n")
    good = next(line for line in text if ",q7," in line)
    turned = good.replace(",6,", ",2,") if ",6," in good else good.replace(",2,", ",6,")
    text += [
        turned,
        next(line for line in text if ",q6," in line),
        "nobody,rater-2,x,y,z,4,",
        good.replace("rater-2", "bob"),
    ]
    path.write_text("\n".join(text), encoding="utf-8")
    capsys.readouterr()
    assert main(["eval", "people", "import", str(study), "--json"]) == 0
    out, talk = capsys.readouterr()
    found = json.loads(out)
    assert found["invalid_rows"] == {
        "blank": 2 + 8,  # rater 3 has sent an empty sheet
        "out_of_scale": 6,
        "unknown_item": 1,
        "unknown_rater": 1,
        "contradicted": 1,
    }
    assert found["invalid"] == 19
    assert (found["n"], found["wins"]) == (4, 4)
    assert found["verdicts"] == 4 + 3  # of rater 2, q7 is gone; the second q6 says the same as the first
    assert found["missing"] == 24 - 7
    assert "1 rows invalid: contradicted, first in rater-2.csv, row 9" in talk
    assert found["by_rater"]["rater-3"]["n"] == 0


def test_one_rater_alone_has_nobody_to_agree_with(study, capsys):
    fill(study / "raters" / "rater-1.csv", lambda row: 1)
    capsys.readouterr()
    assert main(["eval", "people", "import", str(study / "raters" / "rater-1.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["wins"], found["gwet_ac2"], found["seven_degrees"]) == (8, 8, None, None)
    assert main(["eval", "people", "import", str(study / "raters" / "rater-1.csv")]) == 0


def test_sheets_as_json_lines(tmp_path):
    a = read_answers(outputs(tmp_path / "a.json", "x", ["1", "2", "same", ""]))
    b = read_answers(outputs(tmp_path / "b.json", "y", ["3", "4", "same", "5", "6"]))
    paired = pair_up(a, b)
    assert (len(paired.pairs), paired.identical, paired.unmatched) == (3, 1, 1)
    key = make_key(paired, raters=1, secret="s")
    (path,) = write_sheets(key, tmp_path / "study", "jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0]["verdict"] is None
    for row in rows:
        row["verdict"] = 1
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    found = read_study([tmp_path / "study"])
    assert found.key == key == read_key(tmp_path / "study" / "key.json")
    # Whoever always writes 1 takes the first answer: 3 where that is ours, -3 where it is not.
    assert found.steps == {(item, "rater-1"): 3 if key.shows_a_first(item, "rater-1") else -3 for item in key.pairs}
    assert study_figures(found)["by_rater"]["rater-1"]["position_bias"] == 1
    assert len(preferences(found)) == 2  # the pair with an empty answer teaches nothing


def test_a_smaller_study_is_part_of_a_larger(tmp_path):
    paired = pair_up(
        read_answers(outputs(tmp_path / "a.json", "x", [f"a{i}" for i in range(20)])),
        read_answers(outputs(tmp_path / "b.json", "y", [f"b{i}" for i in range(20)])),
    )
    small, large = (make_key(paired, raters=2, secret="s", limit=n) for n in (5, 12))
    assert len(small.pairs) == 5
    assert small.pairs.items() <= large.pairs.items()


def test_answers_of_our_own_versions(tmp_path):
    row = {"prompt_id": "p", "prompt": [{"role": "user", "content": "q0"}], "text": "hello", "tags": ["helpful"]}
    folder = tmp_path / "evaluate-ppo"
    folder.mkdir()
    (folder / "answers.jsonl").write_text(json.dumps(row | {"source": "s", "ids": [1]}), encoding="utf-8")
    ours = read_answers(folder / "answers.jsonl")
    assert ours.model == "evaluate-ppo"
    (pair,) = pair_up(ours, read_answers(outputs(tmp_path / "b.json", "y", ["other"]))).pairs
    assert (pair.first, pair.second, pair.tags, pair.source) == ("hello", "other", ("helpful",), "s")


def test_a_study_of_comparisons_meets_the_judge_that_saw_them_too(tmp_path, capsys):
    # `camelid pairs` shuffles sides: the newest version's answer, "good", is second in every other comparison.
    sides = [("good", "newest", "bad", "other"), ("bad", "other", "good", "newest")]
    comparisons = [
        Comparison(
            prompt=(Message(role="user", content=f"q{i}"),),
            first=f"{sides[i % 2][0]} {i}",
            first_model=sides[i % 2][1],
            second=f"{sides[i % 2][2]} {i}",
            second_model=sides[i % 2][3],
        )
        for i in range(6)
    ]
    path, study = tmp_path / "comparisons.jsonl", tmp_path / "study"
    write_records(path, comparisons)
    assert main(["eval", "people", "export", str(path), "--out", str(study), "--raters", "2"]) == 0
    for rater in ("rater-1", "rater-2"):
        fill(study / "raters" / f"{rater}.csv", lambda row: 0 if row["conversation"] == "q5" else 2)
    found = study_figures(read_study([study]))
    assert (found["models"], found["wins"], found["ties"], found["losses"]) == (["newest", "other"], 5, 1, 0)
    assert main(["eval", "people", "import", str(study)]) == 0
    assert {r.chosen for r in read_records(study / "preferences.jsonl", Preference)} == {f"good {i}" for i in range(5)}
    # The judge, as `camelid judge` writes it: q0 and q1 rightly, q2 falls with the swap, q3 wrongly, q4 not understood.
    said = [
        ("first, better",) * 2,
        ("second, better",) * 2,
        ("first, better", "second, better"),
        ("first, better",) * 2,
    ]
    said += [("invalid", "first, better"), ("tie", "tie")]
    verdicts = [{"comparison": c.id, "given": g, "swapped": s} for c, (g, s) in zip(comparisons, said, strict=True)]
    judge = tmp_path / "verdicts.json"
    judge.write_text(json.dumps({"summary": {}, "verdicts": verdicts}), encoding="utf-8")
    capsys.readouterr()
    assert main(["eval", "judge-vs-people", str(judge), str(study / "verdicts.jsonl"), "--json"]) == 0
    beside = json.loads(capsys.readouterr().out)
    assert (beside["n"], beside["invalid"], beside["exact"]) == (5, 1, 3 / 5)  # q0, q1, q5
    assert beside["people_among_themselves"] == {"exact": 1, "tie_discounted": 1}
    assert main(["eval", "swap", str(judge), "--json"]) == 0
    swapped = json.loads(capsys.readouterr().out)
    assert (swapped["n"], swapped["invalid"], swapped["consistency"], swapped["longer_wins"]) == (5, 1, 0.8, None)


@needs_data
def test_real_answers_make_a_study(tmp_path, capsys):
    words = [str(TEACHERS / f"{name}.json") for name in ("claude", "alpaca-7b")]
    assert main(["eval", "people", "export", *words, "--out", str(tmp_path / "s"), "--limit", "100"]) == 0
    assert "100 pairs, claude against alpaca-7b" in capsys.readouterr().err
    key = read_key(tmp_path / "s" / "key.json")
    for path in sorted((tmp_path / "s" / "raters").glob("*.csv")):
        rows = sheet(path)
        assert len(rows) == 100
        for row in rows:
            pair = key.pairs[row["item"]]
            one, two = pair.first, pair.second
            if not key.shows_a_first(row["item"], row["rater"]):
                one, two = two, one
            assert (row["answer_1"], row["answer_2"]) == (guard(one), guard(two))


def test_wrong_answers_are_one_line_of_error(tmp_path, capsys):
    good = outputs(tmp_path / "a.json", "x", ["1"])
    cases = [
        (outputs(tmp_path / "same.json", "x", ["2"]), [], "both files are answers of 'x'"),
        (outputs(tmp_path / "other.json", "y", ["2"], start=5), [], "no prompt in common"),
        (outputs(tmp_path / "equal.json", "y", ["1"]), [], "the same answer to all 1 prompts"),
        (outputs(tmp_path / "y.json", "y", ["2"]), ["--raters", "0"], "0 raters"),
        (tmp_path / "y.json", ["--limit", "-1"], "a limit of -1 pairs"),
    ]
    (tmp_path / "none.json").write_text('[{"a": 1}]', encoding="utf-8")
    cases.append((tmp_path / "none.json", [], "row 1: no prompt (its fields are a); known rows have prompt and text"))
    (tmp_path / "null.json").write_text('[{"instruction": "q0", "output": null}]', encoding="utf-8")
    cases.append((tmp_path / "null.json", [], "row 1: no answer: a text is wanted, not NoneType"))
    (tmp_path / "blank.json").write_text('[{"instruction": " ", "output": "x"}]', encoding="utf-8")
    cases.append((tmp_path / "blank.json", [], "row 1: no prompt"))
    cases.append(("", [], "give a second model's answers"))
    cases.append(("", ["--name-a", "z"], "comparisons name their models themselves"))
    for path, words, said in cases:
        assert main(["eval", "people", "export", str(good), str(path), "--out", str(tmp_path / "out"), *words]) == 1
        out, error = capsys.readouterr()
        assert (out, error.count("\n")) == ("", 1)
        assert said in error
    assert not (tmp_path / "out").exists()


def test_wrong_studies_are_one_line_of_error(study, tmp_path, capsys):
    again = ["eval", "people", "export", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(study)]
    (tmp_path / "lone").mkdir()
    lone = tmp_path / "lone" / "x.csv"
    lone.write_text("item,rater,verdict\n1,2,3\n", encoding="utf-8")
    columnless = study / "no.csv"
    columnless.write_text("item,rater,mark\n1,2,3\n", encoding="utf-8")
    for words, said in (
        (again, "holds a study already"),
        (["eval", "people", "import", str(study)], "no verdict is filled in"),
        (["eval", "people", "import", str(tmp_path / "lone"), "--key", str(lone)], "not the key of a study"),
        (["eval", "people", "import", str(columnless)], "no column 'verdict'"),
        (["eval", "people", "import", str(tmp_path / "gone")], "no such file or folder"),
        (["eval", "people", "import", str(lone)], "no key.json near"),
    ):
        capsys.readouterr()
        assert main(words) == 1
        out, error = capsys.readouterr()
        assert (out, error.count("\n")) == ("", 1)
        assert said in error
