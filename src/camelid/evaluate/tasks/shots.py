"""Worked examples in front of a question, chosen by rule.

Where a benchmark has rows for it (MMLU's dev), the first of the question's group in their order. Elsewhere the file at
hand is all there is: a seeded draw of its own items, the same for all. Such an item is then both asked and shown to
others; the result says so (`Shots.source`). A question is never shown to itself, nor to its twin in another row.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from camelid.evaluate.tasks.task import Question, Task

OWN_ITEMS = "other items of the same file, for want of a training set; never the item itself"


class Shots:
    """What to put in front of each question."""

    def __init__(self, task: Task, path: Path, questions: Sequence[Question], number: int, seed: int):
        self.number = number
        self.separator = task.separator
        self.source = "" if not number else task.shots_from if task.read_shots else OWN_ITEMS
        self.by_group: dict[str, list[Question]] = defaultdict(list)
        if not number:
            return
        if task.read_shots:
            for index, row in enumerate(task.read_shots(path)):
                example = task.ask(index, row)
                self.by_group[example.group].append(example)
        else:
            # One more than needed, to stand in where the question itself was drawn; the rest where a twin was, too.
            drawn = random.Random(seed).sample(list(questions), min(number + 1, len(questions)))
            taken = {q.id for q in drawn}
            in_order = drawn + [q for q in questions if q.id not in taken]
            for group in {q.group for q in questions}:
                self.by_group[group] = in_order
        short = {q.group or "the file" for q in questions if len(self.examples(q)) < number}
        if short:
            raise ValueError(f"{task.name}: fewer than {number} examples for {', '.join(sorted(short))}; lower --shots")

    def prefix(self, question: Question) -> str:
        """The text before the question, up to where it begins."""
        return question.header + "".join(e.example + self.separator for e in self.examples(question))

    def examples(self, question: Question) -> list[Question]:
        """By content: ids of an example set may be those of other questions, and some files hold an item twice."""
        others = (e for e in self.by_group.get(question.group, []) if e.requests != question.requests)
        return list(islice(others, self.number))
