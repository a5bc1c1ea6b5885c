"""Reading what a judge wrote: its last word only, line by line, and never a guess."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def spoken(reply: str) -> str:
    """The reply without the thinking aloud of local reasoning models, which weigh verdicts there."""
    return reply.rpartition("</think>")[2].strip()


def plain_lines(reply: str) -> list[str]:
    """Lines of what was spoken, without emphasis, quotes and the full stop at the end."""
    return [re.sub(r"[*_`\"']", "", line).strip(" \t\r.") for line in spoken(reply).split("\n")]


def the_only(found: Iterable[T]) -> T | None:
    """The one thing that was found, however often; None for nothing and for several that differ."""
    distinct = set(found)
    return distinct.pop() if len(distinct) == 1 else None
