"""Asking a server that takes JSON: retries with growing waits, several requests at once, errors that say what to mend.

On request within the server's limits (`pace.py`), within a budget, and with a journal from which what was answered once
is answered for ever after (`journal.py`). A server that answers nobody is tried ever more seldom (`breaker.py`).

Left out: connections that are kept open (a reply takes far longer than a handshake). Standard library only; imports no
torch. Where the key goes, and where not: `endpoint.py`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from camelid.models.breaker import Breaker
from camelid.models.endpoint import Answer, Endpoint
from camelid.models.journal import Journal, key_of, written
from camelid.models.pace import Pace
from camelid.models.spending import Spending

REJECTED = (400, 413, 422)
"""Statuses that speak of this one request, such as a prompt longer than the context window."""
NOBODY = 10
"""Failed attempts in a row, from all workers, after which one at a time tries the server."""
Name = TypeVar("Name")
Found = TypeVar("Found")


class ServerSettings(BaseModel):
    """OpenAI-compatible server."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base_url: str = "http://localhost:8000/v1"
    """Address of the server, up to and without /chat/completions."""
    model: str = ""
    """Name of the model, as the server knows it."""
    key_variable: str = "CAMELID_API_KEY"
    """Name of the environment variable that holds the key; where it is not set, no key is sent."""
    key_file: str = ""
    """A file that holds the key, and that nobody but its owner may read (mode 600); comes before the variable."""
    extra: dict[str, Any] = {}
    """More fields of the request's body; null removes one: {"max_tokens": null, "max_completion_tokens": 4096}. A
    server that takes no seed is asked for several answers to one question with {"seed": null}."""
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
    requests_per_minute: float = Field(default=0.0, ge=0)
    """The server's limit; 0 for none."""
    tokens_per_minute: float = Field(default=0.0, ge=0)
    """The server's limit on prompts and completions together; 0 for none."""
    journal: str = ""
    """An SQLite file of requests and raw answers: what has been answered is never asked again, by any run that names
    the file. For servers whose model stays as it is."""
    prices: str = ""
    """A table of prices, a JSON file {"MODEL": {"input": USD, "output": USD}}, each for a million tokens."""
    budget_usd: float = Field(default=0.0, ge=0)
    """Nothing more is asked once so much is spent, the journal's earlier answers counted; 0 for no limit."""


class Asked(NamedTuple, Generic[Found]):
    """What came of one request."""

    found: Found | None
    """None where it was rejected."""
    attempts: int
    """0 where the journal answered."""
    rejected: str = ""
    """Why there is no answer to this one request: the server will not take it, or never gave one that can be read while
    it answered others."""


class _Request(NamedTuple):
    """One request, made ready."""

    data: str
    """The body as it is sent."""
    key: str
    """What the journal knows it by."""


class RemoteError(RuntimeError):
    """The server cannot be used as it is set; the message says what to mend."""


class Server(Generic[Found]):
    """A path of a server whose answers `read` understands, or not (None: garbled, ask again).

    `sleep` waits so many seconds between two attempts; the default wakes up when the work is stopped.
    """

    def __init__(
        self,
        settings: ServerSettings,
        path: str,
        read: Callable[[str], Found | None],
        *,
        sleep: Callable[[float], object] | None = None,
    ):
        self.settings, self.read = settings, read
        address = settings.base_url.rstrip("/") + path
        self._endpoint = Endpoint(address, settings.key_variable, settings.timeout_seconds, settings.key_file)
        self.journal = Journal(Path(settings.journal)) if settings.journal else None
        self.spending = Spending(settings.model, settings.prices, settings.budget_usd, self.journal)
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        self._breaker = Breaker(NOBODY, settings.backoff_seconds, settings.max_wait_seconds)
        self._answered, self._counting = 0, threading.Lock()
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait

    def key(self, body: Mapping[str, Any]) -> str:
        """What the journal knows a request by."""
        return self._request(body).key

    def ask(self, body: Mapping[str, Any]) -> Asked[Found]:
        """The answer to `body` and `extra`. Raises RemoteError where asking again is of no use, or was of none."""
        s, answered_before = self.settings, self._answered
        request = self._request(body)
        if (known := self._known(request)) is not None:
            return Asked(known, 0)
        for attempt in range(1, s.max_retries + 2):
            wait = min(random.uniform(1, 2) * s.backoff_seconds * 2 ** (attempt - 1), s.max_wait_seconds)
            try:
                answer = self._post(request)
            except ConnectionError as error:
                problem = str(error)
            else:
                if answer.status == 200 and (found := self.read(answer.body)) is not None:
                    with self._counting:
                        self._answered += 1
                    return Asked(found, attempt)
                problem = f"HTTP {answer.status}: {self._endpoint.quote(answer.body)}"
                if answer.status in REJECTED:
                    return Asked(None, attempt, rejected=problem)
                self._check_worth_asking_again(answer, problem)
                if answer.retry_after is not None:  # and not all at the same moment again
                    self._pace.pause(answer.retry_after)
                    wait = answer.retry_after + random.uniform(0, 1) * s.backoff_seconds
            if attempt <= s.max_retries:
                self._wait(wait, problem)
        problem = f"given up after {attempt} attempts ({problem})"
        if self._answered > answered_before:  # others had answers meanwhile: it is this request
            return Asked(None, attempt, rejected=problem)
        raise RemoteError(f"{self._endpoint.address}: {problem}")

    def _request(self, body: Mapping[str, Any]) -> _Request:
        """A seed that `extra` takes out, or sets to another, still tells samples apart."""
        extra = self.settings.extra
        data = written({name: value for name, value in {**body, **extra}.items() if value is not None})
        unsent = f"seed {body['seed']}" if "seed" in body and "seed" in extra else ""
        return _Request(data, key_of(self._endpoint.address, data, unsent))

    def _known(self, request: _Request) -> Found | None:
        """What the journal has. An answer that cannot be read is asked for again."""
        if self.journal is None:
            return None
        body = self.journal.answer(request.key)
        return None if body is None else self.read(body)

    def _post(self, request: _Request) -> Answer:
        """One attempt, when pace and budget allow it, written down before and after."""
        while (seconds := self._breaker.wait()) > 0:
            self._wait(seconds, "the server answers nobody")
        self.spending.check()
        data, key = request
        expected = self.spending.expected_tokens(data)
        if (seconds := self._pace.place(expected)) > 0:
            self._wait(seconds, "waiting for its turn")
        if self.journal is not None:
            self.journal.goes_out(key, self._endpoint.address, data)
        try:
            answer = self._endpoint.post(data.encode())
        except ConnectionError as error:
            self._pace.settle(expected, 0)
            self._not_there(str(error))
            raise
        if answer.status >= 500:
            self._not_there(f"HTTP {answer.status}: {self._endpoint.quote(answer.body)}")
        else:
            self._breaker.worked()
        used = self.spending.used_tokens(data, answer)
        if self.journal is not None:
            self.journal.came_back(key, answer.status, answer.body, *used)
        self.spending.add(*used)
        self._pace.settle(expected, sum(used))
        return answer

    def _not_there(self, problem: str) -> None:
        self._breaker.failed()
        if self._breaker.trials > self.settings.max_retries:
            raise self._error(f"has answered nobody, at {self._breaker.trials} trials one after another", problem)

    def _wait(self, seconds: float, problem: str) -> None:
        self._sleep(seconds)
        if self._stopping.is_set():
            raise self._error("stopped while waiting", problem)

    def ask_each(
        self, requests: Iterable[tuple[Name, Mapping[str, Any]]], record: Callable[[Name, Asked[Found]], None]
    ) -> None:
        """Ask all, `concurrency` at once; `record` gets each answer as it comes, never two at a time.

        What the journal has comes first, so that its cost is known before more is spent. At the first error nothing
        new is asked, what is under way is still recorded, and the error is raised.
        """
        waiting, taking, recording = iter(self._new(requests, record)), threading.Lock(), threading.Lock()
        errors: list[BaseException] = []

        def work() -> None:
            try:
                while not self._stopping.is_set():
                    with taking:
                        request = next(waiting, None)
                    if request is None:
                        return
                    asked = self.ask(request[1])
                    with recording:
                        record(request[0], asked)
            except BaseException as error:
                errors.append(error)
                self._stopping.set()

        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            try:
                for worker in [pool.submit(work) for _ in range(self.settings.concurrency)]:
                    worker.result()
            finally:  # Ctrl-C arrives here, in the main thread
                self._stopping.set()
        self._stopping.clear()
        if errors:
            raise errors[0]

    def _new(
        self, requests: Iterable[tuple[Name, Mapping[str, Any]]], record: Callable[[Name, Asked[Found]], None]
    ) -> Iterable[tuple[Name, Mapping[str, Any]]]:
        """Those that the journal has no answer to; the others are recorded."""
        if self.journal is None:
            return requests
        new = []
        for name, body in requests:
            known = self._known(self._request(body))
            if known is None:
                new.append((name, body))
            else:
                record(name, Asked(known, 0))
        return new

    def _check_worth_asking_again(self, answer: Answer, problem: str) -> None:
        """Raise RemoteError, with what to mend, unless waiting within the limit may help."""
        s, status = self.settings, answer.status
        if status in (401, 403):
            where = s.key_file or s.key_variable
            key = f"the key in {where}" if self._endpoint.has_key else f"no key: {s.key_variable} is not set"
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
