"""Ask a judge all that is not answered yet, every reply on the disk before it is read.

So a killed stage asks only what is missing, and a better parser needs no new replies. A row of the journal has the
names of what was asked and the reply; what the server rejected is asked again by the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from camelid.durable import append_json_lines, read_whole_lines
from camelid.models.remote import Remote, RemoteSettings, Reply
from camelid.models.server import RemoteError
from camelid.types import Messages, iterate_json_lines

MAX_REJECTED = 3
"""So many rejected requests without one answered are taken for wrong settings, not for odd questions."""
Names = dict[str, str]
"""What a request is known by in the journal, such as {"comparison": "ab12", "order": "swapped"}."""


class Journal:
    """replies.jsonl: one row a reply, in the order in which they came."""

    def __init__(self, path: Path):
        self.path = path
        read_whole_lines(path)  # cuts off half a line that a kill has left
        self.rows: list[dict[str, Any]] = list(iterate_json_lines(path)) if path.exists() else []

    def missing(self, wanted: Sequence[Names]) -> list[Names]:
        """Those of `wanted` without a reply."""
        keys = list(wanted[0]) if wanted else []
        answered = {tuple(row[key] for key in keys) for row in self.rows if not row["rejected"]}
        return [names for names in wanted if tuple(names.values()) not in answered]

    def add(self, names: Names, asked_model: str, reply: Reply) -> None:
        """One more reply, forced to the disk."""
        row: dict[str, Any] = {**names, "model": asked_model, "served_by": reply.model, "text": reply.text}
        row |= {"finish_reason": reply.finish_reason, "attempts": reply.attempts, "rejected": reply.rejected}
        row |= {"usage": reply.usage and reply.usage._asdict(), "first_token": reply.first_token}
        self.rows.append(row)
        append_json_lines(self.path, self.rows[-1:])


def ask_what_is_missing(
    journal: Journal,
    remote: RemoteSettings,
    wanted: Sequence[Names],
    messages: Callable[[Names], Messages],
    tick: Callable[[int], object],
) -> None:
    """Leave at least one row in the journal for each of `wanted`. Raises RemoteError where asking on is of no use."""
    missing = journal.missing(wanted)
    num_answered, num_rejected = len(wanted) - len(missing), 0

    def record(names: Names, reply: Reply) -> None:
        nonlocal num_answered, num_rejected
        journal.add(names, remote.model, reply)
        tick(1)
        if not reply.rejected:
            num_answered += 1
            return
        num_rejected += 1
        if not num_answered and num_rejected >= min(MAX_REJECTED, len(missing)):
            raise RemoteError(
                f"the judge takes no request, the last: {reply.rejected}. Look at the settings of `remote`."
            )

    if missing:
        Remote(remote).complete_each(((names, messages(names)) for names in missing), record)
