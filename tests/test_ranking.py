"""Many models on one scale: `camelid eval rank`."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from camelid.cli import main
from camelid.evaluate import ranking
from camelid.evaluate.judgements import Judgement
from camelid.evaluate.ranking import rank_files
from camelid.types import write_records
from real_data import DATA as REAL_DATA
from real_data import needs_data

DATA = REAL_DATA / "preferences"


def judgement(prompt: int, first: str, second: str, preference: float | None, annotator: str = "") -> Judgement:
    return Judgement(
        prompt=str(prompt), first_model=first, second_model=second, preference=preference, annotator=annotator
    )


def write(path: Path, rows: list[Judgement]) -> str:
    write_records(path, rows)
    return str(path)


def chain(tmp_path: Path) -> str:
    """a beats b on 2 of 3 instructions, b beats c on 4 of 5; a judgement failed."""
    rows = [judgement(i, "a", "b", float(i == 0)) for i in range(3)]
    rows += [judgement(i, "b", "c", float(i == 0)) for i in range(5)]
    return write(tmp_path / "chain.jsonl", [*rows, judgement(9, "a", "c", None)])


def test_ratings_of_a_hand_computed_chain(tmp_path):
    result = rank_files([chain(tmp_path)], anchor="b", anchor_rating=1500)
    ratings = {m.model: m.rating.value for m in result.models}
    assert [m.model for m in result.models] == ["a", "b", "c"]
    # 400 log10 of the odds 2 and 4: 120.4 and 240.8; of so few the prior takes up to 4 points off.
    assert ratings["a"] - 1500 == pytest.approx(120.4, abs=4)
    assert 1500 - ratings["c"] == pytest.approx(240.8, abs=4)
    assert result.models[1].rating[:3] == (1500, 1500, 1500)
    assert (result.num_judgements, result.num_invalid, result.num_instructions) == (8, 1, 5)
    assert [(m.wins, m.losses, m.ties) for m in result.models] == [(2, 1, 0), (5, 3, 0), (1, 4, 0)]
    assert result.models[0].share_won == pytest.approx(2 / 3)


def test_without_an_anchor_the_mean_is_1000_and_the_order_of_files_and_sides_does_not_matter(tmp_path):
    file = chain(tmp_path)
    result = rank_files([file])
    assert np.mean([m.rating.value for m in result.models]) == pytest.approx(1000)
    rows = [Judgement.model_validate_json(line) for line in Path(file).read_text("utf-8").splitlines()]
    turned = [
        judgement(int(j.prompt), j.second_model, j.first_model, None if j.preference is None else 1 - j.preference)
        for j in rows
    ]
    again = rank_files([write(tmp_path / "1.jsonl", turned[:4]), write(tmp_path / "2.jsonl", turned[4:])])
    assert [m.model for m in again.models] == [m.model for m in result.models]
    assert np.array([m.rating for m in again.models]) == pytest.approx(np.array([m.rating for m in result.models]))


def test_a_tie_counts_half_for_each(tmp_path):
    rows = [judgement(i, "a", "b", 0.5) for i in range(4)]
    first, second = rank_files([write(tmp_path / "ties.jsonl", rows)]).models
    assert first.rating.value == second.rating.value == pytest.approx(1000)
    assert (first.ties, first.share_won) == (4, 0.5)


def test_intervals_come_from_instructions_not_from_judgements(tmp_path):
    """Ten judges who always agree tell no more than one: the interval stays as wide."""
    outcomes = [float(i % 3 == 0) for i in range(30)]
    once = [judgement(i, "a", "b", y) for i, y in enumerate(outcomes)]
    one = rank_files([write(tmp_path / "one.jsonl", once)]).models[0].rating
    ten = rank_files([write(tmp_path / "ten.jsonl", once * 10)]).models[0].rating
    assert (ten.high - ten.low) == pytest.approx(one.high - one.low, rel=0.05)
    # Of independent judgements they would be narrower by sqrt(10).
    independent = [judgement(30 * k + i, "a", "b", y) for k in range(10) for i, y in enumerate(outcomes)]
    many = rank_files([write(tmp_path / "many.jsonl", independent)]).models[0].rating
    assert (one.high - one.low) / (many.high - many.low) == pytest.approx(math.sqrt(10), rel=0.2)


def test_who_wins_everything_is_on_top_and_marked(tmp_path, capsys):
    rows = [judgement(i, "a", "b", float(i % 2)) for i in range(10)] + [
        judgement(i, "b", "best", 1.0) for i in range(9)
    ]
    file = write(tmp_path / "best.jsonl", rows)
    result = rank_files([file])
    assert [m.beyond_measure for m in result.models] == [True, False, False]
    assert result.models[0].model == "best"
    assert np.isfinite(result.models[0].rating).all()
    assert main(["eval", "rank", file]) == 0
    assert "only the direction of the rating is known: best" in capsys.readouterr().err


@needs_data
def test_the_models_of_alpaca_eval_stand_in_the_order_of_their_win_rates(capsys):
    """All twelve met the same opponent on the same instructions, so Bradley-Terry has to agree with the win rates."""
    files = sorted(str(path) for path in (DATA / "alpaca_eval_gpt4").glob("*.json"))
    assert main(["eval", "rank", "--json", "--anchor", "text_davinci_003", *files]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n"], result["invalid"], result["instructions"]) == (9656, 4, 805)
    rated = {m["model"]: m for m in result["models"]}
    assert rated["text_davinci_003"]["rating_interval"] == [1000, 1000]
    others = [m for m in result["models"] if m["model"] != "text_davinci_003"]
    assert [m["share_won"] for m in others] == sorted((m["share_won"] for m in others), reverse=True)
    # Against one opponent the rating is the log-odds of the win rate: gpt4 95.28%, 400 log10(95.28 / 4.72) = 522.
    assert rated["gpt4"]["rating"] == pytest.approx(1000 + 522, abs=1)
    assert rated["gpt4"]["rating_interval"][0] < 1522 < rated["gpt4"]["rating_interval"][1]
    assert rated["gpt4"]["rank_interval"] == [1, 1]
    assert rated["vicuna-13b"]["rank_interval"] == [5, 7]


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ([judgement(0, "a", "b", 1.0), judgement(0, "c", "d", 1.0)], (), "a, b | c, d"),
        ([judgement(0, "a", "b", None)], (), "bad.jsonl: all 1 judgements failed"),
        ([judgement(0, "a", "a", 1.0)], (), "a is compared with itself"),
        ([judgement(0, "a", "b", 1.0)], ("--anchor", "z"), "no model 'z' to anchor the scale at; there are a, b"),
        ([], (), "is empty"),
    ],
)
def test_what_cannot_be_ranked_is_an_error(tmp_path, capsys, rows, words, message):
    assert main(["eval", "rank", "--json", write(tmp_path / "bad.jsonl", rows), *words]) == 1
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


def test_mixed_judges_are_told_of(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ranking, "NUM_RESAMPLES", 20)
    rows = [judgement(i, "a", "b", float(i % 2), annotator=f"judge {i % 2}") for i in range(6)]
    assert main(["eval", "rank", write(tmp_path / "mixed.jsonl", rows)]) == 0
    assert "judges are mixed (judge 0, judge 1)" in capsys.readouterr().err
