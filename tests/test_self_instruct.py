"""Self-instruct and Alpaca's way: what is asked, how replies are read, what is let in, the same in any order."""

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
from camelid.collect.readers import read
from camelid.collect.self_instruct.pool import Pool
from camelid.collect.self_instruct.replies import (
    read_examples,
    read_instructions,
    read_kind,
    read_labelled_examples,
    read_list,
)
from camelid.collect.self_instruct.seeds import read_seeds
from camelid.collect.self_instruct.stage import SelfInstructSettings, self_instruct
from camelid.functional.instruction_filters import unfit
from camelid.functional.rouge import rouge_l, rouge_words
from camelid.models.recorded import WAITS_FOR_A_TASK
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, iterate_json_lines, read_records
from chat_server import ChatServer, Response, says
from real_data import DATA, needs_data

SEEDS = Path(camelid.__file__).parent / "starter/seed_tasks.jsonl"
USAGE = {"prompt_tokens": 100, "completion_tokens": 50}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def cut(text, **more):
    """An answer that a limit of tokens ended."""
    body = json.loads(says(text, **more).body)
    body["choices"][0]["finish_reason"] = "length"
    return Response(body=json.dumps(body))


# --- replies ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Name a bird.\n10. name a\ttree. \n11 . 2 + 2?", ["Name a bird.", "Name a tree.", "2 + 2?"]),
        ("9. Name a bird.\n10. Ask NASA.", ["Name a bird.", "Ask NASA."]),
        ("Here is more:\n\n9. Name a bird.\n10.\n11. Sing.", ["Name a bird.", "Sing."]),
        ("Give 3. of 4.", ["Give 3. of 4."]),
        (" \n", []),
    ],
)
def test_a_numbered_list_is_read_with_or_without_its_first_number(text, expected):
    assert [task.instruction for task in read_instructions(text, 9).tasks] == expected


LIST = (
    " Add the numbers.\n4. Input:\n2 and 3\n4. Output:\n5\n###\n5. Instruction: Name a bird.\n5. Input:\n<noinput>\n"
    "5. Output:\n### Birds\n\nA wren.\n### 6. Instruction: Sing.\n6. Input: <NoInput>\n6. Output: La."
)
WHOLE = [("Add the numbers.", "2 and 3", "5"), ("Name a bird.", "", "### Birds\n\nA wren."), ("Sing.", "", "La.")]


def whole(tasks):
    return [(task.instruction, task.instance.input, task.instance.output) for task in tasks.tasks]


@pytest.mark.parametrize("before", ["", "4. Instruction:", "Sure!\n\n4. Instruction:", "###\n4. Instruction:"])
def test_a_list_of_whole_tasks_is_read_and_headings_end_none(before):
    found = read_list(before + LIST, 4, cut=False)
    assert (whole(found), found.wrong) == (WHOLE, ())


def test_a_list_that_was_cut_off_loses_its_last_task():
    found = read_list(LIST, 4, cut=True)
    assert whole(found) == WHOLE[:2] and [why for _, why in found.wrong] == ["cut off"]
    assert read_list("Half", 4, cut=True).wrong == (("4. Instruction:Half", "cut off"),)


@pytest.mark.parametrize(
    ("piece", "why"),
    [
        ("7. Instruction: a\n7. Output: b", "not in the form that was asked for"),
        ("7. Instruction: a\n7. Input: b\n8. Output: c", "not in the form that was asked for"),
        ("7. Instruction: a\n7. Output: b\n7. Input: c", "not in the form that was asked for"),
        ("7. Instruction: a\n7. Input: b\n7. Output: c\n7. Output: d", "not in the form that was asked for"),
        ("7. Instruction: a\n7. Input: b\n7. Output:", "empty output"),
        ("7. Instruction:\n7. Input: b\n7. Output: c", "empty instruction"),
        ("That was all.", "not in the form that was asked for"),
    ],
)
def test_what_is_no_whole_task_is_not_mended(piece, why):
    found = read_list(f"{LIST}\n###\n{piece}\n", 4, cut=False)
    assert whole(found) == WHOLE and found.wrong == ((piece, why),)


@pytest.mark.parametrize(
    ("text", "kind"),
    [(" Yes", True), ("no.", False), ("**YES**", True), ("Maybe", None), ("", None), ("Yesterday", None)],
)
def test_kinds(text, kind):
    assert read_kind(text) is kind


@pytest.mark.parametrize(
    ("text", "cut_off", "instances", "wrong"),
    [
        ("Example 1\na\nOutput: b\n\nExample 2\nInput: c\nOutput: d\n", False, [("a", "b"), ("c", "d")], ()),
        ("Output: just this", False, [("", "just this")], ()),
        ("\nJust that\nin two lines", False, [("", "Just that\nin two lines")], ()),
        ("Example 1\na\nOutput: b\nInput: c\nOutput: d", False, [("a", "b")], ()),
        ("Example 1\na\nOutput: b\nExample 2\nc\nOutput: hal", True, [("a", "b")], ("cut off",)),
        ("Example 1\na\nOutput: a", False, [], ("input and output are equal",)),
        ("Example 1\na\nOutput:\nExample 2\nb\nOutput: c:", False, [], ("empty output", "ends with a colon")),
        ("Example 1\na\nOutput: b\nExample 2\na\nOutput: b", False, [("a", "b")], ("a repeat",)),
        ("Example 1\na\nOutput: b\nExample 2\na\nOutput: c", False, [], ("one input with several outputs",) * 2),
        ("Example 1\nOutput: b\nExample 2\nOutput: c", False, [("", "b"), ("", "c")], ()),
        ("", False, [], ("empty output",)),
    ],
)
def test_examples(text, cut_off, instances, wrong):
    found = read_examples(text, cut=cut_off)
    assert ([(one.input, one.output) for one in found.instances], found.wrong) == (instances, wrong)


def test_labelled_examples():
    found = read_labelled_examples("Class label: good\nI like it.\nMuch.\n\nClass label: bad\nInput: No.", cut=False)
    assert [(one.input, one.output) for one in found.instances] == [("I like it.\nMuch.", "good"), ("No.", "bad")]
    found = read_labelled_examples("Class label: good\na\nClass label: bad\na", cut=False)
    assert (found.instances, found.wrong) == ((), ("one input with several outputs",) * 2)
    assert read_labelled_examples("Output: x", cut=False).instances == ()
    assert len(read_labelled_examples("Class label: a\nb\nClass label: c\nha", cut=True).instances) == 1


# --- the pool ---


@needs_data
def test_real_instructions_are_let_in_and_planted_copies_are_not():
    rows = json.loads((DATA / "conversations/alpaca_random_9k.json").read_text())
    texts = list(dict.fromkeys(row["instruction"] for row in rows))[:1500]
    pool = Pool([task.instruction for task in read_seeds(DATA / "conversations/seed_tasks.jsonl")], "alpaca", 0.7)
    for text in texts:
        assert pool.why_not(text) == ""  # known answer 6
        pool.take(text)
    stream = random.Random(0)
    for text in stream.sample([text for text in texts if len(text.split()) >= 9], 50):
        words = text.split()
        words[stream.randrange(1, len(words))] = "zzyzx"
        assert pool.why_not(" ".join(words)).startswith("near copy: 0.")
        assert pool.why_not(text.upper()).startswith("near copy: 1.000")


def test_the_most_similar_are_told_with_their_scores():
    pool = Pool(["Name a big bird of the sea.", "Sing a song about rain and snow."], "self-instruct", 0.7)
    assert pool.why_not("Name one big bird of the sea.").startswith("near copy: 0.857 with 'Name a big bird of the sea")
    assert pool.why_not("Plot a bird of the sea.") == "blacklist: plot"
    text = "Name a small bird of the wood."
    # Common words in order: name a bird of the: 5 of 7 and 7, 2 * 5 / 14.
    assert pool.why_not("Name a small bird in that wood.") == ""
    pool = Pool(["Name a big bird of the sea.", "Sing a song about rain and snow."], "self-instruct", 0.8)
    assert pool.take(text) == (("Name a big bird of the sea.", 0.7143), ("Sing a song about rain and snow.", 0.1429))


@needs_data
def test_both_files_of_seeds_are_read():
    for path in (SEEDS, DATA / "conversations/seed_tasks.jsonl"):
        tasks = read_seeds(path)
        assert (len(tasks), sum(task.is_classification for task in tasks)) == (175, 26)


# --- the stage, in three steps ---

VERBS = ("Count", "Weigh", "Praise", "Describe", "Translate", "Shorten", "Compare", "Judge", "Sort", "Paint")
THINGS = "abcdefghij"


def new_instruction(stream):
    words = [stream.choice(THINGS) * 3 + stream.choice(THINGS) * 3 for _ in range(5)]
    return f"{stream.choice(VERBS)} the {' '.join(words)}" + (" by label" if stream.random() < 0.3 else "")


def three_steps(request):
    """A teacher whose every answer depends on the request alone."""
    text, stream = request.text, random.Random(json.dumps(request.body, sort_keys=True))
    if text.endswith("\n9."):
        lines = [new_instruction(stream) for _ in range(6)] + ["Draw a map of the world", "Too short"]
        return says("\n".join([f" {lines[0]}", *(f"{n}. {line}" for n, line in enumerate(lines[1:], 10))]), usage=USAGE)
    if text.endswith("Is it classification?"):
        task = text.rpartition("Task: ")[2].partition("\n")[0]
        return says("Hm" if "Weigh" in task else "Yes" if "label" in task else "No", usage=USAGE)
    task = text.rpartition("Task: ")[2]
    if "Praise" in task:
        return says("Class label:" if "label" in task else "Output:", usage=USAGE)
    if task.endswith("label"):
        return cut(f"Class label: up\n{task} 1\nClass label: down\n{task} 2\nClass label: up\nhal", usage=USAGE)
    return says("".join(f"Example {n}\ninput {n}\nOutput: output {n} of {task}\n\n" for n in range(1, 8)), usage=USAGE)


def run(root, url="", seeds=SEEDS, inputs=None, concurrency=8, **settings):
    server = {"base_url": url, "model": "m-1", "backoff_seconds": 0, "concurrency": concurrency}
    teacher = settings.pop("teacher", {"server": server})
    values = SelfInstructSettings.model_validate({"teacher": teacher, "num_instructions": 40, **settings})
    stage = Stage("bootstrap", self_instruct, values, {"seeds": seeds, **(inputs or {})})
    path = execute([stage], root)["bootstrap"]
    return path, read_records(path / "demonstrations.jsonl", Conversation), read_manifest(path)["metrics"]


def lines(path, name):
    return list(iterate_json_lines(path / f"{name}.jsonl"))


def test_three_steps_ask_as_the_paper_does(tmp_path):
    with ChatServer(three_steps) as server:
        path, _, metrics = run(tmp_path, server.url, concurrency=1)
        texts = [request.text for request in server.requests]
        bodies = [request.body for request in server.requests]
    seeds = {" ".join(task.instruction.split()).rstrip(":") for task in read_seeds(SEEDS)}
    first = [text for text in texts if text.endswith("\n9.")]
    shown = [re.findall(r"^\d\. (.+)$", text, re.MULTILINE) for text in first]
    assert {len(eight) for eight in shown} == {8}
    own = [sum(text not in seeds for text in eight) for eight in shown]
    assert own[:5] == [0] * 5 and set(own[5:]) == {2}  # rounds of five; there is nothing to show in the first
    kinds = [text for text in texts if text.endswith("Is it classification?")]
    assert {(t.count("classification? Yes"), t.count("classification? No")) for t in kinds} == {(12, 19)}
    kept = {note["instruction"] for note in lines(path, "provenance")}
    labelled = [text for text in texts if "\nClass label:" in text]
    examples = [text for text in texts if "\nOutput:" in text]
    assert all("label" in t.rpartition("Task: ")[2] for t in labelled)
    assert not any("label" in t.rpartition("Task: ")[2] for t in examples)
    assert len(kinds) >= 40 and labelled and examples
    assert texts.index(labelled[0]) > max(map(texts.index, first + kinds))  # a step after the other
    by_text = dict(zip(texts, bodies, strict=True))
    assert by_text[first[0]]["presence_penalty"] == 2 and by_text[first[0]]["top_p"] == 0.5
    assert by_text[kinds[0]]["max_tokens"] == 3 and by_text[labelled[0]]["max_tokens"] == 300
    assert metrics["instructions"] == 40 and metrics["instructions_with_rows"] == len(kept) < 40
    assert metrics["requests_for_instructions"] == len(first)
    assert metrics["classification"] > 0


def test_what_is_kept_and_what_is_set_aside_with_its_reason(tmp_path):
    with ChatServer(three_steps) as server:
        path, rows, metrics = run(tmp_path, server.url)
    seeds = [row for row in rows if (row.source, row.licence) == ("camelid starter set", "Apache-2.0")]
    new = [row for row in rows if row.source == "self-instruct with m-1"]
    assert (len(seeds), len(new)) == (metrics["seeds_added"], metrics["kept"]) and len(seeds) == 175
    notes = {note["id"]: note for note in lines(path, "provenance")}
    assert set(notes) == {row.id for row in new}
    per_task = Counter(note["instruction"] for note in notes.values())
    for row in new:
        note = notes[row.id]
        instruction, _, given = row.messages[0].content.partition("\n\n")
        assert instruction == note["instruction"] and unfit(instruction) == ""
        assert ("classification" in row.tags) == note["is_classification"] == instruction.endswith("label")
        assert note["decoding"]["max_tokens"] == (300 if note["is_classification"] else 350)
        if note["is_classification"]:
            assert row.messages[1].content in ("up", "down") and given[:-2] == instruction
            assert per_task[instruction] == 2  # the third was cut off
        else:
            assert row.messages[1].content == f"output {given[-1]} of {instruction}"
            assert per_task[instruction] == 5  # of seven
        scores = [score for _, score in note["most_similar"]]
        assert scores == sorted(scores, reverse=True) and scores[0] <= 0.7 and len(scores) <= 10
        for text, score in note["most_similar"]:
            assert score == round(rouge_l(rouge_words(instruction), rouge_words(text)), 4)
    reasons = metrics["set_aside_by_reason"]
    assert reasons["blacklist"] == reasons["too short"] == 40 // 6  # six good ones a reply; none is read after the 40th
    assert metrics["requests_for_instructions"] == 10
    aside = lines(path, "set_aside")
    weighed = [row for row in aside if row["reason"] == "neither yes nor no to classification"]
    praised = [row for row in aside if row["reason"].startswith("no instance of use")]
    assert weighed and all("Weigh" in row["text"] for row in weighed)
    assert praised and all("Praise" in row["text"] for row in praised)
    assert Counter(row["reason"].partition(":")[0] for row in aside) == reasons
    asked = metrics["teacher_requests"]
    assert metrics["tokens_a_row"] == pytest.approx(asked * 150 / len(new))


def slowly(request):
    """The same answers in an order that nobody knows."""
    time.sleep(random.random() / 100)
    return three_steps(request)


def test_the_same_whether_answers_come_one_by_one_or_in_any_order(tmp_path):
    left = []
    for folder, concurrency, answer in (("one", 1, three_steps), ("sixteen", 16, slowly)):
        with ChatServer(answer) as server:
            path, _, _ = run(tmp_path / folder, server.url, concurrency=concurrency)
        notes = [
            {
                name: value
                for name, value in note.items()
                if name not in ("request", "instruction_request", "answered_at")
            }
            for note in lines(path, "provenance")
        ]
        left.append([(path / f"{name}.jsonl").read_text() for name in ("demonstrations", "set_aside")] + [notes])
    assert left[0] == left[1]


@pytest.mark.parametrize("kill_at", [8, 30])
def test_a_killed_run_goes_on_and_asks_nothing_twice_that_was_answered(tmp_path, kill_at):
    process = None

    def answer(request):
        if process is not None and len(server.requests) == kill_at and process.poll() is None:
            process.kill()
            process.wait()
        return three_steps(request)

    words = ["--set", "num_instructions=20", "--set", "teacher.server.concurrency=1"]
    words += ["--set", "teacher.server.model=m-1", "--seeds", str(SEEDS)]
    with ChatServer(answer) as server:
        words += ["--set", f"teacher.server.base_url={server.url}", "--out"]
        command = [sys.executable, "-m", "camelid.cli", "self-instruct", *words, str(tmp_path / "killed")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert process.wait() == -9
        assert main(["self-instruct", *words, str(tmp_path / "killed")]) == 0
        bodies = Counter(json.dumps(request.body, sort_keys=True) for request in server.requests)
        assert [count for count in bodies.values() if count > 1] == [2]  # the one that was never answered
        assert main(["self-instruct", *words, str(tmp_path / "whole")]) == 0
    for name in ("demonstrations", "set_aside"):
        killed, whole_run = (next((tmp_path / f).glob(f"self-instruct-*/{name}.jsonl")) for f in ("killed", "whole"))
        assert killed.read_bytes() == whole_run.read_bytes()


def test_too_few_after_the_most_requests_is_an_error_that_says_so(tmp_path):
    def always_the_same(request):
        return says("Name the highest hill of France.\n10. Draw me a horse.")

    with ChatServer(always_the_same) as server:
        with pytest.raises(
            ValueError, match=r"7 requests brought 1 of 40 .*blacklist 7, near copy 6.*num_instructions=1"
        ):
            run(tmp_path, server.url, most_requests=7)
        assert len(server.requests) == 7


def test_a_reply_that_was_cut_off_is_asked_again_and_dropped_whole(tmp_path):
    def answer(request):
        if not request.text.endswith("\n9."):
            return three_steps(request)
        return cut("Name a hill") if request.body.get("seed", 0) < 2000 else three_steps(request)

    with ChatServer(answer) as server:
        path, _, _ = run(tmp_path, server.url, concurrency=1)
        seeds = [request.body.get("seed", 0) for request in server.requests[:7]]
    assert seeds == [0, 1000, 2000, 3000, 4000, 1, 1001]
    assert [row for row in lines(path, "set_aside") if row["reason"] == "cut off"] == [
        {"request": number, "reason": "cut off"} for number in (0, 1)
    ]


# --- the stage, whole tasks at once ---


def listing(request):
    stream = random.Random(json.dumps(request.body, sort_keys=True))
    tasks = [
        f"{n}. Instruction: {new_instruction(stream)}\n{n}. Input:\n{stream.choice(['<noinput>', 'a b c'])}\n"
        f"{n}. Output:\nDone {n}."
        for n in range(4, 20)
    ]
    tasks[3] = "7. Instruction: Hum some music for me\n7. Input:\n<noinput>\n7. Output:\nHm."
    text = "\n###\n".join(tasks)
    return cut(text[:-8], usage=USAGE) if stream.random() < 0.5 else says(text, usage=USAGE)


def test_lists_are_asked_for_with_three_seeds_and_read(tmp_path):
    with ChatServer(listing) as server:
        path, rows, metrics = run(tmp_path, server.url, variant="alpaca")
        texts = [request.text for request in server.requests]
        body = server.requests[0].body
    seeds = {task.instruction for task in read_seeds(SEEDS)}
    for text in texts:
        assert WAITS_FOR_A_TASK.search(text)[1] == "4"
        found = re.findall(r"^###\n(\d)\. Instruction: (.+)\n\1\. Input:\n[^#]+\n\1\. Output:\n", text, re.MULTILINE)
        assert [number for number, _ in found] == ["1", "2", "3"]
        assert {instruction for _, instruction in found} <= seeds
    assert len(set(texts)) == len(texts)
    assert (body["max_tokens"], body["temperature"], body["stop"]) == (3072, 1.0, ["\n20", "20."])
    assert len(rows) == metrics["kept"] == metrics["instructions"] == 40 and metrics["seeds_added"] == 0
    assert metrics["set_aside_by_reason"]["blacklist"] >= 2  # music is Alpaca's own word
    assert 0 < metrics["with_input"] < 1 and "classification" not in metrics
    asides = [row for row in lines(path, "set_aside") if row["reason"] == "cut off"]
    assert all(row["text"].startswith("19. Instruction:") for row in asides)
    assert metrics["tokens_a_row"] == pytest.approx(150 * metrics["teacher_requests"] / 40)


@needs_data
def test_a_recorded_teacher_brings_its_own_tasks_and_nothing_else(tmp_path):
    file = DATA / "teachers/text_davinci_003.json"
    path, rows, metrics = run(tmp_path / "a", teacher={"replay": str(file)}, variant="alpaca", num_instructions=250)
    recorded = {row.messages[0].content.strip(): row.messages[-1].content for row in read(file, want=Conversation).rows}
    for row in rows:
        instruction, answer = (message.content for message in row.messages)
        assert recorded[instruction].strip() == answer
        assert unfit(instruction, "alpaca") == ""
    words = [rouge_words(row.messages[0].content) for row in rows]
    assert max(rouge_l(a, b) for i, a in enumerate(words) for b in words[:i]) <= 0.7
    assert metrics["kept"] == len(rows) == 250 and metrics["set_aside_by_reason"]["near copy"] > 0
    again, _, _ = run(tmp_path / "b", teacher={"replay": str(file)}, variant="alpaca", num_instructions=250)
    assert (again / "demonstrations.jsonl").read_bytes() == (path / "demonstrations.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"60 requests brought \d+ of 900 instructions .*near copy"):
        run(tmp_path / "c", teacher={"replay": str(file)}, variant="alpaca", num_instructions=900, most_requests=60)


def test_prices_give_dollars_a_row(tmp_path):
    prices = tmp_path / "prices.json"
    prices.write_text('{"m-1": {"input": 1000000, "output": 2000000}}')
    with ChatServer(listing) as server:
        at = {"base_url": server.url, "model": "m-1", "prices": str(prices)}
        _, _, metrics = run(tmp_path, teacher={"server": at}, variant="alpaca")
    assert metrics["usd_a_row"] == pytest.approx(metrics["teacher_requests"] * (100 + 2 * 50) / 40)


# --- wrong inputs ---


@pytest.mark.parametrize(
    ("rows", "settings", "wrong"),
    [
        ([{"instruction": "a"}], {}, "line 1: no seed task: instances: Field required; is_classification"),
        (
            [{"instruction": " ", "instances": [{"output": "a"}], "is_classification": False}],
            {},
            "line 1: no seed task: instruction: Value error, is empty",
        ),
        ([{"instruction": "a", "instances": [], "is_classification": False}], {}, "line 1: no seed task: instances"),
        ([{}], {}, "line 1: no seed task"),
        (None, {"classification": True}, "no seed task is classification"),
        (None, {"classification": False}, "no seed task is no classification"),
        (None, {"first": 5}, "8 seed tasks are shown to the teacher at a time; there are 5"),
        (None, {"first": 2, "variant": "alpaca"}, "3 seed tasks are shown to the teacher at a time; there are 2"),
    ],
)
def test_seeds_that_are_none_stop_the_stage_before_anything_is_asked(tmp_path, rows, settings, wrong):
    if rows is None:
        without, first = settings.pop("classification", None), settings.pop("first", 0)
        rows = [row for row in iterate_json_lines(SEEDS) if row["is_classification"] is not without]
        rows = sorted(rows[: first - 1] if first else rows, key=lambda row: row["is_classification"])
        rows += [row for row in iterate_json_lines(SEEDS) if row["is_classification"]][:1] if first else []
    (tmp_path / "seeds.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    with ChatServer(three_steps) as server:
        with pytest.raises(ValueError, match=re.escape(wrong)):
            run(tmp_path, server.url, seeds=tmp_path / "seeds.jsonl", **settings)
        assert server.requests == []


def test_words_of_ones_own_and_files_that_are_none(tmp_path):
    ours = json.loads((Path(camelid.__file__).parent / "collect/self_instruct/prompts.json").read_text())
    file = tmp_path / "words.json"
    file.write_text(json.dumps({**ours, "source": "mine", "whole_tasks": "Go on, please."}))
    with ChatServer(listing) as server:
        path, _, _ = run(tmp_path, server.url, variant="alpaca", inputs={"prompts": file})
        assert all(request.text.startswith("Go on, please.\n\n###\n1. Instruction: ") for request in server.requests)
        assert {note["template"] for note in lines(path, "provenance")} == {"alpaca, words of mine"}
        for change, wrong in (
            ({"whole_tasks": "Go {on}."}, r"whole_tasks: .*wanted are the places none.*has \{on\}"),
            ({"classification": " "}, "classification: .*the text is empty"),
            ({"heading": "x"}, "heading: Extra inputs"),
        ):
            file.write_text(json.dumps(ours | change))
            with pytest.raises(ValueError, match=rf"words\.json is no file of wording: {wrong}"):
                run(tmp_path, server.url, variant="alpaca", inputs={"prompts": file})


def test_every_setting_is_a_line_of_help(capsys):
    """Stop strings hold line breaks."""
    with pytest.raises(SystemExit):
        main(["self-instruct", "--help"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "alpaca.listing.stop" in line)
    assert r"[\n20, 20.]" in line
