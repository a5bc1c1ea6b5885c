"""Journal, pace and budget of a server's client: nothing paid for is lost or paid again, limits are kept."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from camelid.models.journal import Journal, key_of, written
from camelid.models.pace import KEPT, Pace
from camelid.models.remote import Remote, RemoteSettings
from camelid.models.replay_server import FAULTS, ReplayServer, ReplaySettings
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
from camelid.models.spending import BudgetSpentError
from camelid.types import Message
url, journal, prices, budget, number = sys.argv[1:]
more = {"concurrency": 100, "backoff_seconds": 0.05, "timeout_seconds": 3, "max_retries": 50}
more |= {"prices": prices, "budget_usd": float(budget)}
settings = RemoteSettings(base_url=url, model="m", journal=journal, **more)
asked = ((i, (Message(role="user", content=f"question {i}"),)) for i in range(int(number)))
found = {}
try:
    Remote(settings).complete_each(asked, lambda i, reply: found.update({i: reply.text}))
except BudgetSpentError as error:
    print(error)
else:
    assert len(found) == int(number)
    print("done")
assert all(text == f"answer {i}. " * (1 + i % 9) for i, text in found.items()), "mixed up"
"""
QUESTIONS, KILLS, CONCURRENCY = 2000, 20, 100


class Watched(ReplayServer):
    """Notes what came and what was answered, in order, with the question and the fault that it met."""

    def __init__(self, path: Path, settings: ReplaySettings):
        super().__init__(path, settings)
        self.events: list[tuple[str, str, str]] = []
        watched = self

        class Handler(self._server.RequestHandlerClass):
            def _answer(self, body, fault):
                question = body["messages"][-1]["content"]
                watched.events.append(("came", question, fault))
                super()._answer(body, fault)
                watched.events.append(("answered", question, fault))

        self._server.RequestHandlerClass = Handler

    def number(self, what: str) -> int:
        return sum(kind == what for kind, _, _ in self.events)

    def lives(self) -> list[list[tuple[str, str, str]]]:
        """The events of each of the clients that were killed, and of the last."""
        lives: list[list[tuple[str, str, str]]] = [[]]
        for event in list(self.events):
            lives[-1].append(event)
            if event[0] == "killed":
                lives.append([])
        return lives


def had(path: Path) -> tuple[set[str], float]:
    """Questions whose whole answers a journal has, and what it says was spent, in millionths of a dollar."""
    with closing(Journal(path)) as journal:
        rows = journal._run("select body, answer from requests where status = 200")
        prompt, completion = journal.tokens()
    whole = {json.loads(body)["messages"][0]["content"] for body, answer in rows if _is_whole(answer)}
    return whole, prompt + 3 * completion


@pytest.mark.slow
def test_under_fire_every_answer_is_there_once_and_none_is_asked_for_again(tmp_path):
    """2,000 requests, 100 at once, 30% faults of all kinds, 20 kills at random moments, a budget that is too small.

    What the journal had by a kill is never asked again, within one life nothing that was answered is, the budget is
    overshot by what is under way at most, and with a larger one the rest is done.
    """
    draw, path, rows = random.Random(0), tmp_path / "j.sqlite", tmp_path / "recorded.json"
    answers = {f"question {i}": f"answer {i}. " * (1 + i % 9) for i in range(QUESTIONS)}
    rows.write_text(json.dumps([{"instruction": q, "output": a} for q, a in answers.items()]))
    whole_cost = sum(len(q) // 4 + 3 * (len(a) // 4) for q, a in answers.items())  # each paid once
    budget = 0.8 * whole_cost
    dearest = 3 * (200 + max(map(len, answers.values()))) / 4  # by characters, as half an answer is counted
    faulty = ReplaySettings(faults=0.3, latency_seconds=0.02, silence_seconds=4)
    environment = os.environ | {"no_proxy": "127.0.0.1"}

    with closing(Watched(rows, faulty)) as server:
        server.start()

        def words(dollars: float) -> list[str]:
            settings = [server.url, path, prices(tmp_path), dollars, QUESTIONS]
            return [sys.executable, "-c", ASKING, *map(str, settings)]

        by_kill = []
        for _ in range(KILLS):
            process = subprocess.Popen(words(budget / 1e6), env=environment, stdout=subprocess.DEVNULL)
            until = server.number("came") + draw.randint(1, 150)
            while server.number("came") < until:
                assert process.poll() is None, "ended before it was killed"
                time.sleep(draw.uniform(0, 0.01))
            process.send_signal(signal.SIGKILL)
            process.wait()
            by_kill.append(had(path)[0])
            time.sleep(0.1)  # what came before the kill is taken in by the server
            server.events.append(("killed", "", ""))
        stopped = subprocess.run(words(budget / 1e6), env=environment, capture_output=True, text=True, timeout=200)
        assert stopped.stdout.startswith("the budget of"), stopped.stderr
        at_stop, spent = had(path)
        assert budget <= spent <= budget + CONCURRENCY * dearest
        first_bill = server.number("came")
        again = subprocess.run(words(budget / 1e6), env=environment, capture_output=True, text=True, timeout=60)
        assert again.stdout.startswith("the budget of") and server.number("came") == first_bill
        last = subprocess.run(words(1.0), env=environment, capture_output=True, text=True, timeout=200)
        assert last.stdout == "done\n", last.stderr
        server.events.append(("killed", "", ""))

    lives = server.lives()
    faults = Counter(fault for life in lives for kind, _, fault in life if kind == "came")
    assert set(faults) == {"", *FAULTS} and 0.25 < 1 - faults[""] / faults.total() < 0.35
    assert by_kill[0] <= by_kill[-1] and 0 < len(by_kill[-1]) < len(at_stop) < QUESTIONS  # there was work at each kill
    for number, known in enumerate(by_kill):
        assert not known & {question for life in lives[number + 1 :] for kind, question, _ in life if kind == "came"}
    lost = 0
    for life, known in zip(lives, [*by_kill, set(answers)], strict=False):
        done: set[str] = set()
        for kind, question, fault in life:
            assert kind != "came" or question not in done
            if kind == "answered" and not fault:
                done.add(question)
        lost += len(done - known)  # on its way at the kill
    answered = Counter(q for life in lives for kind, q, fault in life if kind == "answered" and not fault)
    assert set(answers) == had(path)[0] and sum(answered.values()) <= QUESTIONS + lost
    assert lost <= KILLS * CONCURRENCY
    with closing(Journal(path)) as journal:
        assert journal.counts() == (QUESTIONS, QUESTIONS) and journal.in_doubt() == 0
        assert 0 <= journal.attempts() - sum(faults.values()) <= KILLS * CONCURRENCY  # written before they went out
    print(f"{faults.total()} requests came, {dict(faults)}; {lost} answers were on their way at {KILLS} kills")


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
