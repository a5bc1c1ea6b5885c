"""The newest samples of a stage, read from the end of its samples.jsonl: nobody reads gigabytes to see a page.

Rows may have `iteration`, `prompt` (messages, or a text) or `prompt_id`, `completion` or `text`, `score`, here or in an
object such as `scores`; other numbers and short texts are shown as its parts, lists (token ids, log-probabilities) not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from camelid.serve.watch.curves import is_number, rounded
from camelid.serve.watch.tail import parsed

PIECE = 2**16
"""Bytes read at a time, from the end."""
LONGEST_LINE = 2**24
LONGEST_TEXT = 20_000
"""Characters of one text that a page gets."""
LONGEST_PART = 80
OWN = ("iteration", "step", "prompt", "prompt_id", "id", "messages", "completion", "text", "score")


def newest(path: Path, before: int | None, count: int) -> dict[str, Any]:
    """At most `count` samples, the last of the file first; `before` is the byte at which a page so far began.

    `before` of the answer asks for the next; None where there is no more. `size` says whether the file has grown.
    """
    try:
        size = path.stat().st_size
    except OSError:
        return {"samples": [], "before": None, "size": 0}
    end = size if before is None else min(before, size)
    samples: list[dict[str, Any]] = []
    reached = end
    for place, line in _lines_backwards(path, end):
        reached = place
        row = parsed(line)
        if row is not None:
            samples.append(shown(row))
        if len(samples) == count:
            break
    return {"samples": samples, "before": reached if reached > 0 and samples else None, "size": size}


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a page shows of a row."""
    written = messages(row.get("completion", row.get("text")))
    parts = {**row, **dict(_inner(row))}
    iteration = row.get("iteration", row.get("step"))
    return {
        "iteration": iteration if is_number(iteration) else None,
        "prompt": messages(row.get("prompt", row.get("messages"))),
        "prompt_id": str(row["prompt_id"])[:LONGEST_PART] if "prompt_id" in row else None,
        "completion": written[-1]["content"] if written else "",
        "score": _part(parts.get("score")) if is_number(parts.get("score")) else None,
        "parts": {str(k): _part(v) for k, v in parts.items() if k not in OWN and _is_part(v)},
    }


def messages(prompt: Any) -> list[dict[str, str]]:
    """A prompt as messages with role and content, whatever it was given as."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": cut(prompt)}]
    given = prompt if isinstance(prompt, list) else []
    return [
        {"role": str(message.get("role", ""))[:LONGEST_PART], "content": cut(str(message.get("content", "")))}
        for message in given
        if isinstance(message, dict)
    ]


def cut(text: str) -> str:
    """The text as far as a page shows it."""
    left = len(text) - LONGEST_TEXT
    return text if left <= 0 else f"{text[:LONGEST_TEXT]} [… {left:,} more characters]"


def _inner(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Parts one level down: `{"scores": {"helpfulness": 0.4}}`."""
    for name, value in row.items():
        if isinstance(value, dict) and name not in OWN:
            yield from value.items()


def _is_part(value: Any) -> bool:
    return value is None or is_number(value) or (isinstance(value, bool | str) and len(str(value)) <= LONGEST_PART)


def _part(value: Any) -> Any:
    return rounded(value) if is_number(value) else value


def _lines_backwards(path: Path, end: int) -> Iterator[tuple[int, bytes]]:
    """Lines that end before byte `end`, the last first, each with its first byte's place.

    The first of them may be half a line that is being written. Ends early at a line beyond LONGEST_LINE.
    """
    with path.open("rb") as file:
        rest = b""
        place = end
        while place > 0 and len(rest) < LONGEST_LINE:
            length = min(PIECE, place)
            place -= length
            file.seek(place)
            rest = file.read(length) + rest
            while (newline := rest.rfind(b"\n", 0, len(rest) - 1)) >= 0:
                yield place + newline + 1, rest[newline + 1 :]
                rest = rest[: newline + 1]
        if place == 0:
            yield 0, rest
