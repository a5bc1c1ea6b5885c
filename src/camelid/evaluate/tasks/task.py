"""What a benchmark is: a data set, a way of asking, a scorer. One small file of this folder each.

    TASK = Task(name="copa", about="...", source="copa.jsonl", read=read_rows, ask=ask, score=score_choices,
                measures=(share("acc"),), headline="acc")

`read` turns the file into rows, `ask` a row into a `Question`, `score` a question and its answers into numbers,
and a measure the numbers of all questions into an estimate with its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from camelid.functional.statistics import Estimate, bootstrap_mean, proportion
from camelid.models.requests import Answer, Request

Scores = Mapping[str, Any]
"""The numbers of one question, such as {"acc": 1.0}, with its `group`."""


@dataclass(frozen=True)
class Question:
    """One item, ready to be asked without examples."""

    id: str
    requests: tuple[Request, ...]
    gold: Any
    """What the scorer compares with."""
    example: str
    """The item with its right answer, as it stands in front of another one."""
    group: str = ""
    """Part of the benchmark that it belongs to, such as MMLU's subject."""
    header: str = ""
    """What stands before the examples."""

    def with_header(self, header: str) -> Question:
        return replace(self, header=header)


class Measure(NamedTuple):
    """A number over all questions."""

    name: str
    unit: str
    """ "%" for shares, which are shown times 100; else what it is counted in."""
    estimate: Callable[[Sequence[Scores]], Estimate]
    samples: int = 1
    """Answers to each question that it needs; left out where there are fewer."""


@dataclass(frozen=True)
class Task:
    """A benchmark."""

    name: str
    about: str
    source: str
    """File or folder below the folder of benchmarks."""
    read: Callable[[Path], list[Any]]
    ask: Callable[[int, Any], Question]
    """From the number of the row and the row."""
    score: Callable[[Question, Sequence[Answer]], dict[str, Any]]
    measures: tuple[Measure, ...]
    headline: str
    """Name of the measure that stands for the task."""
    shots: int = 0
    """Worked examples by default."""
    read_shots: Callable[[Path], list[Any]] | None = None
    """Rows to make examples from, used in their order and within their group. None: the task's own rows."""
    shots_file: str = ""
    """Where below the folder of data those rows lie, if not in `source`."""
    shots_from: str = "the benchmark's own examples, in their order"
    """What the result says of the rows of `read_shots`."""
    separator: str = "\n\n"
    """Between examples, and between the last one and the question."""
    folder: str = "benchmarks"
    """Where in the data `source` lies."""
    rule: str = ""
    """What the result says of answers that do not parse."""
    runs_code: bool = False
    """Whether its scorer runs what the model wrote."""

    def path(self, data: Path) -> Path:
        """Its file below a folder of data. Raises ValueError where there is none."""
        path = data / self.folder / self.source
        if not path.exists():
            raise ValueError(f"no {path}; --data names the folder that holds {self.folder}/{self.source}")
        return path

    def questions(self, path: Path) -> list[Question]:
        """All questions of the file. Raises ValueError for a file without any."""
        rows = self.read(path)
        if not rows:
            raise ValueError(f"{path} holds no items of {self.name}")
        return [self.ask(number, row) for number, row in enumerate(rows)]


def share(name: str) -> Measure:
    """Share of questions with score 1, with Wilson's interval."""
    return Measure(name, "%", lambda scores: proportion(sum(s[name] for s in scores), len(scores)))


def mean(name: str, unit: str = "%") -> Measure:
    """Mean of a score that is not just right or wrong, with a bootstrap interval."""
    return Measure(name, unit, lambda scores: bootstrap_mean([s[name] for s in scores]))
