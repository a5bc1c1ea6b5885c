"""A judge beside people: known answer 4, formats of verdicts, files that do not match."""

import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.people.judge_vs_people import floor, judge_against_people
from camelid.evaluate.people.verdicts import Verdicts, majority, read_verdicts, side
from camelid.types import Message, Preference, write_records
from real_data import DATA, needs_data

CLEAN = DATA / "vicuna_eval" / "review" / "vicuna-13b_20230322-clean-lang"
NEW = DATA / "vicuna_eval" / "review" / "vicuna-13b_20230322-new-hp-fp16"
HUMAN = DATA / "preferences" / "faireval" / "review_gpt35_vicuna-13b_human.txt"
PANDALM = DATA / "preferences" / "pandalm_testset.json"


def run(capsys, *words) -> dict:
    assert main(["eval", "judge-vs-people", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@needs_data
def test_gpt4_in_one_order_against_faireval(capsys):
    found = run(capsys, CLEAN / "review_gpt35_vicuna-13b.jsonl", HUMAN)
    assert (found["n"], found["invalid"], found["exact"], found["tie_discounted"]) == (80, 0, 0.525, 0.7)
    # People: 41 ChatGPT, 14 ties, 25 Vicuna. A judge who always says ChatGPT: 41 / 80, and 7 more for the ties.
    assert found["floor"] == {"exact": 41 / 80, "tie_discounted": 48 / 80}
    confusion = found["confusion"]
    assert sum(sum(row.values()) for row in confusion.values()) == 80
    assert [sum(confusion[a][b] for a in confusion) for b in ("first", "tie", "second")] == [41, 14, 25]
    assert [sum(row.values()) for row in confusion.values()] == [44, 22, 14]  # as test_vicuna.py has them
    # By chance: (44 * 41 + 22 * 14 + 14 * 25) / 6400 = 2462 / 6400 = .3847; (.525 - .3847) / .6153 = .2280.
    assert found["cohen_kappa"] == pytest.approx(0.2280, abs=5e-5)
    assert found["intervals"]["exact"][0] < found["floor"]["exact"]  # so nothing can be claimed of this judge


@needs_data
@pytest.mark.parametrize(
    "review", [CLEAN / "review_bard_vicuna-13b.jsonl", NEW / "review_gpt35_vicuna-13b-20230322-new-hp-fp16.jsonl"]
)
def test_verdicts_about_other_answers_are_refused(capsys, review):
    assert main(["eval", "judge-vs-people", str(review), str(HUMAN)]) == 1
    assert "speaks of chatgpt, vicuna13b, the reviews of" in capsys.readouterr().err


@needs_data
def test_one_of_pandalms_people_against_the_two_others(capsys):
    found = run(capsys, PANDALM, PANDALM, "--judge-column", "annotator1", "--raters", "annotator2", "annotator3")
    assert found["n"] == 999
    assert found["people_among_themselves"] == pytest.approx({"exact": 0.9179, "tie_discounted": 0.9354}, abs=5e-5)
    assert found["floor"]["exact"] < found["exact"] < 0.9129  # the majority of two is a tie where they differ


def reviews(path: Path, scores: list) -> Path:
    rows = [{"question_id": i, "text": "", "score": list(pair)} for i, pair in enumerate(scores, 1)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_what_has_no_verdict_is_invalid(tmp_path, capsys):
    review = reviews(tmp_path / "review_x_y-1.jsonl", [(8, 7), (7, 8), (8, 8), (-1, -1), (9, 1)])
    people = tmp_path / "human.txt"
    people.write_text("X\nY1\nTie\nX\n-1\n", encoding="utf-8")
    found = run(capsys, review, people)
    assert (found["n"], found["invalid"], found["exact"]) == (3, 2, 1)
    assert found["names"] == ["x", "y-1"]
    assert main(["eval", "judge-vs-people", str(review), str(people)]) == 0
    out, talk = capsys.readouterr()
    assert "people: y-1" in out
    assert "2 without a verdict" in talk


def test_names_of_a_list_can_be_said(tmp_path, capsys):
    review = reviews(tmp_path / "review_x_y.jsonl", [(8, 7), (7, 8)])
    people = tmp_path / "human.txt"
    people.write_text("Left\nRight\n", encoding="utf-8")
    assert run(capsys, review, people, "--first", "left", "--second", "right")["exact"] == 1
    assert run(capsys, review, people, "--first", "right", "--second", "left")["exact"] == 0
    assert main(["eval", "judge-vs-people", str(review), str(people), "--first", "left"]) == 1


def test_the_majority_and_the_words_for_verdicts():
    assert majority(["first", "first", "second"]) == "first"
    assert majority(["first", "tie", "second"]) == majority(["first", "second"]) == "tie"
    assert majority(["second", None, None]) == "second"
    assert majority([None]) is None
    assert [side(x) for x in (1, "1", "model_a", "First", "A", 1.0, "1.0")] == ["first"] * 7
    assert [side(x) for x in (2, "model_b", "tie", 0, "Tie")] == ["second", "second", "tie", "tie", "tie"]
    assert [side(x) for x in (3, -1, "-1", None, "", True, [], "1.5", 1.5, float("nan"))] == [None] * 10


def test_the_floor_is_the_best_constant():
    # Always "first": 2 of 5, and 2/2 for two ties: 3 / 5. Always "tie": 2 of 5 and 3/2: 3.5 / 5.
    assert floor(["first", "first", "tie", "tie", "second"]) == {"exact": 0.4, "tie_discounted": 0.7}


def test_items_meet_by_name_or_by_place(tmp_path):
    judge = Verdicts("judge", {"11": "first", "9": "second"})
    by_line = Verdicts("list", {"1": "second", "2": "first"}, numbered=True)
    assert judge_against_people(judge, by_line)["exact"] == 1  # line 1 is question 9
    assert judge_against_people(judge, Verdicts("p", {"9": "tie", "11": "tie"}))["tie_discounted"] == 0.5
    with pytest.raises(ValueError, match="judge has 2 items, p has 1"):
        judge_against_people(judge, Verdicts("p", {"9": "tie"}))
    with pytest.raises(ValueError, match="p has no verdict on 1 items of judge, such as '11'"):
        judge_against_people(judge, Verdicts("p", {"9": "tie", "12": "tie"}))
    with pytest.raises(ValueError, match="judge and p: none of the 2 items has a verdict on both sides"):
        judge_against_people(judge, Verdicts("p", {"9": None, "11": None}))


def preference(question: str, chosen: str, rejected: str, annotator: str) -> Preference:
    prompt = (Message(role="user", content=question),)
    return Preference(prompt=prompt, chosen=chosen, rejected=rejected, annotator=annotator)


def test_our_own_preferences_meet_by_their_pair_of_completions(tmp_path, capsys):
    judge, people = tmp_path / "judge.jsonl", tmp_path / "people.jsonl"
    write_records(
        judge, [preference("q1", "a", "b", "j"), preference("q2", "a", "b", "j"), preference("q3", "a", "b", "j")]
    )
    votes = [("q1", "a", "b", "p1"), ("q1", "a", "b", "p2"), ("q1", "b", "a", "p3"), ("q2", "b", "a", "p1")]
    write_records(people, [preference(*vote) for vote in votes])
    found = run(capsys, judge, people)
    assert (found["n"], found["exact"], found["decided_only"]) == (2, 0.5, True)
    assert found["unmatched"] == {"judge": 1, "people": 0}
    write_records(people, [preference("q9", "a", "b", "p1")])
    assert main(["eval", "judge-vs-people", str(judge), str(people)]) == 1
    assert "no item in common" in capsys.readouterr().err


def test_judgements_in_both_orders_count_after_the_swap(tmp_path, capsys):
    rows = [{"scores": [9, 8], "scores_reverse": [7, 8]}, {"scores": [9, 8], "scores_reverse": [9, 8]}]
    judge, people = tmp_path / "judge.json", tmp_path / "people.csv"
    judge.write_text(json.dumps(rows), encoding="utf-8")
    people.write_text("verdict\nA\ntie\n", encoding="utf-8")
    assert run(capsys, judge, people)["exact"] == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("h.txt", "\n\n", "is empty"),
        ("h.txt", "X\nY\nTIE", "has 2 items, "),
        ("h.txt", "cat\ndog", "speaks of cat, dog, the reviews of x and y"),
        ("h.json", '[{"a": 1}, {"a": 2}]', "no verdicts; there are a"),
        ("h.json", '[{"verdict": "good"}, {"verdict": 7}]', "no verdicts in verdict; they say 1, 2 and 0"),
        ("h.jsonl", '{"question_id": 1, "text": "8 9"}\n{"question_id": 1, "text": "8 9"}', "reviewed twice"),
        ("h.jsonl", '{"question_id": 1, "text": "8 9"}\n{"question_id": 2, "text": 8}', "line 2: not a review"),
    ],
)
def test_wrong_files_are_one_line_of_error(tmp_path, capsys, name, content, said):
    (tmp_path / name).write_text(content, encoding="utf-8")
    review = reviews(tmp_path / "review_x_y.jsonl", [(8, 7), (7, 8)])
    assert main(["eval", "judge-vs-people", str(review), str(tmp_path / name)]) == 1
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert said in error


def test_a_table_needs_the_columns_that_are_named(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('[{"judge": 1, "rater1": 2}]', encoding="utf-8")
    assert read_verdicts(path, raters=["judge"]).by_item == {"1": "first"}
    assert read_verdicts(path).by_item == {"1": "second"}
    with pytest.raises(ValueError, match="no column 'x'"):
        read_verdicts(path, raters=["x"])
