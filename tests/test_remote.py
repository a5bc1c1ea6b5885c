"""The client of chat servers, against a real server on loopback: what it sends, repeats, gives up on, never shows."""

import threading
import time
from email.utils import formatdate
from itertools import chain, repeat

import pytest

from camelid.models.endpoint import parse_retry_after
from camelid.models.remote import Remote, RemoteSettings
from camelid.models.server import RemoteError
from camelid.types import Message
from chat_server import ChatServer, Response, says

KEY = "sk-loopback-0123456789"
HELLO = (Message(role="system", content="Be brief."), Message(role="user", content="Hello"))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TEST_KEY", KEY + "\n")  # keys read from files end like this


def script(*responses):
    """Answers in this order, the last one for ever; safe for several threads at once."""
    lock, rest = threading.Lock(), chain(responses, repeat(responses[-1]))

    def answer(request):
        with lock:
            return next(rest)

    return answer


def client(server, waits=None, **settings):
    settings = {"base_url": server.url, "model": "judge-1", "key_variable": "TEST_KEY"} | settings
    return Remote(RemoteSettings(**settings), sleep=(waits if waits is not None else []).append)


def test_a_request_and_its_reply():
    with ChatServer(script(says("Hi \u2028 there"))) as server:
        reply = client(server, temperature=0.5, max_tokens=7, extra={"top_p": 0.9}).complete(HELLO)
    assert reply == ("Hi \u2028 there", "m-1", "stop", 1, "", None, None)
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "judge-1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "max_tokens": 7,
        "top_p": 0.9,
    }


def test_a_field_can_be_replaced_and_without_a_key_none_is_sent():
    with ChatServer(script(says("Hi"))) as server:
        extra = {"max_tokens": None, "temperature": None, "max_completion_tokens": 9}
        client(server, extra=extra, key_variable="NOT_SET", base_url=server.url + "/").complete(HELLO)
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert set(request.body) == {"model", "messages", "max_completion_tokens"}
    assert "Authorization" not in request.headers


def test_no_content_is_an_empty_text_and_lone_surrogates_become_question_marks():
    with ChatServer(script(says(None), says("a \ud800 b"))) as server:
        remote = client(server)
        assert [remote.complete(HELLO).text for _ in range(2)] == ["", "a ? b"]


def counted(**usage):
    return says("Hi", usage=usage)


@pytest.mark.parametrize(
    ("response", "usage"),
    [
        (counted(prompt_tokens=12, completion_tokens=3, total_tokens=15), (12, 3)),
        (says("Hi", usage=None), None),
        (says("Hi", usage=[12, 3]), None),
        (counted(prompt_tokens=12), None),
        (counted(prompt_tokens=-1, completion_tokens=3), None),
        (counted(prompt_tokens="12", completion_tokens=True), None),
    ],
)
def test_tokens_used_come_from_the_server_or_are_unknown(response, usage):
    with ChatServer(script(response)) as server:
        assert client(server).complete(HELLO).usage == usage


def with_logprobs(logprobs):
    return says("", choices=[{"message": {"content": "m"}, "finish_reason": "length", "logprobs": logprobs}])


@pytest.mark.parametrize(
    ("logprobs", "tokens"),
    [
        ({"content": [{"token": "m", "logprob": -0.5, "top_logprobs": [{"token": "M", "logprob": -1}]}]}, (-0.5, -1)),
        ({"content": [{"token": "m", "logprob": -0.5}, {"token": "x", "logprob": -9}]}, (-0.5, None)),
        (None, None),
        ({"content": None}, None),
        ({"content": []}, None),
        ({"content": [{"token": "m"}]}, None),
        ({"content": [{"token": "m", "logprob": 0.7}]}, None),  # a probability is no log-probability
    ],
)
def test_the_first_tokens_log_probabilities(logprobs, tokens):
    with ChatServer(script(with_logprobs(logprobs))) as server:
        found = client(server).complete(HELLO).first_token
    assert (found and (found.get("m"), found.get("M"))) == tokens


def test_429_waits_as_long_as_the_server_asks_and_a_little_more():
    waits = []
    with ChatServer(script(Response(429, headers={"Retry-After": "7"}), says("Hi"))) as server:
        assert client(server, waits).complete(HELLO).attempts == 2
    assert 7 <= waits[0] <= 8
    assert waits[1:] == [pytest.approx(7, abs=0.5)]  # all workers pause, and here no time has passed


def test_a_wait_over_the_limit_stops_at_once():
    waits = []
    with (
        ChatServer(script(Response(429, "no quota", {"Retry-After": "3600"}))) as server,
        pytest.raises(RemoteError, match=r"asks to wait 3600 s, over max_wait_seconds=120.*no quota"),
    ):
        client(server, waits).complete(HELLO)
    assert (len(server.requests), waits) == (1, [])


def test_retry_after_is_seconds_or_a_date():
    assert parse_retry_after("0.5") == 0.5
    assert 50 < parse_retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0  # past
    assert [parse_retry_after(value) for value in ("", "soon", "-1", "nan", "inf")] == [None] * 5


def test_server_errors_are_waited_out_twice_as_long_each_time_up_to_the_limit():
    waits = []
    with ChatServer(script(*[Response(503)] * 5, says("Hi"))) as server:
        reply = client(server, waits, backoff_seconds=1, max_wait_seconds=10).complete(HELLO)
    assert (reply.text, reply.attempts) == ("Hi", 6)
    for wait, shortest, longest in zip(waits, (1, 2, 4, 8, 10), (2, 4, 8, 10, 10), strict=True):
        assert shortest <= wait <= longest


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (Response(500, "boom"), "HTTP 500: boom"),
        (Response(200, "{half a"), "HTTP 200: {half a"),
        (Response(200, '{"choices": []}'), "HTTP 200"),
        (says(["a", "list"]), "HTTP 200"),
        (Response(200, "[1]"), "HTTP 200: .1."),
        (Response(200, "some", {"Content-Length": "99"}), "HTTP 200: some"),  # the connection ended early
    ],
)
def test_it_gives_up_after_the_last_attempt_with_the_reason(response, problem):
    with (
        ChatServer(script(response)) as server,
        pytest.raises(RemoteError, match=rf"given up after 3 attempts \({problem}"),
    ):
        client(server, max_retries=2).complete(HELLO)
    assert len(server.requests) == 3


def test_malformed_json_once_is_asked_again():
    with ChatServer(script(Response(200, "<html>busy</html>"), says("Hi"))) as server:
        assert client(server).complete(HELLO).text == "Hi"


def test_a_silent_server_and_no_server():
    silence = threading.Event()

    def answer(request):
        if len(server.requests) == 1:
            silence.wait(5)
        return says("Hi")

    with ChatServer(answer) as server:
        assert client(server, timeout_seconds=0.1).complete(HELLO).attempts == 2
        silence.set()
    with pytest.raises(RemoteError, match=r"given up after 2 attempts .*refused"):
        client(server, max_retries=1).complete(HELLO)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "model 'judge-1' refused to the key in TEST_KEY"),
        (403, "model 'judge-1' refused to the key in TEST_KEY"),
        (404, "no model 'judge-1'; most servers want base_url to end in /v1"),
        (402, "refused"),
    ],
)
def test_what_no_waiting_mends_stops_at_once_and_says_what_to_mend(status, message):
    waits = []
    # The server quotes the key where a careless cut would leave half of it.
    body = "x" * 270 + f" your key Bearer {KEY} is bad"
    with ChatServer(script(Response(status, body))) as server, pytest.raises(RemoteError) as caught:
        client(server, waits).complete(HELLO)
    assert message in str(caught.value)
    assert f"HTTP {status}: xxx" in str(caught.value)
    assert KEY[:8] not in str(caught.value)
    assert (len(server.requests), waits) == (1, [])


def test_a_missing_key_is_named():
    with (
        ChatServer(script(Response(401))) as server,
        pytest.raises(RemoteError, match="no key: NOT_SET is not set"),
    ):
        client(server, key_variable="NOT_SET").complete(HELLO)


def test_redirects_do_not_carry_the_key_away():
    with ChatServer(script(says("Hi"))) as other:
        moved = Response(302, headers={"Location": other.url})
        with ChatServer(script(moved)) as server, pytest.raises(RemoteError, match="redirects are not followed"):
            client(server).complete(HELLO)
    assert other.requests == []


def test_a_rejected_request_is_a_value():
    with ChatServer(script(Response(400, "the prompt is too long"))) as server:
        reply = client(server).complete(HELLO)
    assert (reply.text, reply.rejected, len(server.requests)) == ("", "HTTP 400: the prompt is too long", 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ""}, "name a model"),
        ({"base_url": "file:///etc"}, "no address"),
        ({"base_url": "http://host/a b"}, "no address"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "holds a password"),
        ({"base_url": f"me:{KEY}@host/v1"}, "holds a password"),
        ({"base_url": f"http://host/v1?key={KEY}"}, "holds a password or a query"),
        ({"base_url": "localhost:8000/v1"}, "no address of a server; write one such as"),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        Remote(RemoteSettings(**({"model": "m"} | settings)))
    assert KEY not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_not_quoted(monkeypatch):
    monkeypatch.setenv("TEST_KEY", "two\nlines")
    with pytest.raises(ValueError, match="key in TEST_KEY has signs") as caught:
        Remote(RemoteSettings(model="m", key_variable="TEST_KEY"))
    assert "two" not in str(caught.value)


def requests(count):
    return [(i, (Message(role="user", content=str(i)),)) for i in range(count)]


def test_several_requests_are_under_way_at_once_and_each_is_recorded_once():
    together = threading.Barrier(4)

    def answer(request):
        together.wait(5)  # breaks unless four requests wait here at the same time
        return says(f"re: {request.text}")

    recorded = {}
    with ChatServer(answer) as server:
        client(server, concurrency=4, max_retries=0).complete_each(requests(12), recorded.__setitem__)
    assert {i: reply.text for i, reply in recorded.items()} == {i: f"re: {i}" for i in range(12)}
    assert len(server.requests) == 12


def test_after_an_error_nothing_new_is_asked_and_what_is_under_way_is_recorded():
    failed = threading.Event()

    def answer(request):
        if request.text == "1":
            failed.set()
            return Response(401)
        if request.text == "0":
            failed.wait(5)
            time.sleep(0.5)  # the client has seen the 401 by now
        return says("Hi")

    recorded = {}
    with ChatServer(answer) as server, pytest.raises(RemoteError, match="401"):
        client(server, concurrency=2).complete_each(requests(50), recorded.__setitem__)
    assert 0 in recorded and 1 not in recorded
    assert len(server.requests) == 2


def test_an_error_ends_the_long_waits_of_others():
    def answer(request):
        while len(server.requests) < 2:  # a pause that the first is asked for would hold the second
            time.sleep(0.01)
        if request.text == "0":
            return Response(503, headers={"Retry-After": "100"})
        time.sleep(0.3)
        return Response(401)

    began = time.monotonic()
    with ChatServer(answer) as server:
        settings = RemoteSettings(base_url=server.url, model="m", concurrency=2)
        with pytest.raises(RemoteError, match="401"):  # and not that of the request that waited
            Remote(settings).complete_each(requests(2), lambda i, reply: None)
    assert time.monotonic() - began < 5


def test_an_error_while_recording_is_raised():
    def record(i, reply):
        raise OSError("no space left")

    with ChatServer(script(says("Hi"))) as server, pytest.raises(OSError, match="no space left"):
        client(server, concurrency=1).complete_each(requests(5), record)
    assert len(server.requests) == 1
