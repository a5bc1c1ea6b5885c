"""FastChat's files of questions and of correct answers, which answers name by number: Vicuna's 80, MT-bench's 80."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camelid.evaluate.answer_files import answer_of
from camelid.rows import read_rows


@dataclass(frozen=True)
class Question:
    """A question of a set."""

    id: Any
    turns: tuple[str, ...]
    category: str


def read_questions(path: Path) -> dict[Any, Question]:
    """Questions by id. Raises ValueError for a row that is none, and for an id that comes twice."""
    found: dict[Any, Question] = {}
    for _, place, row in read_rows(path, "question_id and text or turns"):
        turns: Any = row["turns"] if "turns" in row else [row.get("text")]
        if not isinstance(row.get("question_id"), int | str) or not _texts(turns):
            raise ValueError(f"{place}: not a question; a row has question_id and text, or question_id and turns")
        if row["question_id"] in found:
            raise ValueError(f"{place}: question {row['question_id']} comes twice")
        found[row["question_id"]] = Question(row["question_id"], tuple(turns), str(row.get("category", "")))
    return found


def read_references(path: Path) -> dict[Any, tuple[str, ...]]:
    """Correct answers by question id, from a file of FastChat's answers."""
    references: dict[Any, tuple[str, ...]] = {}
    for row in read_rows(path, "question_id and choices or text"):
        try:
            references[row.values["question_id"]] = answer_of(row).texts
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{row.place}: not a reference answer; a row has question_id and choices or text"
            ) from None
    return references


def _texts(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(v, str) and v.strip() for v in values)
