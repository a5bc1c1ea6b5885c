"""Questions with an answer and the reasons for it, read as prompts with what is right, or as answered with reasons.

Read are rows with the keys question, answer and rationale, and FLAN's files of chains of thought (Chung et al. 2022,
arXiv:2210.11416; google-research/FLAN), which have these three columns without a header and write a line's end as the
two characters of a backslash and an n.
"""

from __future__ import annotations

from typing import NamedTuple

from camelid.collect.drafts import Draft, Row, Unfit, message, text
from camelid.types import Message

KEYS = ("question", "answer", "rationale")
COLUMNS = ("column 1", "column 2", "column 3")
SO = "So the answer is {answer}."
"""How a rationale comes to its answer, where nobody says otherwise; FLAN's commonest way."""


class Reasoned(NamedTuple):
    """A question, what is right, and why."""

    question: str
    answer: str
    rationale: str

    def told(self, so: str = SO) -> str:
        """The reasons, and on a line of its own the answer that they come to."""
        return f"{self.rationale}\n{so.format(answer=self.answer)}"


def reasoned(row: Row) -> Reasoned:
    """Raises Unfit where a part is missing or empty."""
    columns = COLUMNS[0] in row
    parts = [text(row.get(key), key) for key in (COLUMNS if columns else KEYS)]
    if columns:
        parts = [part.replace("\\n", "\n") for part in parts]
    for name, part in zip(KEYS, parts, strict=True):
        if not part.strip():
            raise Unfit(f"no {name}: the row is without one; write it or drop the row")
    return Reasoned(*(part.strip() for part in parts))


def parse(row: Row) -> Draft:
    found = reasoned(row)
    turns = (message("user", found.question, 1), Message(role="assistant", content=found.told()))
    return Draft(turns, answer=found.answer)


def render(draft: Draft) -> Row:
    raise Unfit("no format to write: rationales are only read; write openai, trl or camelid")


def is_reasoned(row: Row) -> bool:
    return all(isinstance(row.get(key), str) for key in KEYS) or tuple(row) == COLUMNS
