"""Journal, pace and budget of a server's client: nothing paid for is lost or paid again, limits are kept."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from camelid.models.journal import Journal, key_of, written
from camelid.models.pace import KEPT, Pace
from camelid.models.remote import Remote, RemoteSettings
from camelid.models.server import RemoteError
from camelid.models.spending import BudgetSpentError
from camelid.types import Message
from chat_server import ChatServer, Request, Response, says

USAGE = {"prompt_tokens": 10, "completion_tokens": 30}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def ask(number: int) -> tuple[Message, ...]:
    return (Message(role="user", content=f"question {number}"),)


def client(url: str, **settings) -> Remote:
    return Remote(RemoteSettings(base_url=url, model="m", **settings), sleep=lambda seconds: None)


def echo(request: Request) -> Response:
    return says(f"answer to {request.text}", usage=USAGE)


def prices(folder: Path) -> str:
    """A prompt token costs 1 dollar in a million, a completion token 3."""
    path = folder / "prices.json"
    path.write_text('{"m": {"input": 1, "output": 3}}')
    return str(path)


# --- the journal ---


def test_what_was_answered_is_answered_from_the_journal_for_ever_after(tmp_path):
    with ChatServer(echo) as server:
        settings = {"journal": str(tmp_path / "deep" / "j.sqlite")}
        first = client(server.url, **settings).complete(ask(1))
        again = client(server.url, **settings).complete(ask(1))  # another client, as after a restart
        other = client(server.url, temperature=0.5, **settings).complete(ask(1))
        assert (first.text, first.attempts) == (again.text, 1) == ("answer to question 1", 1)
        assert again.attempts == 0 and again.usage == first.usage
        assert other.attempts == 1  # another temperature is another request
        assert len(server.requests) == 2


def test_every_attempt_and_every_answer_is_on_the_disk_as_it_came(tmp_path):
    """A fault, an answer that cannot be read, a good one; and a request that is rejected."""
    answers = iter(
        [
            Response(500, "oops"),
            Response(200, '{"choices": [', {}),
            echo(Request("", {}, {"messages": [{"content": "x"}]})),
        ]
    )
    path = tmp_path / "j.sqlite"
    with ChatServer(lambda request: next(answers)) as server:
        reply = client(server.url, journal=str(path)).complete(ask(1))
    assert (reply.text, reply.attempts) == ("answer to x", 3)
    journal = Journal(path)
    ((attempts, status, body),) = journal._run("select attempts, status, answer from requests")
    assert (attempts, status) == (3, 200) and json.loads(body)["usage"] == USAGE
    # The cut-off answer was paid for as well: its tokens, by characters, are in the sums.
    prompt, completion = journal.tokens()
    assert prompt > 10 and completion > 30
    assert journal.in_doubt() == 0
    with ChatServer(lambda request: Response(400, "too long")) as server:
        assert client(server.url, journal=str(path)).complete(ask(2)).rejected
    with ChatServer(echo) as server:  # rejected is not answered: it is asked again
        assert client(server.url, journal=str(path)).complete(ask(2)).text == "answer to question 2"


def test_a_request_that_went_out_without_an_answer_is_in_doubt(tmp_path):
    journal = Journal(tmp_path / "j.sqlite")
    body = written({"b": 1, "a": 2})
    assert body == written({"a": 2, "b": 1})  # the same request, in whatever order it is written
    journal.goes_out(key_of("http://x", body), "http://x", body)
    assert (journal.in_doubt(), journal.answer(key_of("http://x", body))) == (1, None)
    journal.came_back(key_of("http://x", body), 200, "fine", 1, 2)
    assert (journal.in_doubt(), journal.answer(key_of("http://x", body)), journal.tokens()) == (0, "fine", (1, 2))
    assert journal.answer(key_of("http://y", body)) is None  # another server


def test_a_file_that_is_no_journal(tmp_path):
    (tmp_path / "notes.txt").write_text(
        "this is text, and enough of it that nobody takes it for a database header " * 20
    )
    with pytest.raises(ValueError, match=r"notes\.txt is no journal of requests \(.*\); name another file"):
        Journal(tmp_path / "notes.txt")


def test_keys_are_in_no_journal(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMELID_API_KEY", "sk-secret-123456")
    with ChatServer(echo) as server:
        client(server.url, journal=str(tmp_path / "j.sqlite")).complete(ask(1))
        assert server.requests[0].headers["Authorization"] == "Bearer sk-secret-123456"
    assert not [p for p in tmp_path.iterdir() if b"sk-secret" in p.read_bytes()]


ASKING = """
import sys
from camelid.models.remote import Remote, RemoteSettings
from camelid.types import Message
url, journal, number = sys.argv[1:]
more = {"concurrency": 16, "backoff_seconds": 0.01, "max_retries": 50}
settings = RemoteSettings(base_url=url, model="m", journal=journal, **more)
asked = ((i, (Message(role="user", content=f"question {i}"),)) for i in range(int(number)))
found = {}
Remote(settings).complete_each(asked, lambda i, reply: found.update({i: reply.text}))
assert found == {i: f"answer to question {i}" for i in range(int(number))}, "lost or mixed up"
print("done")
"""


@pytest.mark.slow
def test_under_fire_every_answer_is_there_once_and_none_is_asked_for_again(tmp_path):
    """400 requests, 30% faults, killed five times at random: what the journal had by a kill is never asked again."""
    draw, number, path = random.Random(0), 400, tmp_path / "j.sqlite"
    lock, asked, by_kill = threading.Lock(), list[str](), list[set[str]]()

    def faulty(request: Request) -> Response:
        with lock:
            asked.append(request.text)
            fault = draw.random()
        time.sleep(0.02)
        if fault < 0.1:
            return Response(429, "slow down", {"Retry-After": "0"})
        if fault < 0.2:
            return Response(503, "busy")
        return echo(request) if fault > 0.3 else Response(200, echo(request).body[:40])

    with ChatServer(faulty) as server:
        words = [sys.executable, "-c", ASKING, server.url, str(path), str(number)]
        environment = os.environ | {"no_proxy": "127.0.0.1"}
        for _ in range(5):
            process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
            until = len(asked) + 20 + int(60 * draw.random())
            while len(asked) < until:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
            journal = Journal(path)
            rows = journal._run("select body, answer from requests where status = 200")
            had = {json.loads(body)["messages"][0]["content"] for body, answer in rows if _is_whole(answer)}
            journal.close()
            time.sleep(0.2)  # what is still under way at the server comes to its end
            with lock:
                asked.append("killed")
            by_kill.append(had)
        last = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
        assert last.stdout == "done\n", last.stderr
    kills = [place for place, text in enumerate(asked) if text == "killed"]
    assert by_kill[0] and len(by_kill[0]) < len(by_kill[-1]) < number  # it was killed while there was work
    for place, had in zip(kills, by_kill, strict=True):
        assert not had & set(asked[place:])
    journal = Journal(path)
    assert journal._run("select count(*) from requests") == [(number,)]
    assert journal.in_doubt() == 0


def _is_whole(answer: str) -> bool:
    try:
        json.loads(answer)
    except ValueError:
        return False
    return True


# --- pace ---


def test_requests_go_out_at_even_distances_and_tokens_count():
    clock = [100.0]
    pace = Pace(60, 0, now=lambda: clock[0])
    assert [round(pace.place(1000) * KEPT, 6) for _ in range(4)] == [0, 1, 2, 3]  # one a second
    clock[0] += 10
    assert pace.place(1000) == 0  # what was not used is not saved up ...
    assert pace.place(1000) == pytest.approx(1 / KEPT)  # ... so no minute sees more than its limit
    tokens = Pace(0, 6000, now=lambda: clock[0])
    assert tokens.place(200) == 0
    assert tokens.place(200) == pytest.approx(2 / KEPT)  # 200 tokens are two seconds of 6,000 a minute
    tokens.settle(200, 50)  # three quarters of the second request were not needed
    assert tokens.place(1) == pytest.approx(2.5 / KEPT)


def test_a_pause_that_one_worker_was_asked_for_holds_all():
    clock = [0.0]
    pace = Pace(0, 0, now=lambda: clock[0])
    assert pace.place(1) == 0
    pace.pause(7)
    assert pace.place(1) == 7
    clock[0] = 8
    assert pace.place(1) == 0


def test_two_hundred_workers_keep_to_the_limit(tmp_path):
    """By the server's clock: at 3,000 requests a minute, 100 take two seconds and no less."""
    came: list[float] = []

    def note(request: Request) -> Response:
        came.append(time.monotonic())
        return echo(request)

    with ChatServer(note) as server:
        settings = RemoteSettings(base_url=server.url, model="m", concurrency=200, requests_per_minute=3000)
        found: dict[int, str] = {}
        Remote(settings).complete_each(((i, ask(i)) for i in range(100)), lambda i, r: found.update({i: r.text}))
    assert len(found) == 100
    assert max(came) - min(came) > 99 * 0.02 * 0.95


# --- budget ---


def test_a_budget_stops_cleanly_and_goes_on_when_it_is_raised(tmp_path):
    """A request costs 10 x 1 + 30 x 3 = 100 millionths of a dollar."""
    settings = {"journal": str(tmp_path / "j.sqlite"), "prices": prices(tmp_path), "concurrency": 2}
    with ChatServer(echo) as server:
        found: dict[int, str] = {}
        remote = client(server.url, budget_usd=0.0005, **settings)
        with pytest.raises(BudgetSpentError, match=r"the budget of 0\.0005 dollars is spent \(0\.000[56]\): raise"):
            remote.complete_each(((i, ask(i)) for i in range(20)), lambda i, reply: found.update({i: reply.text}))
        assert 5 <= len(found) == len(server.requests) <= 6  # over it by what was under way, at most
        with pytest.raises(BudgetSpentError):  # the journal remembers what was spent
            client(server.url, budget_usd=0.0005, **settings).complete(ask(19))
        again: dict[int, str] = {}
        remote = client(server.url, budget_usd=1.0, **settings)
        remote.complete_each(((i, ask(i)) for i in range(20)), lambda i, reply: again.update({i: reply.text}))
        assert len(again) == 20 and len(server.requests) == 20
        assert remote._server.spending.usd == pytest.approx(20 * 100e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget_usd": 1.0}, "a budget of 1 dollars needs prices: name a table, prices=FILE"),
        ({"budget_usd": 1.0, "prices": "PRICES", "model": "other"}, "no 'other' for model 'other'; the table has m"),
    ],
)
def test_budgets_that_cannot_be_kept(tmp_path, settings, message):
    settings = {name: prices(tmp_path) if value == "PRICES" else value for name, value in settings.items()}
    with pytest.raises(ValueError, match=message):
        Remote(RemoteSettings(**{"model": "m"} | settings))


def test_a_journal_beside_a_policy_that_trains_is_refused(tmp_path):
    from camelid.models.sampling import EngineSettings
    from camelid.models.server import ServerSettings
    from camelid.models.server_engine import ServerEngine

    server = ServerSettings(model="m", journal=str(tmp_path / "j.sqlite"))
    engine = ServerEngine(EngineSettings(kind="server", server=server, exchange=str(tmp_path)), None, None)
    with pytest.raises(RemoteError, match="has answers of the old ones: set it to nothing where the policy trains"):
        engine.refresh(lambda folder: None)
