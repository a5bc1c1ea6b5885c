"""Prompts kept from training, and recorded judgements as preferences: nothing stands on both sides."""

import json

import pytest

from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.collect.judgements import JudgementSettings, import_judgements
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Message, Preference, Prompt, read_records, write_records
from real_data import DATA, needs_data

JUDGED = DATA / "preferences" / "alpaca_eval_gpt4"


def asked(text):
    return Message(role="user", content=text)


def run(function, settings, root, **inputs):
    path = execute([Stage("stage", function, settings, inputs)], root)["stage"]
    return path, read_manifest(path)["metrics"]


@pytest.fixture
def conversations(tmp_path):
    rows = [
        Conversation(
            messages=(asked(f"Tell me of number {i} and why."), Message(role="assistant", content=f"It is {i}."))
        )
        for i in range(20)
    ]
    # The same prompts again, each inside a longer one: 5-grams tell.
    rows += [
        Conversation(
            messages=(asked(f"Please: tell me of number {i} and why."), Message(role="assistant", content=f"No, {i}!"))
        )
        for i in range(20)
    ]
    write_records(tmp_path / "rows.jsonl", rows)
    return tmp_path / "rows.jsonl"


def test_no_held_out_prompt_is_trained_on(tmp_path, conversations):
    path, metrics = run(hold_out, HoldOutSettings(held_out=8), tmp_path, conversations=conversations)
    train, reference = (read_records(path / f"{name}.jsonl", Conversation) for name in ("train", "reference"))
    prompts = read_records(path / "prompts.jsonl", Prompt)
    assert [p.prompt for p in prompts] == [r.messages[:-1] for r in reference]
    assert [p.id for p in prompts] == [r.id for r in reference]
    assert len(reference) == 8
    numbers = {r.messages[0].content.split("number ")[1] for r in reference}
    assert not numbers & {r.messages[0].content.split("number ")[1] for r in train}
    assert metrics["repeats_dropped"] == 40 - 8 - len(train) > 0
    assert all("helpful" in prompt.tags for prompt in prompts)


def test_holding_everything_out_is_an_error(tmp_path, conversations):
    with pytest.raises(ValueError, match="leaves nothing to imitate: there are 40"):
        run(hold_out, HoldOutSettings(held_out=40), tmp_path, conversations=conversations)


def judgement(number, preference, **changes):
    row = {"instruction": f"Ask {number} of me", "output_1": "first", "output_2": "second", "preference": preference}
    return row | changes


def bring_in(tmp_path, rows, **settings):
    (tmp_path / "judged.json").write_text(json.dumps(rows))
    write_records(tmp_path / "held.jsonl", [Prompt(prompt=(asked("Ask 0 of me"),))])
    return run(
        import_judgements,
        JudgementSettings(**settings),
        tmp_path / "run",
        judgements=tmp_path / "judged.json",
        held_out=tmp_path / "held.jsonl",
    )


def test_judgements_are_split_by_instruction_and_ties_and_failures_counted(tmp_path):
    rows = [
        judgement(0, 1),
        judgement(0, 2),
        judgement(1, 2),
        judgement(2, 1.2),
        judgement(3, 0),
        judgement(4, 1.5),
        judgement(5, None),
        judgement(6, float("nan")),
        judgement(7, 1, output_2=" "),
        judgement(8, 1, output_1="word " * 7),
    ]
    path, metrics = bring_in(tmp_path, rows, max_words=10)
    test, train = (read_records(path / f"{name}.jsonl", Preference) for name in ("test", "train"))
    assert [(p.prompt[0].content, p.chosen) for p in test] == [("Ask 0 of me", "first"), ("Ask 0 of me", "second")]
    assert [(p.prompt[0].content, p.chosen) for p in train] == [("Ask 1 of me", "second"), ("Ask 2 of me", "first")]
    assert {k: v for k, v in metrics.items() if "dropped" in k} == {
        "dropped_tie": 2,
        "dropped_failed": 2,
        "dropped_same_generator": 0,
        "dropped_empty": 1,
        "dropped_too_long": 1,
    }


def test_graded_judgements_are_rated_by_how_sure_the_judge_was(tmp_path):
    sure = [1.0005, 1.04, 1.2, 1.3, 1.7, 1.96, 2.0]
    rows = [judgement(n, p, generator_1="a", generator_2="b") for n, p in enumerate(sure, 1)]
    rows.append(judgement(9, 1, generator_1="a", generator_2="a"))
    (tmp_path / "judged.json").write_text(json.dumps(rows))
    path, metrics = run(
        import_judgements, JudgementSettings(graded=True), tmp_path / "run", judgements=tmp_path / "judged.json"
    )
    found = read_records(path / "train.jsonl", Preference)
    assert [(p.rating, p.chosen) for p in found] == [
        ("significantly better", "first"),
        ("better", "first"),
        ("slightly better", "first"),
        ("negligibly better", "first"),
        ("negligibly better", "second"),
        ("better", "second"),
        ("significantly better", "second"),
    ]
    assert metrics["dropped_same_generator"] == 1
    assert not (path / "test.jsonl").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no list of judgements, or an empty one"),
        ({"a": 1}, "no list of judgements"),
        ([{"instruction": "a", "output_1": "b"}], "row 1: no output_2, preference"),
        ([judgement(1, 3)], "row 1: preference 3"),
        ([judgement(1, 2)], "no judgement is left to test on: 1 were read"),
    ],
)
def test_wrong_judgements_are_errors(tmp_path, rows, said):
    with pytest.raises(ValueError) as error:
        bring_in(tmp_path, rows)
    assert said in str(error.value)


@needs_data
def test_alpaca_evals_judgements_are_read(tmp_path):
    rows = json.loads((JUDGED / "gpt4.json").read_text())
    write_records(tmp_path / "held.jsonl", [Prompt(prompt=(asked(row["instruction"]),)) for row in rows[:100]])
    settings = JudgementSettings(max_rows=0, max_test_rows=0, max_words=0)
    files = {"judgements": [JUDGED / "gpt4.json"], "held_out": tmp_path / "held.jsonl"}
    path, metrics = run(import_judgements, settings, tmp_path, **files)
    assert metrics["num_train"] + metrics["num_test"] + metrics["dropped_tie"] + metrics["dropped_empty"] == 805
    # gpt4 (output_2) beats text-davinci-003 in nearly all: published 95.3%.
    gpt4 = {row["instruction"]: row["output_2"] for row in rows}
    chosen = [*read_records(path / "train.jsonl", Preference), *read_records(path / "test.jsonl", Preference)]
    assert sum(p.chosen == gpt4[p.prompt[0].content] for p in chosen) / len(chosen) == pytest.approx(0.953, abs=0.01)
