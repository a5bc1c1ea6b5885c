"""MMLU (Hendrycks et al. 2020, arXiv:2009.03300): 57 subjects, four lettered choices, the subject's five dev items.

acc counts every question alike, acc_by_subject every subject alike. The line that names the subject is in our own
words; the original's can be given by `--header FILE`, where {group} stands for the subject.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.evaluate.tasks.queries import choice_question
from camelid.evaluate.tasks.reading import check_columns, check_gold
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Measure, Question, Scores, Task, share
from camelid.functional.statistics import Estimate
from camelid.functional.strata import mean_of_groups

LETTERS = "ABCD"
COLUMNS = ("question", "choice0", "choice1", "choice2", "choice3", "answer")


def read_split(folder: Path, split: str) -> list[dict[str, str]]:
    """The rows of all subjects of `folder/split`, in alphabetical order of the subjects."""
    rows = []
    for path in sorted((folder / split).glob(f"*_{split}.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), 1):
                check_columns(row, COLUMNS, f"{path}, row {number}")
                rows.append({**row, "subject": path.stem.removesuffix(f"_{split}"), "number": str(number)})
    return rows


def ask(number: int, row: Any) -> Question:
    choices = [row[f"choice{i}"] for i in range(4)]
    lines = [row["question"].strip(), *(f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=True))]
    subject, id = row["subject"].replace("_", " "), f"{row['subject']}/{row['number']}"
    gold = check_gold(int(row["answer"]) if row["answer"].isdigit() else row["answer"], 4, f"item {id}")
    header = f"Questions about {subject}, each with four choices and its answer.\n\n"
    context = "\n".join([*lines, "Answer:"])
    return choice_question(id, context, [f" {x}" for x in LETTERS], gold, group=subject, header=header)


def acc_by_subject(scores: Sequence[Scores]) -> Estimate:
    return mean_of_groups([s["acc"] for s in scores], [s["group"] for s in scores])


TASK = Task(
    name="mmlu",
    about="57 subjects, lettered choices",
    source="mmlu",
    read=lambda folder: read_split(folder, "test"),
    ask=ask,
    score=score_choices,
    measures=(share("acc"), Measure("acc_by_subject", "%", acc_by_subject)),
    headline="acc",
    shots=5,
    read_shots=lambda folder: read_split(folder, "dev"),
)
