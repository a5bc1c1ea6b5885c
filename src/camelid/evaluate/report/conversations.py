"""Answers of several versions, laid side by side by what was asked: two answers meet where their prompts are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camelid.evaluate.report.checks import is_number
from camelid.evaluate.report.sources import Manifest, read_lines
from camelid.types import content_hash

Answer = dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """One version with its answers, by the digest of the prompt."""

    label: str
    """Its name on the page: with the run's name where there are several runs."""
    run: str
    version: str
    manifest: Manifest
    answers: dict[str, Answer]

    @property
    def prompts(self) -> str:
        """A digest of what it was asked, whatever the order; empty where no answers were kept."""
        return content_hash(sorted(self.answers)) if self.answers else ""


def read_answers(file: Path) -> dict[str, Answer]:
    """The rows of an answers.jsonl by the digest of their prompt; none where there is no such file."""
    answers: dict[str, Answer] = {}
    for number, row in enumerate(read_lines(file), 1) if file.exists() else ():
        prompt: Any = row.get("prompt")
        if not _is_prompt(prompt) or not isinstance(row.get("text"), str):
            raise ValueError(
                f"{file}, line {number}: an answer has a prompt (messages with role and content) and a text"
            )
        if row.get("judge_score") is not None and not is_number(row["judge_score"]):
            raise ValueError(f"{file}, line {number}: judge_score is {row['judge_score']!r}, which is no number")
        # Asked twice, a prompt counts twice: the n-th time it was asked meets the n-th time elsewhere.
        messages = [[message["role"], message["content"]] for message in prompt]
        digest, times = content_hash(messages), 1
        while digest in answers:
            times += 1
            digest = content_hash([messages, times])
        answers[digest] = row
    return answers


def _is_prompt(value: Any) -> bool:
    """Whether a JSON value is a list of messages."""
    return isinstance(value, list) and all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in value)


def examples(versions: Sequence[Answered], number: int) -> list[dict[str, Any]]:
    """At most `number` prompts, evenly spaced, each with the answer of every version that was asked."""
    asked: dict[str, Answer] = {}
    for version in versions:
        for digest, answer in version.answers.items():
            asked.setdefault(digest, answer)
    digests = list(asked)
    count = min(number, len(digests))
    chosen = [digests[i * len(digests) // count] for i in range(count)]
    return [
        {
            "prompt": [{"role": m["role"], "content": m["content"]} for m in asked[digest]["prompt"]],
            "tags": list(asked[digest].get("tags") or []),
            "answers": [
                {
                    "version": version.label,
                    "text": version.answers[digest]["text"],
                    "refused": bool(version.answers[digest].get("refused")),
                    "judge_score": version.answers[digest].get("judge_score"),
                }
                for version in versions
                if digest in version.answers
            ],
        }
        for digest in chosen
    ]
