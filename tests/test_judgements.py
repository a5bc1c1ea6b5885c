"""Files of judgements: what is read, what counts as failed, what is an error and says why."""

import json
import math
from pathlib import Path

import pytest

from camelid.evaluate.judgements import Judgement, from_alpaca_eval, read_judgements, two_models
from camelid.types import write_records


def row(preference: object = 2, **more) -> dict:
    return {
        "instruction": "Name a river.",
        "output_1": "The Po.",
        "generator_1": "old",
        "output_2": "The river Elbe.",
        "generator_2": "new",
        "annotator": "somebody",
        "preference": preference,
        **more,
    }


@pytest.mark.parametrize(
    ("code", "preference"),
    [
        (1, 0.0),
        (2, 1.0),
        (2.0, 1.0),
        (0, 0.5),
        (0.0, 0.5),
        (1.5, 0.5),
        (1.25, 0.25),
        (None, None),
        (math.nan, None),
        (-1, None),  # AlpacaEval's own code drops what is no preference
        (3, None),
        (0.5, None),
        (math.inf, None),
    ],
)
def test_codes_of_alpaca_eval(code, preference):
    assert from_alpaca_eval(row(code)).preference == preference


@pytest.mark.parametrize("code", ["2", True, [2], {"model": 1}])
def test_a_preference_of_another_kind_is_an_error(code):
    with pytest.raises(ValueError, match="is no number"):
        from_alpaca_eval(row(code))


def test_lengths_and_places():
    judgement = from_alpaca_eval(row(is_switched_outputs=True))
    assert judgement.length_difference == len("The river Elbe.") - len("The Po.") == 8
    assert judgement.shown_first == "second"
    assert from_alpaca_eval(row(is_switched_outputs=False)).shown_first == "first"
    assert from_alpaca_eval(row()).shown_first is None
    assert from_alpaca_eval(row(output_1=None)).length_difference is None


def test_an_array_lines_and_our_own_records_read_alike(tmp_path):
    rows = [row(2), row(None), row(1)]
    array, lines, own = tmp_path / "a.json", tmp_path / "a.jsonl", tmp_path / "own.jsonl"
    array.write_text(json.dumps(rows, indent=2), encoding="utf-8-sig")
    lines.write_text("\n".join(json.dumps(r) for r in rows) + "\n\n", encoding="utf-8")
    judgements = read_judgements(array)
    write_records(own, judgements)
    assert read_judgements(lines) == read_judgements(own) == judgements
    assert [j.preference for j in judgements] == [1.0, None, 0.0]
    assert two_models(array, judgements) == ("old", "new")


def test_nan_in_our_own_records_is_a_failed_judgement(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "a", "first_model": "x", "second_model": "y", "preference": NaN}\n', encoding="utf-8")
    assert read_judgements(path) == [Judgement(prompt="a", first_model="x", second_model="y")]


def lacking(column: str) -> str:
    return json.dumps([{k: v for k, v in row().items() if k != column}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"a": 1}\n', r"line 1: not a judgement: no column instruction, generator_1, .*it has a"),
        ("[1]", "row 1: a JSON object with two answers.* is wanted, not int 1"),
        (lacking("preference"), "no column preference; it has instruction"),
        (lacking("generator_2"), "no column generator_2"),
        (json.dumps([row(), row("A")]), "row 2: not a judgement: preference 'A' is no number"),
        (json.dumps([row(generator_2=7)]), "second_model: Input should be a valid string"),
        ('{"prompt": "a", "first_model": "x", "second_model": "y", "preference": 2}', "less than or equal to 1"),
        ('{"prompt": "a", "chosen": "x", "rejected": "y"}', "do not say which model"),
    ],
)
def test_wrong_files_say_where_and_why(tmp_path, text, message):
    path = tmp_path / "judgements.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        read_judgements(path)
    assert str(path) in str(error.value)


def test_a_win_rate_needs_one_pair_of_models():
    judgements = [from_alpaca_eval(row()), from_alpaca_eval(row(generator_2="newest"))]
    with pytest.raises(ValueError, match=r"2 second models \(new, newest\).*camelid eval rank"):
        two_models(Path("f.json"), judgements)
    with pytest.raises(ValueError, match=r"f\.json: the models are .* and ' '; .* a model with a name"):
        two_models(Path("f.json"), [from_alpaca_eval(row(generator_2=" "))])
