"""BIG-bench Hard (Suzgun et al. 2022, arXiv:2210.09261): 27 tasks, answered directly, without a chain of thought.

Three shots as in the paper, by rule the first other items of the same task (the paper's own three are not at hand).
Right is the target itself, but for spaces and a final full stop. exact_match counts every item alike,
exact_match_by_task every task alike, as the paper's average does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.evaluate.tasks.reading import check_columns
from camelid.evaluate.tasks.task import Measure, Question, Scores, Task, share
from camelid.evaluate.tasks.written import INVALID_IS_WRONG, text_of
from camelid.functional.statistics import Estimate
from camelid.functional.strata import mean_of_groups
from camelid.models.requests import Answer, Generate

NOT_BBH = frozenset({"chinese_remainder_theorem", "matrixshapes", "schedule_meeting"})
"""Files of the same format in the same folder that are no part of BIG-bench Hard."""
NEW_TOKENS = {"word_sorting": 128}
"""A list of words is longer than any other answer, which has a few characters."""
OPTION = re.compile(r"^(?:(\([A-Z]\)) |- (.+))", re.MULTILINE)


def read_file(path: Path) -> list[dict[str, Any]]:
    """The items of one task. Raises ValueError where it is no file of BBH."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["examples"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: not {{"examples": [...]}} in JSON ({type(error).__name__}: {error})') from None
    for number, row in enumerate(rows, 1):
        check_columns(row, ("input", "target"), f"{path}, example {number}")
    return [{**row, "task": path.stem, "number": number} for number, row in enumerate(rows, 1)]


def read(folder: Path) -> list[dict[str, Any]]:
    """The items of all tasks, in alphabetical order of the tasks."""
    return [row for path in sorted(folder.glob("*.json")) if path.stem not in NOT_BBH for row in read_file(path)]


def ask(number: int, row: Any) -> Question:
    prompt, target = f"Question: {row['input'].strip()}\nAnswer:", cleaned(row["target"])
    options = {cleaned(letter or text) for letter, text in OPTION.findall(row["input"])}
    request = Generate(prompt, ("\n",), NEW_TOKENS.get(row["task"], 24))
    gold = (target, *sorted(options - {target}))
    return Question(f"{row['task']}/{row['number']}", (request,), gold, example=f"{prompt} {target}", group=row["task"])


def cleaned(text: str) -> str:
    return " ".join(text.split()).removesuffix(".").rstrip()


def score(question: Question, answers: Sequence[Answer]) -> dict[str, Any]:
    """`gold` is the target and the item's other options. Invalid: none of the options where there are some; nothing."""
    said, (target, *others) = cleaned(text_of(answers[0])), question.gold
    invalid = not said or (bool(others) and said not in question.gold)
    return {
        "prediction": None if invalid else said,
        "exact_match": float(said == target),
        "invalid": float(invalid),
    }


def exact_match_by_task(scores: Sequence[Scores]) -> Estimate:
    return mean_of_groups([s["exact_match"] for s in scores], [s["group"] for s in scores])


TASK = Task(
    name="bbh",
    about="27 hard tasks of BIG-bench, answered directly",
    source="bbh",
    read=read,
    ask=ask,
    score=score,
    measures=(share("exact_match"), Measure("exact_match_by_task", "%", exact_match_by_task), share("invalid")),
    headline="exact_match_by_task",
    shots=3,
    read_shots=read,
    shots_from="the first other items of the same task of BBH; never the item itself",
    rule=INVALID_IS_WRONG,
)
