"""Completions from any file that a stage leaves, each with its prompt, for a reward model to read.

Read: answers.jsonl of an evaluation, comparisons, preferences, conversations (the last turn). Not read: samples.jsonl
of `best`, whose rows name their prompt by id only; `best.jsonl` beside it has the texts of the best.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from camelid.types import Message, Messages

MESSAGES = TypeAdapter(Messages)
ANSWERS = ("text", "completion", "first", "second", "chosen", "rejected")
"""Keys beside `prompt` that hold an answer; a row may have two."""


class Completion(NamedTuple):
    """An answer and what it answers."""

    prompt: Messages
    text: str

    @property
    def asked(self) -> str:
        """Names the prompt by its content, to find another version's answer to it."""
        return json.dumps([[message.role, message.content] for message in self.prompt])


def read_completions(path: Path) -> list[Completion]:
    """All completions of a file, in order. Raises ValueError with file, line and mend for a row that holds none."""
    found: list[Completion] = []
    lines = path.read_bytes().decode("utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found += _completions(json.loads(line))
            except (ValueError, ValidationError) as error:
                reason = "no turns in prompt or messages" if isinstance(error, ValidationError) else error
                raise ValueError(
                    f"{path}, line {number}: holds no answer that a reward model can read ({reason}); a row has prompt "
                    f"(a list of turns) and {', '.join(ANSWERS)}, or messages"
                ) from None
    if not found:
        raise ValueError(f"{path} is empty: no completion to score")
    return found


def _completions(row: Any) -> list[Completion]:
    if not isinstance(row, dict):
        raise ValueError("the row is no JSON object")
    if "messages" in row:
        turns = MESSAGES.validate_python(row["messages"])
        if len(turns) < 2 or turns[-1].role != "assistant":
            raise ValueError("the last of its messages is not the assistant's")
        return [Completion(turns[:-1], turns[-1].content)]
    prompt = row.get("prompt")
    if isinstance(prompt, str):
        prompt = [Message(role="user", content=prompt)]
    turns = MESSAGES.validate_python(prompt)
    texts = [row[name] for name in ANSWERS if isinstance(row.get(name), str)]
    if not texts:
        raise ValueError(f"its keys are {', '.join(row)}")
    return [Completion(turns, text) for text in texts]
