"""Completions from any file that a stage leaves, each with its prompt, for a reward model to read.

Read: files of answers (`answer_files.py`), comparisons, preferences. Not read: samples.jsonl
of `best`, whose rows name their prompt by id only; `best.jsonl` beside it has the texts of the best.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from camelid.evaluate.answer_files import answer_of, prompt_key, prompt_of
from camelid.rows import Row, read_rows
from camelid.types import Messages

PAIRS = ("first", "second", "chosen", "rejected")
"""Names of the answers in rows that have two."""


class Completion(NamedTuple):
    """An answer and what it answers."""

    prompt: Messages
    text: str

    @property
    def asked(self) -> str:
        """Names the prompt by its content, to find another version's answer to it."""
        return prompt_key(self.prompt)


def read_completions(path: Path) -> list[Completion]:
    """All completions of a file, in order. Raises ValueError with file, line and mend for a row that holds none."""
    return [found for row in read_rows(path, "a prompt and an answer") for found in _completions(row)]


def _completions(row: Row) -> list[Completion]:
    pair = [row.values[name] for name in PAIRS if isinstance(row.values.get(name), str)]
    if pair:
        prompt = prompt_of(row)
        return [Completion(prompt, text) for text in pair]
    answer = answer_of(row)
    return [Completion(answer.asked, answer.text)]
