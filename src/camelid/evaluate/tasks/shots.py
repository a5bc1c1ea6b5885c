"""Worked examples in front of a question, chosen by rule.

Where a benchmark has a set for it (MMLU's dev), the first of the question's group in their order. Elsewhere the file at
hand is all there is: a seeded draw of its own items, the same for all, less the question itself. Such an item is then
both asked and shown to others; the result says so (`Shots.source`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from camelid.evaluate.tasks.task import Question, Task

OWN_ITEMS = "other items of the same file, for want of a training set; never the item itself"
OWN_SET = "the benchmark's own examples, in their order"


class Shots:
    """What to put in front of each question."""

    def __init__(self, task: Task, path: Path, questions: Sequence[Question], number: int, seed: int):
        self.number = number
        self.separator = task.separator
        self.source = "" if not number else OWN_SET if task.read_shots else OWN_ITEMS
        self.by_group: dict[str, list[Question]] = defaultdict(list)
        if not number:
            return
        if task.read_shots:
            for index, row in enumerate(task.read_shots(path)):
                example = task.ask(index, row)
                self.by_group[example.group].append(example)
            short = {q.group for q in questions if len(self.by_group[q.group]) < number}
        else:
            # One more than needed, to stand in where the question itself was drawn.
            drawn = random.Random(seed).sample(list(questions), min(number + 1, len(questions)))
            for group in {q.group for q in questions}:
                self.by_group[group] = drawn
            short = {"the file"} if len(questions) <= number else set()
        if short:
            raise ValueError(f"{task.name}: fewer than {number} examples for {', '.join(sorted(short))}; lower --shots")

    def prefix(self, question: Question) -> str:
        """The text before the question, up to where it begins."""
        own_set = self.source == OWN_SET
        others = [e for e in self.by_group[question.group] if own_set or e.id != question.id] if self.number else []
        return question.header + "".join(e.example + self.separator for e in others[: self.number])
