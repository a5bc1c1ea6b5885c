"""Recorded answers as a server: what it answers, how it misbehaves when it is told to, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from camelid.cli import main
from camelid.models.recorded import Answerer
from camelid.models.remote import Remote, RemoteSettings
from camelid.models.replay_server import FAULTS, ReplayServer, ReplaySettings
from camelid.types import Message
from real_data import DATA, needs_data

ROWS = [
    {"instruction": "Name a planet of our sun, any planet.", "output": "Mars"},
    {"instruction": "Add the numbers.", "input": "2, 3", "output": "5"},
    {"instruction": "Name a planet of our sun, any planet.", "output": "Venus"},
]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "planets.json"
    path.write_text(json.dumps(ROWS))
    return path


@pytest.fixture
def serve(file):
    opened = []

    def start(**settings):
        server = ReplayServer(file, ReplaySettings(**settings))
        server.start()
        opened.append(server)
        return server

    yield start
    for server in opened:
        server.close()


def post(url: str, body: object, path: str = "/chat/completions", timeout: float = 10):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data), timeout=timeout) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def asked(text: str, **more) -> dict:
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


def test_a_question_is_found_by_its_words_alone_or_inside_a_template(file):
    answerer = Answerer(file)
    assert answerer.answer("  Name a planet of our sun,\nany planet. ") == "Mars"
    assert answerer.answer("### Instruction:\nName a planet of our sun, any planet.\n\n### Response:") == "Mars"
    assert answerer.answer("Name a planet of our sun, any planet.", seed=1) == "Venus"
    assert answerer.answer("Name a planet of our sun, any planet.", seed=2) == "Mars"
    assert answerer.answer("Add the numbers.\n\n2, 3") == answerer.answer("Add the numbers.\n2, 3") == "5"
    assert answerer.answer("Name a comet.") is None
    assert answerer.answer("") is None


def test_conversations_answer_each_of_their_questions(tmp_path):
    path = tmp_path / "talks.jsonl"
    turns = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", "Why?"), ("assistant", "So.")]
    shared = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "I."}]
    rows = [{"messages": [{"role": r, "content": c} for r, c in turns]}, {"conversations": shared}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answerer = Answerer(path)
    assert [answerer.answer(q) for q in ("Hello", "Why?", "Who?", "Hi", "Be brief.")] == ["Hi", "So.", "I.", None, None]


def test_a_list_of_tasks_goes_on_from_the_number_that_was_asked_for(file):
    prompt = "Come up with tasks.\n###\n1. Instruction: a\n1. Input:\n<noinput>\n1. Output:\nb\n###\n18. Instruction:"
    text = Answerer(file).answer(prompt)
    assert text is not None and text == Answerer(file).answer(prompt)
    assert [number for number in re.findall(r"^(\d+)\. Output:", text, re.MULTILINE)] == ["18", "19", "20"]
    assert sum(row["instruction"] in text for row in ROWS[:2]) == 2 and "<noinput>" in text and "2, 3" in text
    assert not text.startswith("18.")
    assert text != Answerer(file).answer(prompt, seed=1) or len(ROWS) < 4


def test_a_script_goes_on_with_the_recorded_conversation(tmp_path):
    path = tmp_path / "talks.jsonl"
    said = ["Why is the sky blue, and not green?", "Light scatters.", "Why?", "Short waves do."]
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
    path.write_text(json.dumps({"messages": turns}) + "\n")
    ask = f"Go on about this:\n\n{said[0]}\n\n[Human] Hello!\n[AI] Hi! What can I do for you?\n"
    answerer = Answerer(path)
    assert answerer.answer(ask) == f"[Human] {said[0]}\n[AI] {said[1]}\n[Human] {said[2]}\n[AI] {said[3]}"
    assert answerer.answer(ask.replace("sky", "sea")) is None
    assert answerer.answer(said[0]) == said[1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": "a", "answer": "b"},
            r"no recorded answer; wanted are instruction, input and output, or messages \(has prompt, answer\)",
        ),
        ({"messages": [{"role": "user", "content": "a"}]}, "no recorded answer"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": 3}]}, "no recorded answer"),
    ],
)
def test_rows_without_answers_are_named(tmp_path, row, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"instruction": "a", "output": "b"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=message) as raised:
        Answerer(path)
    assert "rows.jsonl" in str(raised.value) and "2" in str(raised.value)


def test_it_speaks_as_openais_server_does(serve):
    server = serve()
    status, said = post(server.url, asked("Name a planet of our sun, any planet."))
    assert status == 200 and said["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "Mars"},
        "finish_reason": "stop",
    }
    assert said["model"] == "recorded-planets" and said["usage"]["prompt_tokens"] > 0
    with urllib.request.urlopen(f"{server.url}/models", timeout=5) as answer:
        assert json.loads(answer.read())["data"][0]["id"] == "recorded-planets"
    for body, path, status in (
        (asked("Name a comet."), "/chat/completions", 400),
        (b"{", "/chat/completions", 400),
        ({"messages": []}, "/chat/completions", 400),
        ({"messages": [{"role": "user"}]}, "/chat/completions", 400),
        ([], "/chat/completions", 400),
        (asked("Hello"), "/completions", 404),
    ):
        found, said = post(server.url, body, path)
        assert found == status and said["error"]["message"]
    assert (
        post(server.url, asked("Name a comet."))[1]["error"]["message"] == "no answer was recorded to 'Name a comet.'"
    )


def test_every_kind_of_fault_is_met_and_a_client_of_ours_comes_through(serve):
    server = serve(faults=0.5, silence_seconds=0.8, seed=1)
    settings = RemoteSettings(
        base_url=server.url, model="m", concurrency=20, timeout_seconds=0.4, backoff_seconds=0.01, max_retries=50
    )
    found: dict[int, str] = {}
    question = (Message(role="user", content="Name a planet of our sun, any planet."),)

    def sleep(seconds: float) -> None:  # what Retry-After asks for is the client's own test
        pass

    Remote(settings, sleep=sleep).complete_each(
        ((i, question) for i in range(60)), lambda i, r: found.update({i: r.text})
    )
    assert found == dict.fromkeys(range(60), "Mars")
    assert {*FAULTS, "answered"} <= set(server.counts)
    assert server.counts["answered"] >= 60  # slow bytes are no answer either: they take longer than the timeout
    assert 2 <= server.most_at_once <= 40  # a silent one may last longer than its client waits
    assert sum(server.counts[fault] for fault in FAULTS) / server.counts.total() == pytest.approx(0.5, abs=0.15)


def test_the_same_seed_meets_the_same_faults(file):
    def drawn(seed: int) -> list[str]:
        with closing(_Unserved(file, ReplaySettings(faults=0.4, seed=seed))) as server:
            return [server.fault() for _ in range(50)]

    assert drawn(3) == drawn(3) != drawn(4)


class _Unserved(ReplayServer):
    def close(self) -> None:  # shutdown waits for a loop that never ran
        self._server.server_close()


def test_above_the_limit_it_refuses(serve):
    server = serve(requests_per_minute=5)
    statuses = [post(server.url, asked("Name a planet of our sun, any planet."))[0] for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    assert server.counts["above the limit"] == 2 and len(server.came) == 5


def test_the_command_serves_until_it_is_interrupted(file):
    words = [sys.executable, "-m", "camelid.cli", "teacher", "replay", str(file)]
    process = subprocess.Popen(
        words, env=os.environ | {"no_proxy": "127.0.0.1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert post(url, asked("Add the numbers.\n\n2, 3"))[1]["choices"][0]["message"]["content"] == "5"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert "3 recorded answers, as model recorded-planets" in told and "1 answered; at most 1 at once" in told
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["replay", "{missing}"], "missing.json"),
        (["replay", "{file}", "--faults", "1.5"], "--faults 1.5: a share of the requests, from 0 to 1"),
        (["replay", "{file}", "--port", "1000000"], "--port"),
        (["journal", "{missing}"], "does not exist; a stage's journal lies beside its directory"),
        (["journal", "{file}"], "is no journal of requests"),
    ],
)
def test_wrong_words_are_named(file, tmp_path, capsys, words, message):
    words = [word.format(file=file, missing=tmp_path / "missing.json") for word in words]
    assert main(["teacher", *words]) != 0
    assert message in capsys.readouterr().err


def test_a_journal_is_told(tmp_path, capsys, serve):
    settings = RemoteSettings(base_url=serve().url, model="m", journal=str(tmp_path / "j.sqlite"))
    Remote(settings).complete((Message(role="user", content="Add the numbers.\n\n2, 3"),))
    assert main(["teacher", "journal", settings.journal, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["requests"], told["answered"], told["attempts"], told["in_doubt"]) == (1, 1, 1, 0)
    assert main(["teacher", "journal", settings.journal]) == 0
    assert "requests: 1\nanswered: 1\n" in capsys.readouterr().out


@needs_data
def test_real_teachers_answer_every_question_that_they_were_asked():
    folder = DATA / "teachers"
    answerer = Answerer(folder / "text_davinci_003.json")
    assert len(answerer.rows) == 805
    rows = json.loads((folder / "text_davinci_003.json").read_text())
    found = [answerer.answer(row["instruction"]) for row in rows]
    assert sum(text == row["output"] for text, row in zip(found, rows, strict=True)) >= 800  # a few are asked twice
    assert None not in found
