"""Requests to a server and its raw answers in an SQLite file: what has been answered is never asked, or paid, again.

A request is written down before it goes out, an answer as it came before anybody reads it. So after a kill at any
moment the file has every answer that arrived, and knows which requests went out and may have been paid for without an
answer that arrived (`in_doubt`). Several threads, and several processes, may share a file.

Left out: power cuts. SQLite's log outlives the process, but its last entries are forced to the disk only now and then.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TABLE = """
create table if not exists requests (
    key text primary key,   -- of address and body, as `key_of` makes it
    address text not null,
    body text not null,     -- JSON with sorted keys
    attempts integer not null,
    asked_at real not null, -- seconds since 1970, of the newest attempt
    status integer,         -- null until an answer has come
    answer text,
    answered_at real,
    prompt_tokens real not null default 0,     -- over all attempts
    completion_tokens real not null default 0
)
"""


class Journal:
    """One file. Raises ValueError for one that is something else."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._base = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            self._base.execute("pragma journal_mode = wal")
            self._base.execute("pragma synchronous = normal")
            self._base.execute(TABLE)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} is no journal of requests ({error}); name another file") from None

    def answer(self, key: str) -> str | None:
        """The body of a request's good answer; None where there is none."""
        rows = self._run("select answer from requests where key = ? and status = 200", key)
        return rows[0][0] if rows else None

    def answered_at(self, key: str) -> float | None:
        """When a request's good answer came, in seconds since 1970."""
        rows = self._run("select answered_at from requests where key = ? and status = 200", key)
        return rows[0][0] if rows else None

    def goes_out(self, key: str, address: str, body: str) -> None:
        """Note an attempt before it is made."""
        self._run(
            "insert into requests (key, address, body, attempts, asked_at) values (?, ?, ?, 1, ?) "
            "on conflict (key) do update set attempts = attempts + 1, asked_at = excluded.asked_at",
            *(key, address, body, time.time()),
        )

    def came_back(self, key: str, status: int, answer: str, prompt_tokens: float, completion_tokens: float) -> None:
        """Note what came, before it is read."""
        self._run(
            "update requests set status = ?, answer = ?, answered_at = ?, prompt_tokens = prompt_tokens + ?, "
            "completion_tokens = completion_tokens + ? where key = ?",
            *(status, answer, time.time(), prompt_tokens, completion_tokens, key),
        )

    def tokens(self) -> tuple[float, float]:
        """Tokens of prompts and of completions, of all answers."""
        ((prompt, completion),) = self._run(
            "select coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0) from requests"
        )
        return prompt, completion

    def tokens_of(self, keys: Iterable[str]) -> tuple[float, float]:
        """The same of these requests."""
        words = "select prompt_tokens, completion_tokens from requests where key = ?"
        found = [row for key in keys for row in self._run(words, key)]
        return sum(prompt for prompt, _ in found), sum(completion for _, completion in found)

    def counts(self) -> tuple[int, int]:
        """Requests, and those of them with a good answer."""
        return self._run("select count(*), count(*) filter (where status = 200) from requests")[0]

    def attempts(self) -> int:
        """How often anything was asked."""
        return self._run("select coalesce(sum(attempts), 0) from requests")[0][0]

    def in_doubt(self) -> int:
        """Requests that went out and have no answer: some of them may have been paid for."""
        return self._run("select count(*) from requests where status is null")[0][0]

    def close(self) -> None:
        self._base.close()

    def _run(self, words: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._base.execute(words, values).fetchall()


def written(body: Mapping[str, Any]) -> str:
    """A request's body as it is sent and written down."""
    return json.dumps(body, sort_keys=True)


def key_of(address: str, body: str, beside: str = "") -> str:
    """What a request is known by: SHA-256 of where it goes, what is sent, and what tells it from others of these."""
    return hashlib.sha256("\n".join(filter(None, (address, body, beside))).encode()).hexdigest()
