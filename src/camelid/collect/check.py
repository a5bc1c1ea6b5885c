"""What is in a data file, before anything is trained on it: `check(path)` for `camelid data check FILE`.

Left out: judging the answers (a matter of curation) and tokens (a matter of the model).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from camelid.collect.readers import REPEATS, ReadResult, SetAside, look, read
from camelid.parts import answers_of, messages_of
from camelid.types import Preference, Record

SHOWN_LINES = 10
UNUSUAL = {
    "direction marks": re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"),
    # Without the joiners U+200C and U+200D: emoji, Persian and Indic scripts need them.
    "zero width": re.compile("[\u200b\u2060\ufeff]"),
    "control characters": re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"),
    "replacement character": re.compile("\ufffd"),
}
"""Characters that a reader does not see but a model learns, or that tell of damage."""


class Spread(NamedTuple):
    """Smallest, middle and largest of some counts."""

    least: int
    median: int
    most: int

    @classmethod
    def of(cls, values: Iterable[int]) -> Spread | None:
        """None where there are no values. The upper one of two middles is taken."""
        ordered = sorted(values)
        return cls(ordered[0], ordered[len(ordered) // 2], ordered[-1]) if ordered else None

    def __str__(self) -> str:
        return f"{self.least:,} to {self.most:,}, median {self.median:,}"


class Share(NamedTuple):
    """How many of how many."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n

    @property
    def error(self) -> float:
        """Standard error of the share."""
        return (self.value * (1 - self.value) / self.n) ** 0.5

    def __str__(self) -> str:
        return f"{self.value:.1%} +- {self.error:.1%} (standard error, n = {self.n:,})"


@dataclass(frozen=True)
class Report:
    """What `check` found; `str()` for people, `as_json()` for programs, `exit_code` for the shell."""

    path: str
    format: str
    kind: str
    """Record that the rows become: Conversation, Preference, Comparison or Prompt."""
    rows: int
    kept: int
    set_aside: dict[str, list[int]]
    """Lines of the rows that were set aside, by category of the reason."""
    examples: dict[str, str]
    """The whole reason of the first row in each category."""
    roles: dict[str, int]
    turns: Spread | None
    """User and assistant turns of a kept row, the answers of a preference not counted."""
    prompt_words: Spread | None
    """Words of a kept row's user turns."""
    answer_words: Spread | None
    """Words of the answers: a conversation's last turn, both answers of a preference."""
    duplicates: int
    empty_answers: int
    chosen_longer: Share | None
    """Preferences whose chosen answer has more characters; None where there are no preferences."""
    unusual: dict[str, list[int]]
    """Lines of kept rows that hold unusual characters, by kind."""

    @property
    def verdict(self) -> str:
        """`good`: no row is lost but repeats; `usable`: some are lost; `unusable`: none is left."""
        if not self.kept:
            return "unusable"
        return "good" if self.rows - self.kept == self.duplicates else "usable"

    @property
    def exit_code(self) -> int:
        """0 good, 1 usable, 2 unusable."""
        return ("good", "usable", "unusable").index(self.verdict)

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON-able values, with the verdict."""
        values = {name: v._asdict() if isinstance(v, Spread) else v for name, v in vars(self).items()}
        if self.chosen_longer:
            share = self.chosen_longer
            values["chosen_longer"] = share._asdict() | {"value": share.value, "standard_error": share.error}
        return values | {"verdict": self.verdict}

    def __str__(self) -> str:
        text = [
            f"{self.path}: {self.verdict}",
            f"  format          {self.format}, read as {self.kind}",
            f"  rows            {self.rows:,} read, {self.kept:,} kept, {self.rows - self.kept:,} set aside",
        ]
        for category, lines in self.set_aside.items():
            text += [f"    {len(lines):>7,}  {category}: {_places(lines)}", f"             {self.examples[category]}"]
        facts = {
            "roles": ", ".join(f"{role} {count:,}" for role, count in self.roles.items()),
            "turns": self.turns,
            "words, prompt": self.prompt_words,
            "words, answer": self.answer_words,
            "chosen longer": self.chosen_longer,
        }
        text += [f"  {name:<15} {value}" for name, value in facts.items() if value]
        text += [
            f"  unusual         {kind}, {len(lines):,} rows, {_places(lines)}" for kind, lines in self.unusual.items()
        ]
        return "\n".join(text)


def _places(lines: list[int]) -> str:
    shown = ", ".join(map(str, lines[:SHOWN_LINES]))
    return f"line{'s' if len(lines) > 1 else ''} {shown}" + (" ..." if len(lines) > SHOWN_LINES else "")


def check(path: str | os.PathLike[str], *, format: str = "auto") -> Report:
    """Read a file as what it holds and report on it. Raises ValueError where it cannot be read at all."""
    name, kind = look(path, format=format)
    result: ReadResult[Record] = read(path, format=format, want=kind)
    rows = result.rows
    pairs = [row for row in rows if isinstance(row, Preference)]
    by_reason = result.by_reason
    return Report(
        path=result.path,
        format=name,
        kind=kind.__name__,
        rows=result.counts["read"],
        kept=result.counts["kept"],
        set_aside={category: [row.line for row in _in(result, category)] for category in by_reason},
        examples={category: _in(result, category)[0].reason for category in by_reason},
        roles=dict(Counter(message.role for row in rows for message in messages_of(row))),
        turns=Spread.of(sum(m.role != "system" for m in messages_of(row)) for row in rows),
        prompt_words=Spread.of(
            sum(len(m.content.split()) for m in messages_of(row) if m.role == "user") for row in rows
        ),
        answer_words=Spread.of(len(answer.split()) for row in rows for answer in answers_of(row)),
        duplicates=by_reason.get(REPEATS, 0),
        empty_answers=by_reason.get("empty answer", 0),
        chosen_longer=Share(sum(len(p.chosen) > len(p.rejected) for p in pairs), len(pairs)) if pairs else None,
        unusual=_unusual(result),
    )


def _in(result: ReadResult[Any], category: str) -> list[SetAside]:
    return [row for row in result.set_aside if row.category == category]


def _unusual(result: ReadResult[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, line in zip(result.rows, result.lines, strict=True):
        text = "\n".join([*(message.content for message in messages_of(row)), *answers_of(row)])
        for kind, pattern in UNUSUAL.items():
            if pattern.search(text):
                found.setdefault(kind, []).append(line)
    return found
