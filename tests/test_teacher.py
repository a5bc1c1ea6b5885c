"""A teacher: what is asked how often, what is set aside, what the journal answers, where rows come from."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import closing
from typing import Any

import pytest
from pydantic import ValidationError

from camelid.models.completion import read_completion
from camelid.models.journal import Journal
from camelid.models.server import RemoteError, Server, ServerSettings
from camelid.models.teacher import Decoding, Question, Teacher, TeacherSettings
from camelid.runs import Run, Settings, Stage, execute
from camelid.types import Message
from chat_server import ChatServer, Request, Response, says

USAGE = {"prompt_tokens": 10, "completion_tokens": 30}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def ask(text: str, sample: int = 0) -> Question:
    return Question(f"{text}-{sample}", (Message(role="user", content=text),), sample)


class Asking(Settings):
    """A stage that only asks."""

    teacher: TeacherSettings = TeacherSettings()
    questions: tuple[str, ...] = ("one", "two")
    decoding: Decoding = Decoding(temperature=0.7, stop=("\n\n",))


def asking(run: Run) -> dict[str, Any]:
    """Stage: optional `teacher` (a model) -> said.json, provenance.jsonl."""
    s = run.settings
    ticks: list[int] = []
    with closing(Teacher.of(run, s.teacher)) as teacher:
        said = teacher.ask([ask(text) for text in s.questions], s.decoding, tick=ticks.append)
        (run.path / "said.json").write_text(json.dumps(said))
        made = {f"row-{i}": one for i, one in enumerate(said) if not one.set_aside}
        teacher.write_provenance(run, made, template="plain", decoding=s.decoding)
        return teacher.spent() | {"ticks": sum(ticks)}


def run(folder, url: str = "", inputs=None, questions=("one", "two"), decoding=None, **teacher):
    server = ServerSettings(base_url=url, model="m", backoff_seconds=0.0, **teacher.pop("server", {})) if url else None
    settings = TeacherSettings(**({"server": server} if server else {}), **teacher)
    stage = Asking(teacher=settings, questions=questions, **({"decoding": decoding} if decoding else {}))
    done = execute([Stage("asking", asking, stage, inputs or {})], folder)["asking"]
    return (
        done,
        json.loads((done / "said.json").read_text()),
        json.loads((done / "manifest.json").read_text())["metrics"],
    )


def echo(request: Request) -> Response:
    return says(f"answer to {request.text}", usage=USAGE)


def test_answers_come_in_order_with_where_they_are_from(tmp_path):
    with ChatServer(echo) as server:
        done, said, metrics = run(tmp_path, server.url, terms="no rival models")
        assert [one[0] for one in said] == ["answer to one", "answer to two"]
        body = server.requests[0].body
    assert {name: body[name] for name in ("model", "temperature", "stop", "max_tokens")} == {
        "model": "m",
        "temperature": 0.7,
        "stop": ["\n\n"],
        "max_tokens": 1024,
    }
    assert "seed" not in body and "top_p" not in body
    rows = [json.loads(line) for line in (done / "provenance.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["row-0", "row-1"]
    assert {row["teacher"] for row in rows} == {"m"} and {row["served_by"] for row in rows} == {"m-1"}
    assert rows[0]["terms"] == "no rival models" and rows[0]["decoding"]["temperature"] == 0.7
    assert rows[0]["answered_at"].startswith("20") and len(rows[0]["request"]) >= 32
    assert (metrics["teacher_requests"], metrics["teacher_prompt_tokens"], metrics["ticks"]) == (2, 20, 2)


def test_the_journal_beside_the_stage_answers_the_next_run(tmp_path):
    with ChatServer(echo) as server:
        run(tmp_path, server.url)
        _, said, metrics = run(tmp_path, server.url, questions=("two", "one", "three"))
        assert [one[0] for one in said] == ["answer to two", "answer to one", "answer to three"]
        assert [request.text for request in server.requests] == ["one", "two", "three"] or len(server.requests) == 3
    assert metrics["teacher_requests"] == 3  # of all that the journal has
    assert Journal(tmp_path / "teacher-m.sqlite").counts() == (3, 3)


def test_what_is_of_no_use_is_asked_again_under_another_seed_and_then_set_aside(tmp_path):
    def answer(request: Request) -> Response:
        if request.text == "empty":
            return says(" ")
        if request.text == "long" and "seed" not in request.body:
            body = json.loads(says("half an ans").body)
            body["choices"][0]["finish_reason"] = "length"
            return Response(body=json.dumps(body))
        return says(f"whole {request.body.get('seed')}")

    with ChatServer(answer) as server:
        _, said, metrics = run(tmp_path, server.url, questions=("empty", "long", "good"))
        seeds = sorted((request.text, request.body.get("seed", 0)) for request in server.requests)
    assert [(one[0], one[2]) for one in said] == [("", "empty"), ("whole 1", ""), ("whole None", "")]
    assert seeds == [("empty", 0), ("empty", 1), ("good", 0), ("long", 0), ("long", 1)]
    assert metrics["ticks"] == 3


def test_a_request_that_the_server_will_not_take_is_set_aside_with_its_word(tmp_path):
    def answer(request: Request) -> Response:
        return Response(400, "context length exceeded") if request.text == "two" else echo(request)

    with ChatServer(answer) as server:
        _, said, _ = run(tmp_path, server.url, asks=1)
    assert said[0][2] == "" and said[1][0] == ""
    assert said[1][2].startswith("no answer: HTTP 400: context length exceeded")


def test_several_answers_to_one_question_are_several_requests(tmp_path):
    class One:
        journal = None

        def __init__(self):
            self.bodies = []

        def ask_each(self, requests, record):
            from camelid.models.completion import read_completion
            from camelid.models.server import Asked

            for place, body in requests:
                self.bodies.append(body)
                record(place, Asked(read_completion(says(f"{body.get('seed')}").body), 1))

        def key(self, body):
            return json.dumps(body)

    answers = One()
    teacher = Teacher(TeacherSettings(asks=3), "m", answers)
    said = teacher.ask(
        [ask("q", sample) for sample in range(3)], Decoding(), wrong=lambda s: "odd" if s.text == "1000" else ""
    )
    assert [body.get("seed") for body in answers.bodies] == [None, 1000, 2000, 1001]
    assert [one.text for one in said] == ["None", "1001", "2000"]
    assert teacher.spent() == {}


def test_a_server_without_seeds_is_asked_anew_for_each_sample(tmp_path):
    """What is sent is the same each time; the journal must know a sample, and another ask, from the first."""
    with ChatServer(lambda request: says(f"answer {len(server.requests)}")) as server:

        def samples(**extra):
            at = ServerSettings(
                base_url=server.url, model="m", concurrency=1, journal=str(tmp_path / "j.sqlite"), extra=extra
            )
            answers = Server(at, "/chat/completions", read_completion)
            teacher = Teacher(TeacherSettings(), "m", answers)
            asked = [ask("q", sample) for sample in range(3)]
            said = teacher.ask(asked, Decoding(), wrong=lambda s: "odd" if s.text == "answer 2" else "")
            answers.journal.close()
            return [one.text for one in said], len({one.request for one in said})

        texts = ["answer 1", "answer 4", "answer 3"]
        assert samples(seed=None) == (texts, 3)
        assert [request.body.get("seed") for request in server.requests] == [None] * 4
        assert samples(seed=None) == (texts, 3)  # from the journal
        assert len(server.requests) == 4
        # The plain request, of the first sample, is the one that a server with seeds has: its key is as it was.
        assert samples()[0] == ["answer 1", "answer 5", "answer 6"]
        assert samples(seed=7)[0] == ["answer 7", "answer 8", "answer 9"]
        assert {request.body["seed"] for request in server.requests[6:]} == {7}


def test_keys_of_plain_requests_are_those_of_earlier_journals():
    body = {"model": "m", "messages": [], "seed": 1000}
    server = Server(ServerSettings(base_url="http://x/v1"), "/chat/completions", read_completion)
    data = 'http://x/v1/chat/completions\n{"messages": [], "model": "m", "seed": 1000}'
    assert server.key(body) == hashlib.sha256(data.encode()).hexdigest()


def test_a_server_that_garbles_one_answer_loses_that_one_and_a_server_that_garbles_all_stops(tmp_path):
    def one(request: Request) -> Response:
        if request.text == "bad":
            time.sleep(0.05)  # others are answered meanwhile
            return Response(200, '{"choices": [')
        return echo(request)

    few = {"max_retries": 2, "concurrency": 2}
    with ChatServer(one) as server:
        questions = ("bad", *(f"q{i}" for i in range(20)))
        _, said, _ = run(tmp_path / "one", server.url, questions=questions, asks=1, server=few)
        assert [i for i, each in enumerate(said) if each[2]] == [0]
        assert "given up after 3 attempts" in said[0][2]
    with (
        ChatServer(lambda request: Response(200, '{"choices": [')) as server,
        pytest.raises(RemoteError, match="given up"),
    ):
        run(tmp_path / "all", server.url, server=few)
    with (
        ChatServer(lambda request: Response(429, "no quota left")) as server,
        pytest.raises(RemoteError, match="quota"),
    ):
        run(tmp_path / "refused", server.url, questions=questions, server=few)


def test_recorded_answers_stand_in_for_a_server(tmp_path):
    file = tmp_path / "recorded.json"
    rows = [{"instruction": "one", "output": "first"}, {"instruction": "two", "input": "2", "output": "second"}]
    file.write_text(json.dumps(rows))
    _, said, _ = run(tmp_path / "out", replay=str(file), questions=("one", "two\n\n2", "three"))
    assert [one[0] for one in said] == ["first", "second", ""]
    assert "no answer was recorded to 'three'" in said[2][2]
    assert {one[3] for one in said[:2]} == {"recorded-recorded"}


def test_a_model_on_this_machine_answers_and_its_journal_too(tmp_path, llama):
    decoding = Decoding(temperature=0.9, max_tokens=8)
    chosen = {"chat_format": "vicuna", "asks": 1, "precision": "float32", "batch_rows": 2}
    inputs = {"teacher": llama}
    questions = ("one", "two", "three")
    done, said, metrics = run(tmp_path / "a", inputs=inputs, questions=questions, decoding=decoding, **chosen)
    _, again, _ = run(tmp_path / "b", inputs=inputs, questions=questions, decoding=decoding, **chosen)
    assert [one[:3] for one in said] == [one[:3] for one in again]  # drawn anew, the same
    assert all(one[0] or one[2] in ("cut off", "empty") for one in said)
    assert metrics["teacher_requests"] == 3 and metrics["teacher_prompt_tokens"] > 3
    journal = Journal(done.parent / f"teacher-{llama.name.replace('_', '-')}.sqlite")
    assert journal.counts() == (3, 3)
    longer = ("one", "a word " * 400)
    _, said, _ = run(tmp_path / "a", inputs=inputs, questions=longer, decoding=decoding, **chosen)
    assert said[1][2].startswith("no answer: the prompt")
    with pytest.raises(ValueError, match="presence_penalty=1: a teacher on this machine has none; set it to 0"):
        run(tmp_path / "c", inputs=inputs, decoding=Decoding(presence_penalty=1, max_tokens=8), **chosen)


def test_no_teacher_and_two(tmp_path):
    with pytest.raises(ValueError, match=r"no teacher: name a server's model in teacher.server.model, a file in"):
        run(tmp_path)
    with pytest.raises(ValidationError, match=r"the teacher is 'm' and the file x.json: set one of the two"):
        TeacherSettings(server=ServerSettings(model="m"), replay="x.json")


def test_a_key_in_a_file_is_read_where_nobody_else_may_read_it(tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-secret-123\n")
    key.chmod(0o600)
    with ChatServer(echo) as server:
        done, _, _ = run(tmp_path / "a", server.url, server={"key_file": str(key)})
        assert server.requests[0].headers["Authorization"] == "Bearer sk-secret-123"
        assert not [p for p in (tmp_path / "a").rglob("*") if p.is_file() and b"sk-secret" in p.read_bytes()]
        assert "sk-secret" not in (done / "manifest.json").read_text()
        key.chmod(0o640)
        with pytest.raises(ValueError, match=r"others may read the key in .*key: chmod 600"):
            run(tmp_path / "b", server.url, server={"key_file": str(key)})
        with pytest.raises(ValueError, match="key_file /nowhere/key: No such file"):
            run(tmp_path / "c", server.url, server={"key_file": "/nowhere/key"})
        key.write_text("\n")
        key.chmod(0o600)
        with pytest.raises(ValueError, match="holds no key"):
            run(tmp_path / "d", server.url, server={"key_file": str(key)})
