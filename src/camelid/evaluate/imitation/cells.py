"""What a study of imitation is made of: cells, each a size of start model, a kind and an amount of data, some seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from camelid.evaluate.imitation.facts import Facts, Scores, mean_accuracy
from camelid.evaluate.imitation.measures import Style, style_of
from camelid.evaluate.imitation.plain import plain
from camelid.functional.length_control import length_controlled_win_rate
from camelid.functional.seeds import over_seeds
from camelid.functional.statistics import Estimate, proportion, win_rate
from camelid.functional.style import num_words
from camelid.types import iterate_json_lines

Kind = Literal["start", "broad", "local"]


class CellName(BaseModel):
    """One trained model, or a start model, of the study."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    layers: int
    """Size of the start model."""
    kind: Kind
    """start: before it imitated; broad: on the teacher's answers to all kinds of prompts; local: on one task's."""
    amount: int
    """Conversations imitated."""
    seed: int = 0


@dataclass(frozen=True)
class Answered:
    """A recorded answer with the judge's score."""

    text: str
    score: float


@dataclass(frozen=True)
class One:
    """What one model was measured to do."""

    name: CellName
    style: Style
    wins: Estimate
    wins_length_controlled: Estimate
    facts: Facts
    items: dict[str, Scores]
    """Right or wrong by task and item."""


@dataclass(frozen=True)
class Cell:
    """The models of one size, kind and amount, over seeds."""

    layers: int
    kind: Kind
    amount: int
    seeds: int
    style: dict[str, Estimate]
    wins: Estimate
    wins_length_controlled: Estimate
    facts: Facts
    knowledge: Estimate | None
    """Mean accuracy over the tasks that count."""
    items: tuple[dict[str, Scores], ...]
    """Right or wrong by seed, task and item."""

    def as_json(self) -> dict[str, Any]:
        own = {key: getattr(self, key) for key in ("layers", "kind", "amount", "seeds")}
        parts = {name: plain(getattr(self, name)) for name in ("style", "facts")}
        single = {"win_rate": self.wins, "length_controlled_win_rate": self.wins_length_controlled}
        return own | parts | plain(single | {"knowledge": self.knowledge})


STYLE = (
    "similarity",
    "lists_where_reference_does",
    "lists_where_reference_does_not",
    "length_correlation",
    "unigram_f1",
    "bigram_f1",
    "same_tone",
    "words",
)
"""Measures of style that are averaged over seeds."""


def read_answered(path: Path) -> dict[str, Answered]:
    """Answers by prompt id."""
    return {row["prompt_id"]: Answered(row["text"], row["judge_score"]) for row in iterate_json_lines(path)}


def measure(name: CellName, answers: Path, reference: dict[str, Answered], scores: Path, tie_within: float) -> One:
    """One model's style and wins beside the teacher's answers, and its facts: `scores`, as `ask_facts` leaves them.

    Raises ValueError where the teacher has no answer to one of the prompts.
    """
    ours = read_answered(answers)
    missing = [key for key in ours if key not in reference]
    if missing:
        raise ValueError(f"{answers}: the teacher has no answer to prompt {missing[0]}, and {len(missing) - 1} more")
    theirs = [reference[key] for key in ours]
    gaps = [a.score - b.score for a, b in zip(ours.values(), theirs, strict=True)]
    outcomes = [0.5 if abs(gap) <= tie_within else float(gap > 0) for gap in gaps]
    lengths = [num_words(a.text) - num_words(b.text) for a, b in zip(ours.values(), theirs, strict=True)]
    items: dict[str, Scores] = json.loads(scores.read_text())
    return One(
        name,
        style_of([a.text for a in ours.values()], [b.text for b in theirs]),
        win_rate(outcomes),
        length_controlled_win_rate(outcomes, lengths),
        {task: proportion(sum(right.values()), len(right)) for task, right in items.items()},
        items,
    )


def counted_tasks(starts: Sequence[Facts], floors: dict[str, float]) -> tuple[list[str], dict[str, str]]:
    """(tasks that count, why others do not): those on which some start model is above what guessing gives.

    `floors`: accuracy of guessing by task. A task without a floor is an error: nobody would know what it says.
    """
    counted, left_out = [], {}
    for task in starts[0]:
        if task not in floors:
            raise ValueError(f"task {task!r} has no floor; add what guessing gives to study.floors")
        best = max((facts[task] for facts in starts), key=lambda e: e.low)
        if best.low > floors[task]:
            counted.append(task)
        else:
            left_out[task] = (
                f"best start {best.value:.3f} [{best.low:.3f}, {best.high:.3f}], guessing {floors[task]:.3f}"
            )
    return counted, left_out


BOUNDS = {"similarity": (-1.0, 1.0), "length_correlation": (-1.0, 1.0), "words": (0.0, math.inf)}
"""What a measure can be; the others are shares."""


def pool(ones: Sequence[One], tasks: Sequence[str]) -> Cell:
    """The models of a cell, which differ in their seed alone, as one."""
    first = ones[0].name

    def style(field: str) -> Estimate | None:
        found = [getattr(one.style, field) for one in ones]
        return None if any(e is None for e in found) else _inside(over_seeds(found), *BOUNDS.get(field, (0.0, 1.0)))

    def share(estimates: Sequence[Estimate]) -> Estimate:
        return _inside(over_seeds(estimates), 0.0, 1.0)

    facts = {task: share([one.facts[task] for one in ones]) for task in ones[0].facts}
    return Cell(
        layers=first.layers,
        kind=first.kind,
        amount=first.amount,
        seeds=len(ones),
        style={field: e for field in STYLE if (e := style(field)) is not None},
        wins=share([one.wins for one in ones]),
        wins_length_controlled=share([one.wins_length_controlled for one in ones]),
        facts=facts,
        knowledge=share([mean_accuracy(one.facts, tasks) for one in ones]) if tasks else None,
        items=tuple(one.items for one in ones),
    )


def _inside(estimate: Estimate, lowest: float, highest: float) -> Estimate:
    """The interval cut to what can be."""
    return estimate._replace(low=max(estimate.low, lowest), high=min(estimate.high, highest))
