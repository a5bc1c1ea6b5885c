"""What is left of judgements when the order is swapped: known answer 5."""

import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.people.swap import BothOrders, read_both_orders, swap_figures
from real_data import DATA, needs_data

REVIEWS = DATA / "preferences" / "judge_reviews"


@needs_data
@pytest.mark.parametrize(
    ("name", "n", "consistency"),
    [
        ("lima_wrap_reviews_gpt4", 300, 0.720),
        ("koala_wrap_reviews_gpt4", 180, 0.817),
        ("lima_wrap_reviews_gpt3.5", 300, 0.300),
        ("koala_wrap_reviews_gpt3.5", 180, 0.406),
        ("vicuna_wrap_reviews_gpt4", 80, 0.675),  # 54 of 80, by a count of its own
        ("vicuna_wrap_reviews_gpt3.5", 80, 0.275),
    ],
)
def test_published_reviews(capsys, name, n, consistency):
    assert main(["eval", "swap", str(REVIEWS / f"{name}.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["invalid"]) == (n, 0)
    assert found["consistency"] == pytest.approx(consistency, abs=5e-4)
    assert found["wins"] + found["ties"] + found["losses"] == n
    assert found["win_rate"] == pytest.approx(100 * (found["wins"] + found["ties"] / 2) / n)
    assert sum(found["inconsistent"].values()) == round(n * (1 - found["consistency"]))


@needs_data
def test_answers_without_reviews_are_an_error(capsys):
    for name in ("lima_wrap", "koala_wrap", "vicuna_wrap"):
        assert main(["eval", "swap", str(REVIEWS / f"{name}.json")]) == 1
        assert "answers without reviews" in capsys.readouterr().err


def test_six_pairs_by_hand():
    pairs = [
        BothOrders("first", "first", (10, 5)),  # survives, the longer wins
        BothOrders("second", "second", (10, 5)),  # survives, the shorter wins
        BothOrders("first", "second", (10, 5)),  # whoever is shown first
        BothOrders("second", "first", (10, 5)),  # whoever is shown second
        BothOrders("tie", "first", (10, 5)),
        BothOrders("tie", "tie", (10, 5)),
        BothOrders("first", None, (10, 5)),
    ]
    found = swap_figures(pairs)
    assert (found["n"], found["invalid"], found["consistency"]) == (6, 1, 0.5)
    assert (found["wins"], found["ties"], found["losses"], found["win_rate"]) == (1, 4, 1, 50)
    assert found["inconsistent"] == {"first_shown_twice": 1, "second_shown_twice": 1, "tie_in_one_order": 1}
    # As displayed, given then swapped: 1 2, 2 1, 1 1, 2 2, tie 2, tie tie. Shown first: 4 of 12, second 5, neither 3.
    assert (found["prefers_first_shown"], found["prefers_second_shown"], found["prefers_neither"]) == (
        4 / 12,
        5 / 12,
        3 / 12,
    )
    assert found["position_bias"] == pytest.approx((4 + 3 / 2) / 12)
    assert (found["longer_wins"], found["longer_wins_n"]) == (0.5, 2)
    assert found["one_order"]["given"] == {"wins": 2, "ties": 2, "losses": 2}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text(json.dumps({"Meta_Info": {}, "data": rows}), encoding="utf-8")
    return path


def test_scores_of_the_swapped_order_are_swapped_back_and_unreadable_ones_are_invalid(tmp_path):
    rows = [
        {"scores": "[9.0, 8.0]", "scores_reverse": "[7.0, 9.5]"},  # the first answer, both times
        {"scores": [0, 0], "scores_reverse": [5, 5.0]},
        {"scores": [-1, -1], "scores_reverse": [7, 8]},
        {"scores": "n/a", "scores_reverse": [7, 8]},
        {"scores": [7], "scores_reverse": [7, 8]},
        {"scores": [7, None], "scores_reverse": [7, 8]},
        {"scores": [7, 8]},
        {"scores": [7, float("nan")], "scores_reverse": [7, 8]},
    ]
    pairs = read_both_orders(write(tmp_path / "r.json", rows))
    assert [pair.verdict for pair in pairs] == ["first", "tie", *[None] * 6]
    assert pairs[0].given == pairs[0].swapped == "first"
    assert swap_figures(pairs)["longer_wins"] is None  # no answers in the file


def test_alpaca_evals_annotations_in_both_orders(tmp_path):
    def row(one: str, two: str, preference) -> dict:
        return {"instruction": "q" + min(one, two), "output_1": one, "output_2": two, "preference": preference}

    path = tmp_path / "a.json"
    path.write_text(
        json.dumps([row("a", "bb", 1), row("bb", "a", 2), row("c", "d", 1.9), row("d", "c", 2)]), encoding="utf-8"
    )
    # a beats bb in both orders; d beats c, then c beats d.
    assert [pair.verdict for pair in read_both_orders(path)] == ["first", "tie"]
    path.write_text(json.dumps([row("a", "bb", 1), row("bb", "a", None), row("x", "y", 1)]), encoding="utf-8")
    with pytest.raises(ValueError, match="1 pairs stand there in one order only, 1 in both"):
        read_both_orders(path)
    path.write_text(json.dumps([row("a", "bb", 1)]), encoding="utf-8")
    with pytest.raises(ValueError, match="one order only: no two rows"):
        read_both_orders(path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"scores": [1, 2]}], "scores in one order only"),
        ([{"x": 1}], "no judgements in both orders"),
        ([], "is empty"),
        ([{"scores": [10**400, 1], "scores_reverse": [1, 2]}], "r.json: none of the 1 pairs has a verdict"),
        ([{"scores": "?", "scores_reverse": "?"}], "r.json: none of the 1 pairs has a verdict in both orders"),
    ],
)
def test_wrong_files_are_one_line_of_error(tmp_path, capsys, rows, said):
    assert main(["eval", "swap", str(write(tmp_path / "r.json", rows))]) == 1
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert said in error
