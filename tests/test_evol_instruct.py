"""Evol-Instruct: six ways drawn evenly, four rules, what fails goes back, the same however answers come."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import camelid
from camelid.cli import main
from camelid.collect.evol_instruct.prompts import KINDS, OURS, Prompts, read_equal
from camelid.collect.evol_instruct.stage import EvolInstructSettings, evol_instruct
from camelid.collect.wording import read_wording
from camelid.functional.chi_square import chi_square_fit
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Message, Prompt, iterate_json_lines, read_records, write_records
from chat_server import ChatServer, says
from real_data import DATA, needs_data
from tiny import user

PROMPTS = read_wording(OURS, Prompts)
MARKED = re.compile(r"#(?:Old|Sample) task#\n(.*?)\n\n#(?:Harder|New) task#\Z", re.DOTALL)
SORRY = "I am sorry, I cannot."


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def kind_in(text):
    """The way of evolving that a request asks for; empty for other requests."""
    if text.startswith(PROMPTS.in_breadth[:40]):
        return "breadth"
    return next((kind for kind, method in PROMPTS.methods.items() if method in text), "")


def plain(request):
    """Adds the way to an instruction, finds all of them new, and answers with what was asked."""
    marked = MARKED.search(request.text)
    if marked:
        return says(f"{marked[1]} +{kind_in(request.text)}")
    return says("Not equal" if request.text.startswith(PROMPTS.equal[:30]) else f"Done: {request.text}")


def run(root, url, texts, inputs=None, concurrency=8, **settings):
    rows = [
        text if isinstance(text, Prompt) else Prompt(prompt=user(text), licence="MIT", tags=("t",)) for text in texts
    ]
    write_records(root / "prompts.jsonl", rows)
    server = {"base_url": url, "model": "m-1", "backoff_seconds": 0, "concurrency": concurrency}
    values = EvolInstructSettings.model_validate({"teacher": {"server": server}, **settings})
    stage = Stage("evolve", evol_instruct, values, {"prompts": root / "prompts.jsonl", **(inputs or {})})
    path = execute([stage], root / "runs")["evolve"]
    return path, read_records(path / "demonstrations.jsonl", Conversation), read_manifest(path)["metrics"]


def lines(path, name):
    return list(iterate_json_lines(path / f"{name}.jsonl"))


@pytest.mark.parametrize(
    ("text", "equal"),
    [
        ("Equal", True),
        (" not  equal.\n", False),
        ("**Not Equal**", False),
        ("Equally hard", None),
        ("They are not equal", None),
        ("", None),
    ],
)
def test_verdicts(text, equal):
    assert read_equal(text) is equal


def test_the_kinds_of_evolution_are_drawn_evenly_and_asked_for_in_their_words(tmp_path):
    with ChatServer(plain) as server:
        path, _, metrics = run(tmp_path, server.url, [f"Count to {n}." for n in range(120)], rounds=2)
        asked = Counter(kind_in(request.text) for request in server.requests if MARKED.search(request.text))
    assert dict(asked) == metrics["tried_by_kind"] == metrics["kept_by_kind"] and set(asked) == set(KINDS)
    assert chi_square_fit(list(asked.values()), [1] * 6).p > 0.01
    # By a stream of its own: the same among fewer prompts.
    drawn = {note["evolved_from"]: note["kind"] for note in lines(path, "provenance") if note["round"] == 1}
    with ChatServer(plain) as server:
        path, _, _ = run(tmp_path, server.url, [f"Count to {n}." for n in range(100, 110)], rounds=1)
    assert {note["evolved_from"]: note["kind"] for note in lines(path, "provenance")}.items() <= drawn.items()


def test_rounds_build_on_each_other_and_every_one_leaves_rows(tmp_path):
    with ChatServer(plain) as server:
        path, rows, metrics = run(tmp_path, server.url, ["Count.", "Sing {first} of {method}."], rounds=3)
        assert len(server.requests) == 2 * 3 * 3
        bodies = [request.body for request in server.requests]
    assert metrics["kept"] == metrics["tried"] == len(rows) == 6 and metrics["kept_by_round"] == {
        "1": 2,
        "2": 2,
        "3": 2,
    }
    notes = {note["id"]: note for note in lines(path, "provenance")}
    for row in rows:
        note, (asked, answer) = notes[row.id], (message.content for message in row.messages)
        assert asked == f"{note['evolved_from']} +{note['kind']}" and asked.count("+") == note["round"]
        assert answer == f"Done: {asked}"
        assert (row.source, row.licence) == ("evolved by m-1", "MIT")
        assert row.tags == ("t", "evol-instruct", note["kind"], f"round-{note['round']}")
    assert sum(row.messages[0].content.startswith("Sing {first} of {method}. +") for row in rows) == 3
    assert {(b["temperature"], b.get("top_p"), b["max_tokens"]) for b in bodies} == {(1, 0.9, 2048), (0, None, 16)}
    assert metrics["words_more"] == pytest.approx(
        sum(len(re.findall(r"[a-z]+", note["kind"])) for note in notes.values()) / 6
    )


def test_each_rule_drops_and_what_it_drops_is_tried_again_in_the_next_round(tmp_path):
    """The name of a task says what goes wrong in the first round; in the second nothing does."""

    def answer(request):
        first = request.body.get("seed", 0) < 2000  # a round's seeds begin at a thousand times its number
        marked = MARKED.search(request.text)
        if not first:
            return plain(request)
        if marked and "Copied" in marked[1]:
            return says(f"#Harder task#\n{marked[1]} in verse")
        if marked and "Unchanged" in marked[1]:
            return says(f"  {marked[1]}\n")
        if marked and "Empty" in marked[1]:
            return says(" ")
        if marked:
            return plain(request)
        if request.text.startswith(PROMPTS.equal[:30]):
            return says("Equal." if "Alike" in request.text else "Who knows" if "Odd" in request.text else "not equal")
        if "Declined" in request.text:
            return says(SORRY)
        return says("It is what it is." if "Nothing" in request.text else f"Done: {request.text}")

    names = ["Copied", "Unchanged", "Empty", "Alike", "Odd", "Declined", "Nothing", "Good"]
    with ChatServer(answer) as server:
        path, rows, metrics = run(tmp_path, server.url, [f"{name} task of mine" for name in names], rounds=2)
        assert max(Counter(json.dumps(r.body, sort_keys=True) for r in server.requests).values()) == 1
        # What is dropped by its words costs no verdict, what has no verdict no answer.
        verdicts = [r.text for r in server.requests if r.text.startswith(PROMPTS.equal[:30]) and r.body["seed"] < 2000]
        assert {name for name in names for text in verdicts if name in text} == {*names[3:]}
    aside = {row["id"]: row for row in lines(path, "set_aside")}
    by_name = {p.prompt[0].content.split()[0]: p.id for p in read_records(tmp_path / "prompts.jsonl", Prompt)}
    assert {name: aside[by_name[name]]["reason"] for name in names[:-1]} == {
        "Copied": "copies the prompt: 'harder task'",
        "Unchanged": "no gain: the same words",
        "Empty": "evolution, empty",
        "Alike": "no gain: equal, says the teacher",
        "Odd": "verdict, no verdict",
        "Declined": "hard to answer: sorry in 5 words",
        "Nothing": "hard to answer: only punctuation and stop words",
    }
    assert len(aside) == 7 and {row["round"] for row in aside.values()} == {1}
    assert metrics["kept_by_round"] == {"1": 1, "2": 8}
    assert metrics["set_aside_by_reason"]["no gain"] == metrics["set_aside_by_reason"]["hard to answer"] == 2
    second = [row.messages[0].content for row in rows if "round-2" in row.tags]
    assert Counter(text.count("+") for text in second) == {1: 7, 2: 1}  # from where they were before


def test_the_same_whether_answers_come_one_by_one_or_in_any_order(tmp_path):
    def slowly(request):
        time.sleep(random.random() / 100)
        return plain(request)

    left = []
    for folder, concurrency in (("one", 1), ("sixteen", 16)):
        (tmp_path / folder).mkdir()
        with ChatServer(slowly) as server:
            path, _, _ = run(tmp_path / folder, server.url, [f"Sing {n}." for n in range(12)], concurrency=concurrency)
        left.append([(path / f"{name}.jsonl").read_bytes() for name in ("demonstrations", "set_aside")])
    assert left[0] == left[1]


def test_a_killed_run_goes_on_and_asks_nothing_twice_that_was_answered(tmp_path):
    process = None

    def answer(request):
        if process is not None and len(server.requests) == 15 and process.poll() is None:
            process.kill()
            process.wait()
        return plain(request)

    write_records(tmp_path / "prompts.jsonl", [Prompt(prompt=user(f"Sing {n}.")) for n in range(4)])
    words = ["--prompts", str(tmp_path / "prompts.jsonl"), "--set", "rounds=3", "--set", "teacher.server.model=m-1"]
    with ChatServer(answer) as server:
        words += ["--set", f"teacher.server.base_url={server.url}", "--set", "teacher.server.concurrency=1"]
        words += ["--out", str(tmp_path / "out")]
        process = subprocess.Popen(
            [sys.executable, "-m", "camelid.cli", "evol-instruct", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert process.wait() == -9
        assert main(["evol-instruct", *words]) == 0
        assert len(server.requests) == 4 * 3 * 3 + 1  # the one that was never answered goes out again
    (rows,) = (tmp_path / "out").glob("evol-instruct-*/demonstrations.jsonl")
    assert len(read_records(rows, Conversation)) == 12


@needs_data
def test_real_instructions_evolve(tmp_path):
    texts = [json.loads(line)["instruction"] for line in (DATA / "prompts/self_instruct_user_252.jsonl").open()][:60]
    with ChatServer(plain) as server:
        _, rows, metrics = run(tmp_path, server.url, list(dict.fromkeys(texts)), rounds=1, kinds=["breadth", "deepen"])
    assert metrics["kept"] == len(rows) == len(set(texts)) and set(metrics["kept_by_kind"]) == {"breadth", "deepen"}


def test_what_cannot_be_evolved_stops_the_stage(tmp_path):
    talk = Prompt(prompt=(*user("a"), Message(role="assistant", content="b"), *user("c")), source="talks")
    with ChatServer(plain) as server:
        with pytest.raises(ValueError, match=rf"prompt {talk.id} \(talks\) has 3 turns; single instructions"):
            run(tmp_path, server.url, ["Sing.", talk])
        with pytest.raises(ValueError, match=r"prompts\.jsonl has no prompt to evolve"):
            run(tmp_path, server.url, [])
        with pytest.raises(ValueError, match="kinds"):
            run(tmp_path, server.url, ["Sing."], kinds=["shorten"])
        assert server.requests == []


def test_words_of_ones_own_and_files_that_are_none(tmp_path):
    ours = json.loads((Path(camelid.__file__).parent / "collect/evol_instruct/prompts.json").read_text())
    file = tmp_path / "words.json"
    file.write_text(json.dumps({**ours, "source": "mine", "in_breadth": "Another one than {instruction}?"}))
    with ChatServer(lambda request: says("Not equal" if "Compare" in request.text else "Well.")) as server:
        path, _, _ = run(tmp_path, server.url, ["Sing."], {"wording": file}, kinds=["breadth"], rounds=1)
        assert server.requests[0].text == "Another one than Sing.?"
        assert [note["template"] for note in lines(path, "provenance")] == ["evol-instruct, words of mine"]
        few = {kind: text for kind, text in ours["methods"].items() if kind != "deepen"}
        for change, wrong in (
            ({"in_breadth": "Another one."}, r"wanted are the places \{instruction\}, once each; .* has none"),
            ({"equal": "{first} {first}"}, r"wanted are the places \{first\}, \{second\}, .* has \{first\}, \{first\}"),
            ({"methods": few}, "methods has no deepen"),
            ({"methods": {**few, "shorten": "x"}}, "methods.shorten"),
        ):
            file.write_text(json.dumps(ours | change))
            with pytest.raises(ValueError, match=rf"words\.json is no file of wording: .*{wrong}"):
                run(tmp_path, server.url, ["Sing."], {"wording": file})
