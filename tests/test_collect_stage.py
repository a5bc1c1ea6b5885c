"""The import stage: what is kept, what is set aside, and that a smaller draw is part of a larger one."""

import json
from pathlib import Path

import pytest

from camelid.collect.stage import ImportSettings, import_data
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Preference, Prompt, read_records


def alpaca(*pairs):
    return [{"instruction": instruction, "output": output} for instruction, output in pairs]


def write_lines(path: Path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_import(tmp_path, inputs, record=Conversation, **settings):
    stage = Stage("data", import_data, ImportSettings(**settings), inputs)
    path = execute([stage], tmp_path / "run")["data"]
    aside = [json.loads(line) for line in (path / "set_aside.jsonl").read_text().splitlines()]
    return read_records(path / "rows.jsonl", record), aside, read_manifest(path)["metrics"]


def questions(rows):
    return [row.messages[0].content for row in rows]


def test_rows_are_taken_from_all_files_once(tmp_path):
    a = write_lines(tmp_path / "a.jsonl", alpaca(("one", "1"), ("two", "2"), ("bad", "")))
    b = write_lines(tmp_path / "b.jsonl", alpaca(("two", "2"), ("three", "3")))
    rows, aside, metrics = run_import(tmp_path, {"data": [a, b]}, licence="MIT")
    assert [(row.messages[0].content, row.source, row.licence) for row in rows] == [
        ("one", "a.jsonl", "MIT"),
        ("two", "a.jsonl", "MIT"),
        ("three", "b.jsonl", "MIT"),
    ]
    assert [(Path(row["file"]).name, row["line"], row["reason"].partition(";")[0]) for row in aside] == [
        ("a.jsonl", 3, "empty answer: turn 2 (assistant) has no text"),
        ("b.jsonl", 1, "repeats row with the same content: a.jsonl, line 2"),
    ]
    assert metrics == {
        "read": 5,
        "kept": 3,
        "set_aside": 2,
        "not_drawn": 0,
        "set_aside_by_reason": {"empty answer": 1, "repeats row with the same content": 1},
        "formats": {"a.jsonl": "alpaca", "b.jsonl": "alpaca"},
        "excluded_prompts": 0,
        "excluded_prompts_not_read": 0,
    }


def test_rows_that_repeat_an_evaluation_prompt_in_any_turn_are_set_aside(tmp_path):
    talk = [("user", "Hello"), ("assistant", "Hi"), ("user", "what's the CAPITAL of france"), ("assistant", "Paris")]
    rows = [
        {"messages": [{"role": role, "content": content} for role, content in talk]},
        {
            "messages": [
                {"role": "user", "content": "Sing"},
                {"role": "assistant", "content": "What's the capital of France?"},
            ]
        },
    ]
    data = write_lines(tmp_path / "a.jsonl", rows)
    exclude = write_lines(tmp_path / "eval.jsonl", [{"question_id": 1, "turns": ["What's the capital of France?"]}])
    kept, aside, metrics = run_import(tmp_path, {"data": data, "exclude": exclude})
    assert questions(kept) == ["Sing"]  # an answer that quotes the question is no repeat
    assert aside[0]["reason"].startswith(
        "repeats an evaluation prompt: 100% of 5-grams shared with \"What's the capital"
    )
    assert aside[0]["line"] == 1
    assert metrics["excluded_prompts"] == 1


def test_prompts_that_could_not_be_excluded_are_counted_and_written(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", alpaca(("one", "1")))
    exclude = write_lines(tmp_path / "eval.jsonl", [{"prompt": "two"}, {"prompt": "two"}, {"prompt": ""}])
    _, aside, metrics = run_import(tmp_path, {"data": data, "exclude": [exclude]})
    assert (metrics["excluded_prompts"], metrics["excluded_prompts_not_read"], metrics["set_aside"]) == (1, 1, 0)
    assert [(Path(row["file"]).name, row["line"]) for row in aside] == [("eval.jsonl", 3)]


def test_an_exclude_file_without_prompts_is_an_error(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", alpaca(("one", "1")))
    exclude = write_lines(tmp_path / "eval.jsonl", [])
    with pytest.raises(ValueError, match="holds no prompt, so that nothing would be excluded"):
        run_import(tmp_path, {"data": data, "exclude": exclude})


def test_long_rows_are_set_aside(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", alpaca(("one two", "three"), ("one two", "three four")))
    kept, aside, _ = run_import(tmp_path, {"data": data}, max_words=3)
    assert questions(kept) == ["one two"]
    assert aside[0]["reason"] == "too long: 4 words, the limit is 3"


def test_draws_depend_on_the_seed_alone_and_grow_by_rows(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", alpaca(*((f"question {i}", "x") for i in range(200))))
    draws = {
        (number, seed): questions(run_import(tmp_path, {"data": data}, max_rows=number, seed=seed)[0])
        for number, seed in [(20, 0), (50, 0), (50, 1), (500, 0)]
    }
    assert [len(rows) for rows in draws.values()] == [20, 50, 50, 200]
    assert set(draws[20, 0]) < set(draws[50, 0]) < set(draws[500, 0])
    assert draws[50, 0] != draws[50, 1]
    assert draws[50, 0] == sorted(draws[50, 0], key=lambda q: int(q.split()[1]))  # in the file's order
    assert draws[50, 0] != draws[500, 0][:50]  # and not its head
    metrics = run_import(tmp_path, {"data": data}, max_rows=50)[2]
    assert (metrics["read"], metrics["kept"], metrics["not_drawn"], metrics["set_aside"]) == (200, 50, 150, 0)


def test_preferences_and_prompts(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", [{"prompt": "Why?", "chosen": "a b", "rejected": "c"}])
    (pair,), _, _ = run_import(tmp_path, {"data": data}, Preference, kind="preferences", max_words=4)
    assert (pair.chosen, pair.rejected) == ("a b", "c")  # four words: the prompt's and both answers'
    (prompt,), _, _ = run_import(tmp_path, {"data": data}, Prompt, kind="prompts")
    assert prompt.prompt == pair.prompt


def test_nothing_left_is_an_error_that_says_why_and_leaves_the_reasons(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", alpaca(("one", ""), ("two", " ")))
    with pytest.raises(ValueError, match=r"no conversations are left of .*a\.jsonl: 2 empty answer"):
        run_import(tmp_path, {"data": data})
    (aside,) = (tmp_path / "run").glob("data-*/set_aside.jsonl")
    assert len(aside.read_text().splitlines()) == 2


def test_strict_stops_at_the_first_bad_row(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", alpaca(("one", "1"), ("two", "")))
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: empty answer: turn 2 \(assistant\) has no text; write it"):
        run_import(tmp_path, {"data": data}, strict=True)


def test_what_the_stage_leaves_can_be_imported_again(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", alpaca(("one", "1"), ("two", "2")))
    stage = Stage("data", import_data, ImportSettings(licence="MIT"), {"data": data})
    rows = execute([stage], tmp_path / "first")["data"] / "rows.jsonl"
    again, aside, metrics = run_import(tmp_path, {"data": rows})
    assert again == read_records(rows, Conversation)
    assert (aside, metrics["formats"]) == ([], {"rows.jsonl": "camelid"})


def test_tags_and_what_verdicts_are_on_come_from_the_settings(tmp_path):
    hh = "\n\nHuman: How do I hurt him?\n\nAssistant: "
    data = write_lines(tmp_path / "a.jsonl", [{"chosen": hh + "Please don't.", "rejected": hh + "Like so."}])
    plain, _, _ = run_import(tmp_path, {"data": data}, Preference, kind="preferences")
    rows, _, _ = run_import(tmp_path, {"data": data}, Preference, kind="preferences", about="safety", tags=("unsafe",))
    assert (plain[0].kind, plain[0].tags) == ("helpfulness", ())
    assert (rows[0].kind, rows[0].tags, rows[0].id) == ("safety", ("unsafe",), plain[0].id)


def test_what_is_no_verdict_cannot_be_on_something(tmp_path):
    with pytest.raises(ValueError, match="conversations are none"):
        ImportSettings(about="safety")
