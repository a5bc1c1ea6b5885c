"""Vicuna's published reviews, summed up: known answer 1."""

import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.vicuna import parse_scores, read_review, score_review_set, sum_up
from real_data import DATA as REAL_DATA
from real_data import needs_data

DATA = REAL_DATA / "vicuna_eval"
CLEAN = "vicuna-13b_20230322-clean-lang"
NEW = "vicuna-13b_20230322-new-hp-fp16"


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("8 9\nBoth were helpful.", (8.0, 9.0)),
        ("9 8.5", (9.0, 8.5)),
        ("8,9", (8.0, 9.0)),
        ("8, 9.5\nBecause", (8.0, 9.5)),
        ("  7   10 \n", (7.0, 10.0)),
        ("-1 -1\n", None),  # how FastChat marks a review that it could not parse
        ("First, let's solve 3x + 10 = 5(x - 2)\n8 9", None),
        ("8 9 7", None),
        ("8", None),
        ("8/10 9/10", None),
        ("80 90", None),
        ("Assistant 1: 8, Assistant 2: 9", None),
        ("", None),
    ],
)
def test_score_parser(text, scores):
    assert parse_scores(text) == scores


def row(question_id: int, text: str, **more) -> dict:
    return {"question_id": question_id, "text": text, **more}


def test_a_review_that_does_not_parse_is_invalid_and_no_tie():
    reviews = [read_review(row(1, "8 9")), read_review(row(2, "no idea")), read_review(row(3, "7 7"))]
    pair = sum_up("a", "b", [*reviews, read_review(row(4, "9 8", score=[-1, -1]))])
    assert (pair.first_total, pair.second_total) == (15.0, 16.0)
    assert (pair.wins, pair.ties, pair.losses, pair.num_invalid) == (1, 1, 0, 2)
    assert pair.win_rate.value == 0.75
    assert pair.win_rate.n == pair.difference.n == 2


def test_recorded_scores_win_over_the_text_and_are_counted_where_they_differ():
    review = read_review(row(1, "First, I solve it.\nAssistant 1: 10", score=[10, 4]))
    assert review.scores == (10.0, 4.0)
    assert review.by_hand
    assert not read_review(row(1, "8 9", score=[8.0, 9.0])).by_hand
    with pytest.raises(ValueError, match="none of the 1 reviews"):
        sum_up("a", "b", [read_review(row(1, "?"))])


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"score": "89"}, 'score is "89", not two numbers'),  # and not 8 and 9
        ({"score": ["8", "9"]}, "not two numbers"),
        ({"score": [8]}, "not two numbers"),
        ({"score": [8, 9, 1]}, "not two numbers"),
        ({"score": [True, False]}, "not two numbers"),
        ({"question_id": None}, "question_id is to be a number"),
        ({"question_id": [2]}, "question_id is to be a number"),
        ({"text": 5}, "text a text"),
    ],
)
def test_what_is_no_review_is_one_line_of_error(tmp_path, capsys, wrong, said):
    path = tmp_path / "review_a_b.jsonl"
    write(path, [row(1, "8 9"), row(2, "8 9") | wrong])
    assert main(["eval", "vicuna", str(path), "--json"]) == 1
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert f"{path}, line 2: not a review" in error and said in error


def test_scores_that_are_null_monstrous_or_no_number_are_invalid():
    wrong = [None, [10**400, 1], [float("nan"), 1], [float("inf"), 1], [11, 3]]
    assert all(read_review(row(1, "8 9", score=score)).scores is None for score in wrong)


def test_a_folder_of_review_sets_stands_for_all_of_them(tmp_path, capsys):
    for name, text in (("one", "8 9"), ("two", "0 5")):
        (tmp_path / "review" / name).mkdir(parents=True)
        write(tmp_path / "review" / name / "review_a_b.jsonl", [row(1, text), row(2, text)])
    assert main(["eval", "vicuna", str(tmp_path), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [f["file"] for f in files] == ["review/one/review_a_b.jsonl", "review/two/review_a_b.jsonl"]
    assert [(f["first_sum"], f["second_sum"], f["ratio"], f["ratio_percent"]) for f in files] == [
        (16, 18, 1.125, 112.5),
        (0, 10, None, None),  # nothing to divide by
    ]
    assert main(["eval", "vicuna", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "review/one" in table and "nan" not in table
    assert main(["eval", "vicuna", str(tmp_path / "review" / "one")]) == 0
    assert "set" not in capsys.readouterr().out


def test_wrong_folders_and_wrong_questions_are_errors(tmp_path):
    questions = tmp_path / "question.jsonl"
    write(questions, [{"question_id": 1, "category": "math"}])
    with pytest.raises(ValueError, match=r"no review_FIRST_SECOND\.jsonl"):
        score_review_set(tmp_path, questions)
    with pytest.raises(ValueError, match="there are math"):
        score_review_set(tmp_path, questions, category="maths")
    write(questions, [{"question_id": [1], "category": "math"}])
    with pytest.raises(ValueError, match="line 1: not a question"):
        score_review_set(tmp_path, questions)
    write(questions, [{"question_id": 1, "category": "math"}])
    write(tmp_path / "review_a_b.jsonl", [row(1, "8 9"), row(1, "8 9")])
    with pytest.raises(ValueError, match="reviewed twice"):
        score_review_set(tmp_path, questions)
    write(tmp_path / "review_a_b.jsonl", [row(2, "8 9")])
    with pytest.raises(ValueError, match="question 2 is not in the question file"):
        score_review_set(tmp_path, questions)


@needs_data
def test_vicuna_has_92_percent_of_chatgpts_score():
    pairs = {p.first: p for p in score_review_set(DATA / "review" / CLEAN, DATA / "question.jsonl")}
    totals = {first: (p.first_total, p.second_total) for first, p in pairs.items()}
    assert totals == {"llama-13b": (513, 694), "alpaca-13b": (583, 704), "bard": (664, 655.5), "gpt35": (693, 638)}
    assert pairs["gpt35"].relative == pytest.approx(92.06, abs=0.005)
    # Wins or ties: 14 + 22 = 36 against ChatGPT, 77 against LLaMA, 76 + 1 against Alpaca, 50 against Bard.
    counts = {first: (p.wins, p.ties, p.losses) for first, p in pairs.items()}
    assert counts == {
        "llama-13b": (77, 0, 3),
        "alpaca-13b": (76, 1, 3),
        "bard": (40, 10, 30),
        "gpt35": (14, 22, 44),
    }
    assert all((p.num_invalid, p.num_by_hand) == (0, 3) for p in pairs.values())


@needs_data
@pytest.mark.parametrize(
    ("folder", "first", "totals", "counts"),
    [
        (NEW, "llama", (523, 695), (75, 0, 5)),
        (NEW, "alpaca-13b", (576, 696.5), (76, 0, 4)),
        (NEW, "bard", (661.5, 662), (39, 13, 28)),
        (NEW, "gpt35", (684, 633.5), (22, 16, 42)),
        ("others", "llama", (525, 605), (60, 1, 19)),
    ],
)
def test_the_other_review_sets(folder, first, totals, counts):
    # Checked against bare sums of the `score` fields; the text parser agrees on 77 of the 80, see below.
    pair = next(p for p in score_review_set(DATA / "review" / folder, DATA / "question.jsonl") if p.first == first)
    assert (pair.first_total, pair.second_total) == totals
    assert (pair.wins, pair.ties, pair.losses) == counts
    assert sum(counts) == 80


@needs_data
def test_the_parser_reads_all_reviews_but_the_three_about_mathematics_as_recorded():
    paths = sorted((DATA / "review").glob("*/review_*.jsonl"))
    assert len(paths) == 9
    for path in paths:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        read = {r["question_id"]: parse_scores(r["text"]) for r in rows}
        assert {question for question, scores in read.items() if scores is None} == {68, 69, 70}
        assert all(read[r["question_id"]] in (None, tuple(r["score"])) for r in rows)


@needs_data
def test_categories_add_up_to_the_whole():
    questions = DATA / "question.jsonl"
    categories = {json.loads(line)["category"] for line in questions.read_text(encoding="utf-8").splitlines()}
    parts = [score_review_set(DATA / "review" / CLEAN, questions, category=c) for c in categories]
    whole = score_review_set(DATA / "review" / CLEAN, questions)
    for i, pair in enumerate(whole):
        assert sum(part[i].second_total for part in parts) == pair.second_total
        assert sum(part[i].win_rate.n for part in parts) == 80
