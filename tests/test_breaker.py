"""The circuit breaker, by a clock of the test's; and a server that is down, by a client."""

from __future__ import annotations

import pytest

from camelid.models.breaker import Breaker
from camelid.models.server import NOBODY, RemoteError, Server, ServerSettings
from chat_server import ChatServer, Response


def test_it_opens_after_so_many_failures_in_a_row_and_lets_one_try_at_a_time():
    clock = [0.0]
    breaker = Breaker(3, 2.0, 10.0, now=lambda: clock[0])
    for _ in range(2):
        breaker.failed()
    breaker.worked()  # in a row
    for _ in range(2):
        breaker.failed()
    assert breaker.wait() == 0
    breaker.failed()
    assert breaker.wait() == 2 and breaker.trials == 0
    breaker.failed()  # one that was under way: no trial
    assert breaker.wait() == 2 and breaker.trials == 0
    clock[0] = 2
    assert breaker.wait() == 0  # this one tries ...
    assert breaker.wait() == 2  # ... and the others wait
    breaker.failed()
    assert (breaker.wait(), breaker.trials) == (4, 1)
    waits = []
    for _ in range(3):
        clock[0] += 10
        assert breaker.wait() == 0
        breaker.failed()
        waits.append(breaker.wait())
    assert waits == [8, 10, 10]  # doubled, up to the longest
    clock[0] += 10
    assert breaker.wait() == 0
    breaker.worked()
    assert breaker.wait() == breaker.wait() == 0 and breaker.trials == 0


def test_a_trial_that_never_comes_back_blocks_nobody_for_ever():
    clock = [0.0]
    breaker = Breaker(1, 2.0, 10.0, now=lambda: clock[0])
    breaker.failed()
    clock[0] = 2
    assert breaker.wait() == 0
    assert breaker.wait() == 2
    clock[0] = 4
    assert breaker.wait() == 0


def test_a_server_that_is_down_is_not_stormed(monkeypatch):
    """200 requests, 20 workers: without a breaker 200 x 4 attempts, with it the first ones and a few trials."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ChatServer(lambda request: Response(503, "down")) as server:
        settings = ServerSettings(
            base_url=server.url, model="m", concurrency=20, max_retries=3, backoff_seconds=0.05, max_wait_seconds=0.2
        )
        client = Server(settings, "/chat/completions", lambda body: body)
        with pytest.raises(RemoteError, match=r"503: down|given up"):
            client.ask_each(((i, {"messages": [{"content": str(i)}]}) for i in range(200)), lambda *_: None)
        assert NOBODY <= len(server.requests) <= 20 + NOBODY + 2 * 20
