"""A model behind an OpenAI-compatible chat server: POST {base_url}/chat/completions, with retries, several at once.

Left out: streaming, tools, connections that are kept open (a reply takes far longer than a handshake).
Standard library only; imports no torch. Where the key goes, and where not: `endpoint.py`.

    remote = Remote(RemoteSettings(base_url="http://localhost:8000/v1", model="my-model"))
    print(remote.complete((Message(role="user", content="Hello"),)).text)
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from camelid.models.completion import Usage, read_completion
from camelid.models.endpoint import Answer, Endpoint
from camelid.types import Messages

REJECTED = (400, 413, 422)
"""Statuses that speak of this one request, such as a prompt longer than the context window."""
Name = TypeVar("Name")


class RemoteSettings(BaseModel):
    """Chat server."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base_url: str = "http://localhost:8000/v1"
    """Address of the server, up to and without /chat/completions."""
    model: str = ""
    """Name of the model, as the server knows it."""
    key_variable: str = "CAMELID_API_KEY"
    """Name of the environment variable that holds the key; where it is not set, no key is sent."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature."""
    max_tokens: int = Field(default=1024, ge=1)
    """Most tokens of a reply, its reasoning included."""
    extra: dict[str, Any] = {}
    """More fields of the request's body; null removes one: {"max_tokens": null, "max_completion_tokens": 4096}."""
    concurrency: int = Field(default=8, ge=1)
    """Requests under way at once."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Longest silence of the server."""
    max_retries: int = Field(default=6, ge=0)
    """How often a request is repeated after 429, 5xx, a timeout, a lost connection or a garbled reply."""
    backoff_seconds: float = Field(default=1.0, ge=0)
    """Wait before the first repetition; doubles with each, and up to as much again is added at random."""
    max_wait_seconds: float = Field(default=120.0, ge=0)
    """A server that asks to wait longer than this stops the work."""


class Reply(NamedTuple):
    """What came of one request."""

    text: str
    model: str
    """The model that answered, by the server's word."""
    finish_reason: str
    attempts: int
    rejected: str = ""
    """Why the server will not take this one request, whoever asks and when; the text is then empty."""
    usage: Usage | None = None
    """Tokens used, where the server says so."""
    first_token: dict[str, float] | None = None
    """Log-probabilities of the likeliest first tokens, where `extra` asked for them and the server sent them."""


class RemoteError(RuntimeError):
    """The server cannot be used as it is set; the message says what to mend."""


class Remote:
    """A client. `sleep` waits so many seconds between two attempts; the default wakes up when the work is stopped."""

    def __init__(self, settings: RemoteSettings, *, sleep: Callable[[float], object] | None = None):
        if not settings.model:
            raise ValueError("remote.model is empty: name a model that the server has")
        self.settings = settings
        address = settings.base_url.rstrip("/") + "/chat/completions"
        self._endpoint = Endpoint(address, settings.key_variable, settings.timeout_seconds)
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait

    def complete(self, messages: Messages) -> Reply:
        """The reply to `messages`. Raises RemoteError where asking again is of no use, or was of none."""
        s = self.settings
        body = {"model": s.model, "messages": [m.model_dump() for m in messages]}
        body |= {"temperature": s.temperature, "max_tokens": s.max_tokens} | s.extra
        data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        for attempt in range(1, s.max_retries + 2):
            wait = min(random.uniform(1, 2) * s.backoff_seconds * 2 ** (attempt - 1), s.max_wait_seconds)
            try:
                answer = self._endpoint.post(data)
            except ConnectionError as error:
                problem = str(error)
            else:
                if answer.status == 200 and (said := read_completion(answer.body)):
                    return Reply(*said[:3], attempt, usage=said.usage, first_token=said.first_token)
                problem = f"HTTP {answer.status}: {self._endpoint.quote(answer.body)}"
                if answer.status in REJECTED:
                    return Reply("", "", "", attempt, rejected=problem)
                self._check_worth_asking_again(answer, problem)
                if answer.retry_after is not None:  # and not all at the same moment again
                    wait = answer.retry_after + random.uniform(0, 1) * s.backoff_seconds
            if attempt <= s.max_retries:
                self._sleep(wait)
                if self._stopping.is_set():
                    raise self._error("stopped while waiting to ask again", problem)
        raise self._error(f"given up after {attempt} attempts", problem)

    def complete_each(self, requests: Iterable[tuple[Name, Messages]], record: Callable[[Name, Reply], None]) -> None:
        """Ask all, `concurrency` at once; `record` gets each reply as it comes, never two at a time.

        At the first error nothing new is asked, what is under way is still recorded, and the error is raised.
        """
        waiting, taking, recording = iter(requests), threading.Lock(), threading.Lock()
        errors: list[BaseException] = []
        self._stopping.clear()

        def work() -> None:
            try:
                while not self._stopping.is_set():
                    with taking:
                        request = next(waiting, None)
                    if request is None:
                        return
                    reply = self.complete(request[1])
                    with recording:
                        record(request[0], reply)
            except BaseException as error:
                errors.append(error)
                self._stopping.set()

        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            try:
                for worker in [pool.submit(work) for _ in range(self.settings.concurrency)]:
                    worker.result()
            finally:  # Ctrl-C arrives here, in the main thread
                self._stopping.set()
        if errors:
            raise errors[0]

    def _check_worth_asking_again(self, answer: Answer, problem: str) -> None:
        """Raise RemoteError, with what to mend, unless waiting within the limit may help."""
        s, status = self.settings, answer.status
        if status in (401, 403):
            key = f"the key in {s.key_variable}" if self._endpoint.has_key else f"no key: {s.key_variable} is not set"
            raise self._error(f"model {s.model!r} refused to {key}", problem)
        if status == 404:
            raise self._error(
                f"nothing there, or no model {s.model!r}; most servers want base_url to end in /v1", problem
            )
        if status != 200 and status < 500 and status not in (408, 429):
            raise self._error("refused (redirects are not followed)" if status < 400 else "refused", problem)
        if (answer.retry_after or 0) > s.max_wait_seconds:
            limit = f"max_wait_seconds={s.max_wait_seconds:g}"
            raise self._error(f"asks to wait {answer.retry_after:.0f} s, over {limit}; run again then", problem)

    def _error(self, what: str, problem: str) -> RemoteError:
        return RemoteError(f"{self._endpoint.address}: {what} ({problem})")
