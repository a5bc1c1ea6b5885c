"""Published comparisons as preferences: LLMBar's, AlpacaEval's and PandaLM's rows."""

import json
from collections import Counter

import pytest

from camelid.collect.check import check
from camelid.collect.drafts import Unfit
from camelid.collect.formats import judged, recognise
from camelid.collect.readers import read
from camelid.types import Preference, Prompt
from real_data import DATA as REAL_DATA
from real_data import needs_data

DATA = REAL_DATA / "preferences"

LLMBAR = {"input": "Add 1 and 2.", "output_1": "3", "output_2": "4", "label": 1}
ALPACA_EVAL = {"instruction": "Say hi.", "output_1": "Hi.", "output_2": "Hello!", "preference": 2}
PANDALM = {"instruction": "Add.", "input": "1 and 2", "response1": "3", "response2": "4"}


def votes(*verdicts) -> dict:
    return PANDALM | {f"annotator{i}": verdict for i, verdict in enumerate(verdicts, 1)}


@pytest.mark.parametrize(
    ("row", "chosen", "question"),
    [
        (LLMBAR, "3", "Add 1 and 2."),
        (LLMBAR | {"label": 2}, "4", "Add 1 and 2."),
        (ALPACA_EVAL, "Hello!", "Say hi."),
        (ALPACA_EVAL | {"preference": 1.3}, "Hi.", "Say hi."),
        (ALPACA_EVAL | {"preference": 1.8}, "Hello!", "Say hi."),
        (votes(1, 1, 2), "3", "Add.\n\n1 and 2"),
        (votes(0, 2, 2), "4", "Add.\n\n1 and 2"),
    ],
)
def test_the_better_answer_is_chosen(row, chosen, question):
    assert recognise(row) == "judged"
    draft = judged.parse(row)
    assert draft.chosen == chosen
    assert draft.rejected != chosen
    assert draft.turns[0].content == question


@pytest.mark.parametrize(
    "row", [ALPACA_EVAL | {"preference": 0}, ALPACA_EVAL | {"preference": 1.5}, votes(0, 1, 2), votes(0, 0, 1)]
)
def test_a_tie_is_no_preference_but_gives_its_prompt(row, tmp_path):
    path = tmp_path / "ties.json"
    path.write_text(json.dumps([row]))
    assert read(path, want=Preference).by_reason == {"tie": 1}
    assert len(read(path, want=Prompt).rows) == 1


@pytest.mark.parametrize(
    "row",
    [
        LLMBAR | {"label": 3},
        LLMBAR | {"label": None},
        LLMBAR | {"label": True},
        ALPACA_EVAL | {"preference": 0.5},
        ALPACA_EVAL | {"preference": "2"},
        votes(1, 1, 7),
    ],
)
def test_what_is_no_verdict_is_set_aside_but_gives_its_prompt(row, tmp_path):
    path = tmp_path / "unclear.json"
    path.write_text(json.dumps([row]))
    assert read(path, want=Preference).by_reason == {"no verdict": 1}
    assert len(read(path, want=Prompt).rows) == 1


def test_a_row_without_two_answers():
    with pytest.raises(Unfit, match="no two answers"):
        judged.parse({"instruction": "Say hi.", "label": 1})


def test_rows_without_a_verdict_are_of_another_format():
    assert recognise({"instruction": "Say hi.", "output": "Hi.", "generator": "g"}) == "alpaca"
    assert recognise({key: value for key, value in ALPACA_EVAL.items() if key != "preference"}) == "alpaca"


@needs_data
def test_the_majority_of_pandalm():
    # 472 for the second answer, 422 for the first, 105 undecided; some of the decided have an empty answer or repeat.
    rows = json.loads((DATA / "pandalm_testset.json").read_text())
    majority = [Counter(row[f"annotator{i}"] for i in (1, 2, 3)).most_common(1)[0] for row in rows]
    ties = sum(verdict == 0 or count == 1 for verdict, count in majority)
    report = check(DATA / "pandalm_testset.json")
    assert (report.format, report.rows, len(report.set_aside["tie"])) == ("judged", 999, ties)
    assert ties == 105
    assert report.verdict == "usable"


@needs_data
@pytest.mark.parametrize("folder", ["alpaca_eval_gpt4", "alpaca_eval_weighted"])
def test_every_verdict_of_alpaca_eval(folder):
    for path in sorted((DATA / folder).glob("*.json")):
        rows = json.loads(path.read_text())
        decided = [row for row in rows if row["preference"] not in (0, 1.5, None)]  # the judge's failures are null
        chosen = [row["output_2" if row["preference"] > 1.5 else "output_1"] for row in decided]
        result = read(path, want=Preference)
        assert not Counter(pair.chosen for pair in result.rows) - Counter(chosen), path.name
        assert result.by_reason.keys() <= {"tie", "no verdict", "empty answer", "equal answers"}, path.name
        undecided = [result.by_reason.get(reason, 0) for reason in ("tie", "no verdict")]
        assert sum(undecided) == len(rows) - len(decided)
