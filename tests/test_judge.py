"""The AI judge, against a real server on loopback: verdicts, both orders, what is counted, and being killed."""

import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from camelid.annotate.judge import JudgeSettings, annotate_by_judge
from camelid.models.remote import RemoteSettings
from camelid.models.server import RemoteError
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Comparison, Message, Preference, read_records, write_records
from chat_server import ChatServer, Response, says

KEY = "sk-loopback-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TEST_KEY", KEY)


def comparison(question, first, second, **more):
    prompt = (Message(role="user", content=question),)
    return Comparison(prompt=prompt, first=first, second=second, source="test", licence="MIT", **more)


def shown(request):
    """(A, B) as the judge sees them."""
    return re.search(
        r"=== response A ===\n(.*)\n\n=== response B ===\n(.*)\n\n=== end", request.text, re.DOTALL
    ).groups()


def prefers_longer(request):
    a, b = map(len, shown(request))
    return says("Verdict: tie" if a == b else f"Verdict: {'A' if a > b else 'B'}, better")


def stage(tmp_path, server, comparisons, inputs=None, **remote):
    write_records(tmp_path / "comparisons.jsonl", comparisons)
    remote = {"base_url": server.url, "model": "judge-1", "key_variable": "TEST_KEY", "max_retries": 0} | remote
    settings = JudgeSettings(remote=RemoteSettings(**remote))
    return Stage("judge", annotate_by_judge, settings, {"comparisons": tmp_path / "comparisons.jsonl"} | (inputs or {}))


def judge(tmp_path, answer, comparisons, inputs=None, **remote):
    """(preferences, metrics, the stage's folder, the server) of a judge that answers so."""
    with ChatServer(answer) as server:
        path = execute([stage(tmp_path, server, comparisons, inputs, **remote)], tmp_path / "run")["judge"]
    return read_records(path / "preferences.jsonl", Preference), read_manifest(path)["metrics"], path, server


COMPARISONS = [
    comparison("Why?", "because it is so", "no", tags=("helpful", "science")),
    comparison("How?", "so", "like this, and then so", tags=("borderline",)),
    comparison("When?", "soon", "now."),  # equally long
]


def test_a_consistent_judge(tmp_path):
    preferences, metrics, path, _ = judge(tmp_path, prefers_longer, COMPARISONS)
    assert [(p.chosen, p.rejected, p.rating, p.kind, p.annotator, p.tags) for p in preferences] == [
        ("because it is so", "no", "better", "helpfulness", "judge-1", ("helpful", "science")),
        ("like this, and then so", "so", "better", "safety", "judge-1", ("borderline",)),
    ]
    assert {(p.source, p.licence) for p in preferences} == {("test", "MIT")}
    counts = {name: value for name, value in metrics.items() if not isinstance(value, dict)}
    assert counts == {
        "num_comparisons": 3,
        "num_preferences": 2,
        "ties": 1,
        "invalid": 0,
        "invalid_replies": 0,
        "num_requests": 6,
    }
    assert metrics["ratings"]["better"] == 2
    shares = {name: (metrics[name]["value"], metrics[name]["n"]) for name in metrics if "value" in str(metrics[name])}
    assert shares == {"orders_agree": (1, 3), "first_shown_wins": (0.5, 3), "longer_chosen": (1, 2)}
    verdicts = json.loads((path / "verdicts.json").read_text())
    assert verdicts["summary"] == metrics
    assert verdicts["verdicts"][1] == {
        "comparison": COMPARISONS[1].id,
        "verdict": "second, better",
        "given": "second, better",
        "swapped": "second, better",
    }
    replies = [json.loads(line) for line in (path / "replies.jsonl").read_text().splitlines()]
    assert {(row["comparison"], row["order"]) for row in replies} == {
        (c.id, order) for c in COMPARISONS for order in ("given", "swapped")
    }
    assert {(row["model"], row["served_by"], row["finish_reason"]) for row in replies} == {("judge-1", "m-1", "stop")}


def test_both_orders_are_shown_with_the_criterion_of_their_kind(tmp_path):
    *_, server = judge(tmp_path, prefers_longer, COMPARISONS)
    assert sorted(shown(request) for request in server.requests) == sorted(
        pair for c in COMPARISONS for pair in ((c.first, c.second), (c.second, c.first))
    )
    assert {(shown(r)[0] in ("so", "like this, and then so"), "less harm" in r.text) for r in server.requests} == {
        (True, True),
        (False, False),
    }


def test_a_judge_that_always_takes_the_first_shown_gives_only_ties(tmp_path):
    preferences, metrics, *_ = judge(tmp_path, lambda _: says("Verdict: A, significantly better"), COMPARISONS)
    assert preferences == []
    assert (metrics["ties"], metrics["num_preferences"], metrics["invalid"]) == (3, 0, 0)
    assert (metrics["orders_agree"]["value"], metrics["first_shown_wins"]["value"]) == (0, 1)
    assert (metrics["first_shown_wins"]["n"], metrics["longer_chosen"]) == (3, None)


def test_replies_that_cannot_be_read_are_invalid_and_not_ties(tmp_path):
    def answer(request):
        a, _ = shown(request)
        return says("I would rather not say.") if a == "soon" else prefers_longer(request)

    preferences, metrics, path, _ = judge(tmp_path, answer, COMPARISONS)
    assert len(preferences) == 2
    assert (metrics["ties"], metrics["invalid"], metrics["invalid_replies"]) == (0, 1, 1)
    assert metrics["orders_agree"]["n"] == 2
    last = json.loads((path / "verdicts.json").read_text())["verdicts"][2]
    assert (last["verdict"], last["given"], last["swapped"]) == ("invalid", "invalid", "tie")


def test_a_question_of_ones_own(tmp_path):
    file = tmp_path / "question.txt"
    file.write_text('Rhymes win {"json": true}.\n{conversation}\n{response_a}\n{response_b}\n')
    *_, server = judge(tmp_path, lambda _: says("Verdict: tie"), COMPARISONS[:1], {"question": file})
    text = next(r.text for r in server.requests if "because it is so\nno\n" in r.text)
    assert text.startswith('Rhymes win {"json": true}.\nUser: Why?\nbecause it is so\nno\n\nReply with one line')
    file.write_text("{conversation} {response_a}")
    with pytest.raises(ValueError, match=r"the judge's question lacks \{response_b\}"):
        judge(tmp_path, prefers_longer, COMPARISONS, {"question": file})


def test_the_same_comparison_twice_is_asked_once_and_an_id_for_two_is_an_error(tmp_path):
    *_, metrics, _, server = judge(tmp_path, prefers_longer, [*COMPARISONS, COMPARISONS[0]])
    assert (len(server.requests), metrics["num_comparisons"]) == (6, 3)
    clash = COMPARISONS[0].model_copy(update={"second": "other"})
    with pytest.raises(ValueError, match="two different comparisons have the id"):
        judge(tmp_path, prefers_longer, [*COMPARISONS, clash])


def test_a_comparison_that_the_server_rejects_is_invalid(tmp_path):
    def answer(request):
        return Response(400, "too long") if "When?" in request.text else prefers_longer(request)

    preferences, metrics, path, _ = judge(tmp_path, answer, COMPARISONS, concurrency=1)
    assert (len(preferences), metrics["invalid"], metrics["num_requests"]) == (2, 1, 6)
    rejected = [row for row in map(json.loads, (path / "replies.jsonl").open()) if row["rejected"]]
    assert [(row["text"], row["rejected"]) for row in rejected] == [("", "HTTP 400: too long")] * 2


@pytest.mark.parametrize(("num_comparisons", "num_requests"), [(3, 3), (1, 2)])
def test_a_server_that_rejects_everything_is_set_up_wrongly(tmp_path, num_comparisons, num_requests):
    with (
        ChatServer(lambda _: Response(400, "unknown field max_tokens")) as server,
        pytest.raises(RemoteError, match="takes no request, the last: HTTP 400: unknown field max_tokens"),
    ):
        execute([stage(tmp_path, server, COMPARISONS[:num_comparisons], concurrency=1)], tmp_path / "run")
    assert len(server.requests) == num_requests


MANY = [comparison(f"question {i}", f"yes {i} \u2028", f"no, {i} \x85") for i in range(6)]
RUN = """
import sys
from pathlib import Path
from camelid.annotate.judge import JudgeSettings, annotate_by_judge
from camelid.models.remote import RemoteSettings
from camelid.runs import Stage, execute
folder = Path(sys.argv[1])
settings = JudgeSettings.model_validate_json(sys.argv[2])
execute([Stage("judge", annotate_by_judge, settings, {"comparisons": folder / "comparisons.jsonl"})], folder / "run")
"""


def test_killed_in_the_middle_it_asks_nothing_twice_that_was_answered(tmp_path):
    answered = []
    alive = threading.Event()

    def answer(request):
        if len(answered) == 5 and not alive.is_set():
            os.kill(process.pid, signal.SIGKILL)  # while this request is under way
            alive.set()
            return Response(500)
        answered.append(shown(request))
        a, _ = shown(request)
        return says(f"Verdict: {'A' if a.startswith('yes') else 'B'}, better")

    with ChatServer(answer) as server:
        again = stage(tmp_path, server, MANY, concurrency=1)
        words = [sys.executable, "-c", RUN, str(tmp_path), again.settings.model_dump_json()]
        process = subprocess.Popen(words)
        assert process.wait(60) == -signal.SIGKILL
        (replies,) = (tmp_path / "run").glob("judge-*/replies.jsonl")
        before = replies.read_bytes()
        assert before.count(b"\n") == 5
        replies.write_bytes(before + b'{"comparison": "half a li')
        path = execute([again], tmp_path / "run")["judge"]
        assert path == replies.parent
        execute([again], tmp_path / "run")  # finished: asks nothing
    assert len(answered) == len(set(answered)) == 12
    assert len(server.requests) == 13  # and the one that was never answered
    assert replies.read_bytes().startswith(before)
    assert [p.chosen for p in read_records(path / "preferences.jsonl", Preference)] == [c.first for c in MANY]
    assert read_manifest(path)["metrics"]["num_requests"] == 12


def test_replies_with_strange_line_ends_survive_a_resume(tmp_path):
    count = 0

    def answer(request):
        nonlocal count
        count += 1
        return Response(503) if count == 4 else says("Hm \u2028 hm \x85 hm\r\nVerdict: tie")

    with ChatServer(answer) as server:
        again = stage(tmp_path, server, MANY, concurrency=1)
        with pytest.raises(RemoteError, match="503"):
            execute([again], tmp_path / "run")
        path = execute([again], tmp_path / "run")["judge"]
    assert (read_manifest(path)["metrics"]["ties"], len(server.requests)) == (6, 13)


def test_a_refused_key_stops_and_the_key_is_nowhere(tmp_path, capfd):
    def answer(request):
        if len(server.requests) > 2:
            return Response(401, f"wrong key: {request.headers['Authorization']}")
        return prefers_longer(request)

    with ChatServer(answer) as server:
        again = stage(tmp_path, server, MANY, concurrency=1)
        with pytest.raises(RemoteError, match=r"refused to the key in TEST_KEY .*wrong key: Bearer \[key\]") as caught:
            execute([again], tmp_path / "run")
        assert len(server.requests) == 3
    with ChatServer(prefers_longer) as server:
        path = execute([stage(tmp_path, server, MANY)], tmp_path / "run")["judge"]
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert read_manifest(path)["settings"]["remote"]["key_variable"] == "TEST_KEY"
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) >= 6
    said = [str(caught.value), *capfd.readouterr(), *(file.read_text() for file in written)]
    assert not any(KEY in text for text in said)


def test_rounds_take_the_judge_that_their_settings_name(tmp_path):
    pytest.importorskip("torch")
    from camelid.evaluate.version import EvaluateSettings
    from camelid.rounds import Loop, RoundSettings, round_stages

    def preferences_stage(annotator=(), **settings):
        model = tmp_path
        loop = Loop(model, model, model, dict(annotator), model, model, [], [], newest=model, previous=model)
        stages = round_stages(1, loop, RoundSettings(**settings), EvaluateSettings())
        return next(s for s in stages if s.name == "round-1/preferences")

    by_judge = JudgeSettings(remote=RemoteSettings(model="judge-1"))
    chosen = preferences_stage(annotate_by="judge", judge=by_judge)
    assert (chosen.function, chosen.settings, set(chosen.inputs)) == (annotate_by_judge, by_judge, {"comparisons"})
    own = preferences_stage(annotate_by="judge", judge=by_judge, judge_question=tmp_path / "q.txt")
    assert own.inputs["question"] == tmp_path / "q.txt"
    scripted = preferences_stage(annotator={"reward_model": tmp_path / "annotator"})
    assert scripted.function.__name__ == "annotate_by_reward_model"
    assert scripted.inputs["reward_model"] == tmp_path / "annotator"
    with pytest.raises(ValueError, match=r"no scripted annotator; set round\.annotate_by=judge"):
        preferences_stage()
