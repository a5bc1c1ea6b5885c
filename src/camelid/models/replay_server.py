"""Recorded answers as an OpenAI-compatible server on loopback, well-behaved or not.

For whoever has no key, and for tests of what asks: `POST /v1/chat/completions` is answered with what was recorded for
the question (`recorded.py`), after a wait, within a limit of requests a minute, and on request with faults of the
kinds that real servers have. A question that nobody recorded is a 400, which says so.

    camelid teacher replay answers.json --port 8700 --faults 0.3

Faults are drawn from a stream of their own, so the same order of requests meets the same ones. Left out: streaming.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from camelid.models.recorded import Answerer
from camelid.models.spending import CHARACTERS_A_TOKEN

ADDRESS = "127.0.0.1"
FAULTS = ("429", "500", "silence", "cut off", "slow")
"""A refusal with Retry-After, an error, no answer at all, half an answer, and an answer that trickles."""
MAX_BODY = 4 << 20
SLOW_PIECES = 10


class ReplaySettings(NamedTuple):
    """How it behaves."""

    port: int = 0
    """0: any that is free."""
    faults: float = 0.0
    """Share of requests that meet one of `FAULTS`."""
    latency_seconds: float = 0.0
    """From a request to its answer."""
    silence_seconds: float = 5.0
    """How long a silent or a slow answer takes."""
    requests_per_minute: float = 0.0
    """Above it, counted over the last minute, requests are refused with 429; 0 for no limit."""
    seed: int = 0
    """Of the faults."""


class ReplayServer:
    """Serves between `start` and `close`. Raises ValueError for a file without answers or a port that is taken."""

    def __init__(self, path: Path, settings: ReplaySettings):
        if not 0 <= settings.faults <= 1:
            raise ValueError(f"--faults {settings.faults:g}: a share of the requests, from 0 to 1")
        self.answerer, self.settings, self.name = Answerer(path), settings, f"recorded-{path.stem}"
        self.counts: Counter[str] = Counter()
        """Requests by what became of them."""
        self.came: list[float] = []
        """When requests came that the limit let through, in seconds of the monotonic clock."""
        self.most_at_once = 0
        """Requests that were under way at one time."""
        self._under_way = 0
        self._draw, self._lock = random.Random(settings.seed), threading.Lock()
        try:
            self._server = _Server((ADDRESS, settings.port), _handler(self))
        except (OSError, OverflowError) as error:
            raise ValueError(f"--port {settings.port}: {error}; give another, or 0 for a free one") from None
        self.url = f"http://{ADDRESS}:{self._server.server_address[1]}/v1"

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Serve until `close`, or a KeyboardInterrupt."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self) -> str:
        """What the next request meets; empty: nothing. A request above the limit meets a refusal."""
        with self._lock:
            now, limit = time.monotonic(), math.ceil(self.settings.requests_per_minute)
            if limit and len(self.came) >= limit and now - self.came[-limit] < 60:
                self.counts["above the limit"] += 1
                return "429"
            self.came.append(now)
            met = self._draw.choice(FAULTS) if self._draw.random() < self.settings.faults else ""
            self.counts[met or "answered"] += 1
            return met

    def under_way(self, change: int) -> None:
        """A request has begun, 1, or ended, -1."""
        with self._lock:
            self._under_way += change
            self.most_at_once = max(self.most_at_once, self._under_way)

    def completion(self, body: Any) -> tuple[int, dict[str, Any]]:
        """Status and answer to a request's body."""
        try:
            asked = body["messages"][-1]["content"]
            told = "\n".join(message["content"] for message in body["messages"])
            seed = int(body.get("seed") or 0)
        except (TypeError, KeyError, IndexError, ValueError):
            return 400, _error("messages, each with role and content, are wanted")
        text = self.answerer.answer(asked, seed)
        if text is None:
            return 400, _error(f"no answer was recorded to {asked[:80]!r}")
        usage = {"prompt_tokens": len(told) // CHARACTERS_A_TOKEN, "completion_tokens": len(text) // CHARACTERS_A_TOKEN}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return 200, {"object": "chat.completion", "model": self.name, "choices": [choice], "usage": usage}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no event."""


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error"}}


def _handler(replay: ReplayServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.rstrip("/") != "/v1/models":
                return self._send(404, json.dumps(_error("there are /v1/models and /v1/chat/completions")))
            return self._send(200, json.dumps({"object": "list", "data": [{"id": replay.name, "object": "model"}]}))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if self.path.rstrip("/") != "/v1/chat/completions" or not 0 < size <= MAX_BODY:
                return self._send(404, json.dumps(_error("POST a question to /v1/chat/completions")))
            try:
                body = json.loads(self.rfile.read(size))
            except ValueError:
                return self._send(400, json.dumps(_error("the body is no JSON")))
            replay.under_way(1)
            try:
                return self._answer(body, replay.fault())
            finally:
                replay.under_way(-1)

        def _answer(self, body: Any, fault: str) -> None:
            settings = replay.settings
            if fault == "429":
                return self._send(429, json.dumps(_error("slow down")), {"Retry-After": "1"})
            time.sleep(settings.latency_seconds)
            if fault == "500":
                return self._send(500, json.dumps(_error("something broke")))
            if fault == "silence":
                time.sleep(settings.silence_seconds)
                self.close_connection = True
                return None
            status, said = replay.completion(body)
            text = json.dumps(said, ensure_ascii=False)
            if fault == "slow":
                return self._send(status, text, seconds=settings.silence_seconds)
            return self._send(status, text[: len(text) // 2] if fault == "cut off" else text)

        def _send(self, status: int, text: str, headers: dict[str, str] | None = None, seconds: float = 0.0) -> None:
            data = text.encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            pieces = SLOW_PIECES if seconds else 1
            step = -(-len(data) // pieces)
            for start in range(0, len(data), step or 1):
                self.wfile.write(data[start : start + step])
                self.wfile.flush()
                time.sleep(seconds / pieces)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
