"""One model's answers by prompt, to be laid beside another's. Files: `evaluate/answer_files.py`.

FastChat's rows hold no prompt, so they pair with one another only, by number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from camelid.evaluate import answer_files
from camelid.types import Messages


@dataclass(frozen=True)
class Answers:
    """A model's answers by key; a key is the prompt's text or, where the file has none, the question's number."""

    name: str
    texts: dict[str, str]
    prompts: dict[str, Messages] = field(default_factory=dict)
    """Empty where the file has no prompts."""


def read_answers(path: str | Path, name: str = "") -> Answers:
    """The answers in a file, named by the model that the rows name or else by the file.

    Raises ValueError with file and row where a row is of no known format, has no text, or repeats a prompt.
    """
    rows = answer_files.read_answers(path)
    texts: dict[str, str] = {}
    for row in rows:
        if row.key in texts:
            raise ValueError(f"{row.place}: a second answer to {row.key[:60]!r}; keep one answer a prompt")
        texts[row.key] = row.text
    prompts = {row.key: row.prompt for row in rows if row.prompt is not None}
    model = answer_files.model_of(path, rows)
    return Answers(name or (model if prompts else model.partition(":")[0]), texts, prompts)  # bard:20230327 is bard


def common_keys(*several: Answers) -> list[str]:
    """Keys that all have, in the first one's order. Raises ValueError where there are none."""
    keys = [key for key in several[0].texts if all(key in answers.texts for answers in several[1:])]
    if not keys:
        examples = "; ".join(f"{answers.name}: {next(iter(answers.texts))[:60]!r}" for answers in several)
        raise ValueError(
            f"no prompt was answered by all of {', '.join(answers.name for answers in several)}: compare answers to "
            f"the same prompts. First prompts: {examples}"
        )
    return keys
