"""TruthfulQA, multiple choice (Lin, Hilton and Evans 2021, arXiv:2109.07958): mc1 and mc2.

Choices are the best answer, the other true ones and the false ones, each closed by a full stop. mc1: the best answer is
likelier than every false one. mc2: share of the probability on true answers. Asked as plain "Q: ... A:"; published
figures put six fixed questions in front, which `--header FILE` can.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from camelid.evaluate.tasks.reading import check_columns
from camelid.evaluate.tasks.scorers import score_truths
from camelid.evaluate.tasks.task import Question, Task, mean, share
from camelid.models.requests import Likelihood

COLUMNS = ("Question", "Best Answer", "Correct Answers", "Incorrect Answers")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, 1):
        check_columns(row, COLUMNS, f"{path}, row {number}")
    return rows


def answers(cell: str) -> list[str]:
    """The answers of a cell, which stand between semicolons."""
    return [part.strip().removesuffix(".") + "." for part in cell.split(";") if part.strip()]


def ask(number: int, row: Any) -> Question:
    best, false = answers(row["Best Answer"])[0], answers(row["Incorrect Answers"])
    true = [best, *(a for a in answers(row["Correct Answers"]) if a != best)]
    context = f"Q: {row['Question'].strip()}\nA:"
    requests = tuple(Likelihood(context, f" {choice}") for choice in (*true, *false))
    gold = (0, [True] * len(true) + [False] * len(false))
    return Question(str(number), requests, gold, example=f"{context} {best}", group=row.get("Category") or "")


TASK = Task(
    name="truthfulqa",
    about="questions that people answer falsely",
    source="truthfulqa.csv",
    read=read,
    ask=ask,
    score=score_truths,
    measures=(share("mc1"), mean("mc2")),
    headline="mc2",
)
