"""Explanation traces: whose questions get which system message, what is asked, what is kept; rationales as targets."""

from __future__ import annotations

import json
import re
from collections import Counter
from difflib import SequenceMatcher

import pytest

from camelid.collect.explanations.messages import (
    COLLECTIONS,
    SystemMessages,
    is_multiple_choice,
    load_system_messages,
    options_in,
)
from camelid.collect.explanations.rationales import TARGETS, RationaleSettings, rationale_targets
from camelid.collect.explanations.stage import ExplanationSettings, explanation_traces
from camelid.collect.readers import read
from camelid.functional.chi_square import chi_square_fit
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Message, Prompt, read_records, write_records
from chat_server import ChatServer, says
from real_data import DATA, needs_data

OURS = load_system_messages()
CHOICES = "Which is red?\nOptions:\n- the sky\n- blood"
TABLE = {  # recipes.md's row by row, as the paper has it
    ("cot", False): {6, 11, 16},
    ("cot", True): {6, 11, 16},
    ("niv2", False): {1, 2, 5, 7, 9, 12, 13, 14, 15},
    ("t0", True): {1, 2, 3, 5, 7},
    ("flan2021", True): {3, 4, 7, 8, 10},
    ("flan2021", False): {3, 4, 7},
}


def prompts(number, *tags, text="Question {}?"):
    return [Prompt(prompt=(Message(role="user", content=text.format(i)),), tags=tags) for i in range(number)]


# --- system messages ---


@pytest.mark.parametrize(("row", "numbers"), TABLE.items())
def test_messages_are_drawn_evenly_among_those_of_the_collection(row, numbers):
    collection, choices = row
    asked = prompts(2000, collection, text="{} " + CHOICES if choices else "Question {}?")
    drawn = Counter(OURS.draw(prompt, collection, seed=1).number for prompt in asked)
    assert set(drawn) == numbers
    assert chi_square_fit(list(drawn.values()), [1] * len(numbers)).p > 0.01


def test_a_questions_message_depends_on_nothing_but_the_question_and_the_seed():
    asked = prompts(50, "niv2")
    assert [OURS.draw(p, "niv2", 0) for p in asked[25:]] == [OURS.draw(p, "niv2", 0) for p in asked][25:]
    assert [OURS.draw(p, "niv2", 0) for p in asked] != [OURS.draw(p, "niv2", 1) for p in asked]


def test_messages_on_choices_go_to_questions_with_choices_only():
    for seed in range(3):
        for collection in COLLECTIONS:
            plain = {OURS.draw(p, collection, seed).number for p in prompts(300, collection)}
            assert not plain & {8, 10}
    tagged = prompts(300, "flan2021", "multiple-choice")
    assert {OURS.draw(p, "flan2021", 0).number for p in tagged} >= {8, 10}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (CHOICES, ["- the sky", "- blood"]),
        ("Solve.\nOPTIONS:\n(A) 1\n(B) 2\n\nAnswer:", ["(A) 1", "(B) 2"]),
        ("Choose.\nChoices:\na) x\nb) y\nand say why", ["a) x", "b) y"]),
        ("What are my options: stay or go?", []),
        ("Options:\nI have none.", []),
        ("- a\n- b", []),
    ],
)
def test_what_there_is_to_choose_from(text, options):
    assert options_in(text) == options
    assert is_multiple_choice(Prompt(prompt=(Message(role="user", content=text),))) == bool(options)


def test_all_sixteen_kinds_are_there_and_the_first_says_nothing():
    assert set(OURS.messages) == set(OURS.kinds) == set(range(1, 17))
    assert [n for n, text in OURS.messages.items() if not text] == [1]
    assert len(set(OURS.messages.values())) == 16


@needs_data
def test_the_papers_own_can_be_loaded_and_ours_are_in_other_words():
    theirs = load_system_messages(DATA / "prompts/orca_system_messages.json")
    assert theirs.sampled_by_collection == OURS.sampled_by_collection
    for number, text in theirs.messages.items():
        words = [re.findall(r"\w+", t.lower()) for t in (text, OURS.messages[number])]
        assert SequenceMatcher(None, *words).find_longest_match().size <= 6, number


def test_a_file_that_names_no_message_is_refused(tmp_path):
    content = OURS.model_dump(mode="json")
    file = tmp_path / "messages.json"
    for change, wrong in (
        ({"sampled_by_collection": {**content["sampled_by_collection"], "cot": [6, 17]}}, "cot: no message 17"),
        ({"sampled_by_collection": {**content["sampled_by_collection"], "t0": []}}, "t0: no messages are named"),
        ({"sampled_by_collection": {"cot": [6]}}, "it must have cot, flan2021_multiple_choice, flan2021_other"),
        ({"message": {}}, "Extra inputs"),
    ):
        file.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match=wrong):
            load_system_messages(file)
    assert SystemMessages.model_validate(content) == OURS


# --- the stage ---


def traces(root, url, rows, **settings):
    write_records(root / "prompts.jsonl", rows)
    teacher = {"server": {"base_url": url, "model": "m-1", "backoff_seconds": 0}, "terms": "research only"}
    stage = Stage(
        "traces",
        explanation_traces,
        ExplanationSettings.model_validate({"teacher": teacher, **settings}),
        {"prompts": root / "prompts.jsonl"},
    )
    path = execute([stage], root / "runs")["traces"]
    return read_records(path / "demonstrations.jsonl", Conversation), read_manifest(path)["metrics"], path


def explain(request):
    """Nothing to one question; to others what system message there was."""
    if request.text == "Question 3?":
        return says("")
    first = request.body["messages"][0]
    return says(f"Since {first['content'] if first['role'] == 'system' else 'nothing'}: {request.text}")


def test_answers_become_demonstrations_under_the_message_that_was_asked_with(tmp_path):
    asked = prompts(30, "niv2") + prompts(6, "flan2021", text="{} " + CHOICES)
    with ChatServer(explain) as server:
        rows, metrics, path = traces(tmp_path, server.url, asked)
    assert metrics["num_prompts"] == metrics["asked"] == 36 and metrics["kept"] == len(rows) == 35
    assert metrics["set_aside_by_reason"] == {"empty": 1}
    assert [json.loads(line)["reason"] for line in (path / "set_aside.jsonl").open()] == ["empty"]
    assert metrics["collections"] == {"niv2": 30, "flan2021": 6}
    for row in rows:
        system = row.messages[0].content if row.messages[0].role == "system" else "nothing"
        assert row.messages[-1].content == f"Since {system}: {row.messages[-2].content}"
        (number,) = (int(tag.rpartition("-")[2]) for tag in row.tags if tag.startswith("system-message-"))
        assert OURS.messages[number] == ("" if system == "nothing" else system)
        assert "explanation" in row.tags
    assert any(row.messages[0].role == "user" for row in rows)  # the first message is none
    provenance = [json.loads(line) for line in (path / "provenance.jsonl").open()]
    assert [p["id"] for p in provenance] == [row.id for row in rows]
    assert {(p["teacher"], p["terms"]) for p in provenance} == {("m-1", "research only")}


def test_a_share_is_contained_in_a_larger_one_and_keeps_its_messages(tmp_path):
    asked = prompts(40, "t0")

    def questions(rows):
        return {row.messages[-2].content: row.messages[0].content for row in rows}

    with ChatServer(explain) as server:
        whole = questions(traces(tmp_path, server.url, asked)[0])
        half = questions(traces(tmp_path, server.url, asked, share=0.5)[0])
        fifth, metrics, _ = traces(tmp_path, server.url, asked, share=0.2)
    assert metrics["asked"] == 8
    assert questions(fifth).items() <= half.items() <= whole.items()


def test_prompts_that_cannot_be_asked_stop_the_stage(tmp_path):
    untagged = prompts(2)
    with ChatServer(explain) as server:
        with pytest.raises(ValueError, match=f"prompt {untagged[0].id} .* has no tag that names its collection"):
            traces(tmp_path, server.url, untagged)
        rows, metrics, _ = traces(tmp_path, server.url, untagged, collection="cot")
        assert len(rows) == 2 and metrics["collections"] == {"cot": 2}
        with pytest.raises(ValueError, match="is tagged cot and t0"):
            traces(tmp_path, server.url, prompts(1, "t0", "cot"))
        told = Prompt(prompt=(Message(role="system", content="Be."), *untagged[0].prompt), tags=("cot",))
        with pytest.raises(ValueError, match=f"prompt {told.id} .* has a system message already"):
            traces(tmp_path, server.url, [told])
        assert len(server.requests) == 2


# --- rationales ---

TSV = (
    "What is 2 + 2?\t4\tTwo and two are four.\n"
    'He said "no".\\nOptions:\\n- yes\\n- no\tno\t"No" is no.\n'
    "What is 2 + 2?\t4\tAgain.\n"
    "Why?\t\tBecause.\n"
    "half a row\n"
    "What is 3 + 3?\t6\tTwice three.\n"
)


def targets(root, *files, **settings):
    stage = Stage("rationales", rationale_targets, RationaleSettings(**settings), {"data": list(files)})
    path = execute([stage], root / "runs")["rationales"]
    rows = {target: read_records(path / f"{target}.jsonl", Conversation) for target in TARGETS}
    return rows, read_records(path / "held_out.jsonl", Prompt), read_manifest(path)["metrics"]


def test_one_set_of_questions_with_three_answers(tmp_path):
    (tmp_path / "a.tsv").write_text(TSV)
    rows, held_out, metrics = targets(tmp_path, tmp_path / "a.tsv", licence="MIT")
    assert metrics["set_aside_by_reason"] == {
        "repeats a question": 1,
        "no answer": 1,
        "wrong number of fields": 1,
    }
    assert (metrics["num_questions"], metrics["multiple_choice"], held_out) == (3, 1, [])
    assert [row.messages[-1].content for row in rows["answer"]] == ["4", "no", "6"]
    told = ["Two and two are four.\nSo the answer is 4.", '"No" is no.\nSo the answer is no.']
    assert [row.messages[-1].content for row in rows["rationale"]][:2] == told
    assert rows["answer"][1].messages[0].content == 'He said "no".\nOptions:\n- yes\n- no'
    for plain, explained in zip(rows["rationale"], rows["explained"], strict=True):
        assert explained.messages[1:] == plain.messages
        assert explained.messages[0].content in {OURS.messages[n] for n in (6, 11, 16)}
        assert explained.licence == "MIT"
    with pytest.raises(ValueError, match="held_out = 3 leaves nothing to learn of 3 questions"):
        targets(tmp_path, tmp_path / "a.tsv", held_out=3)
    with pytest.raises(ValueError, match=r"must have \{answer\}"):
        RationaleSettings(so="So it is.")


def test_a_file_of_rationales_is_read_by_every_stage(tmp_path):
    (tmp_path / "a.tsv").write_text(TSV)
    (tmp_path / "b.jsonl").write_text(json.dumps({"question": "Why?", "answer": "x", "rationale": "y \\n z"}) + "\n")
    talks = read(tmp_path / "a.tsv")
    assert talks.format == "rationales" and talks.lines == [1, 2, 3, 6]
    asked = read(tmp_path / "a.tsv", want=Prompt)
    assert [row.answer for row in asked.rows] == ["4", "no", "6"]
    (row,) = read(tmp_path / "b.jsonl").rows
    assert row.messages[-1].content == "y \\n z\nSo the answer is x."  # JSON has escapes of its own


@needs_data
def test_flans_files_give_their_rows_and_the_same_questions_are_held_out_of_all_targets(tmp_path):
    files = [DATA / f"explanations/{name}_train.tsv" for name in ("qasc", "strategyqa")]
    rows, held_out, metrics = targets(tmp_path, *files, held_out=100, licence="Apache-2.0")
    aside = sum(metrics["set_aside_by_reason"].values())
    assert metrics["num_questions"] + len(held_out) + aside == 1084 + 2061
    assert set(metrics["set_aside_by_reason"]) <= {"repeats a question"} and aside < 30
    assert Counter(prompt.source for prompt in held_out) == {file.name: 100 for file in files}
    asked = [{row.messages[-2].content for row in rows[target]} for target in TARGETS]
    assert asked[0] == asked[1] == asked[2]
    assert not asked[0] & {prompt.prompt[-1].content for prompt in held_out}
    # QASC's questions all list eight choices, StrategyQA's none.
    assert metrics["multiple_choice"] == sum(row.source == files[0].name for row in rows["answer"])
    counts = metrics["system_messages"]
    assert set(counts) == {"6", "11", "16"}
    assert chi_square_fit(list(counts.values()), [1, 1, 1]).p > 0.01
