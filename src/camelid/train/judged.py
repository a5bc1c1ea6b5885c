"""What a reward model trains on: the completions of a prompt that somebody put in order, two of them or K.

A preference is a ranking of two. Each completion goes through the model once, however many pairs it is in, and the
prompt once for all of them (`models/batch.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camelid.functional.ranking import kwise_ranking_loss, margin_of, safety_loss
from camelid.models.batch import Row
from camelid.models.chat import ChatFormat
from camelid.models.outputs import Loss
from camelid.models.rewards import UNSAFE
from camelid.models.too_long import Lengths
from camelid.train.common import input_files
from camelid.train.pairs import completion_rows, read_preferences
from camelid.types import Preference, Ranking, Record, read_records

Verdict = Preference | Ranking


class Judged(NamedTuple):
    """A verdict with a row for each completion."""

    rows: Sequence[Row]
    pairs: tuple[tuple[int, int], ...]
    """(better, worse), places in `rows`."""
    preferences: tuple[Preference, ...]
    """One a pair."""
    safe: tuple[bool | None, ...]
    """One a row; None where nobody said."""


def read_verdicts(inputs: Mapping[str, Any]) -> list[Verdict]:
    """All of `preferences`, then of `rankings`, each of one file or several.

    Raises ValueError where there is neither, or a file holds nothing.
    """
    given = "preferences" in inputs or "rankings" not in inputs  # neither is an error of `inputs` itself
    found: list[Verdict] = [*read_preferences(inputs["preferences"])] if given else []
    for file in input_files(inputs["rankings"]) if "rankings" in inputs else ():
        rankings = read_records(file, Ranking)
        if not rankings:
            raise ValueError(f"no rankings in {file}: the file is empty")
        found += rankings
    return found


def concerns(asked: Record, prompts: str) -> bool:
    """Whether a reward model for `prompts` (all, unsafe, other) has to do with a row, by the tags of its prompt."""
    return prompts == "all" or (UNSAFE in asked.tags) == (prompts == "unsafe")


def judged_rows(chat: ChatFormat, verdicts: Sequence[Verdict], lengths: Lengths) -> list[Judged]:
    """Verdicts with their rows, without those that `lengths` sets aside: all completions of a prompt or none."""
    found = []
    for v in verdicts:
        texts: tuple[str, ...]
        if isinstance(v, Ranking):
            what, texts, pairs, preferences = "ranking", v.completions, v.pairs, v.preferences()
            safe = v.safe or (None,) * len(texts)
        else:
            what, texts, pairs, preferences = "preference", (v.chosen, v.rejected), ((0, 1),), (v,)
            safe = (v.chosen_safe, v.rejected_safe)
        made = completion_rows(chat, v.prompt, texts, f"{what} {v.id} ({v.source})", lengths)
        if made is not None:
            found.append(Judged(made[1], pairs, preferences, safe))
    return found


def check_labels(judged: Sequence[Judged]) -> None:
    """Raises ValueError unless some completions are labelled safe and some unsafe, as the safety loss needs."""
    labels = [label for j in judged for label in j.safe if label is not None]
    if not 0 < sum(labels) < len(labels):
        raise ValueError(
            f"safety_coef wants answers labelled safe and unsafe ones: of {sum(len(j.safe) for j in judged)} answers "
            f"{sum(labels)} are labelled safe, {len(labels) - sum(labels)} unsafe; fill chosen_safe and rejected_safe "
            f"of preferences, safe of rankings, or set safety_coef=0"
        )


@dataclass(frozen=True)
class Step:
    """What is known of the completions of a step's prompts, R rows in all, P pairs."""

    prompts: Tensor
    """(R,) the prompt of each row."""
    better: Tensor
    worse: Tensor
    """(P,) rows."""
    margins: Tensor
    """(P,)"""
    safe: Tensor
    known: Tensor
    """(R,) whether a row is safe, read where that is known."""

    @classmethod
    def of(cls, judged: Sequence[Judged], table: str) -> Step:
        """`table`: of margins by rating."""
        counts = torch.tensor([len(j.rows) for j in judged])
        first = (counts.cumsum(0) - counts).tolist()
        pairs = [(start + i, start + k) for j, start in zip(judged, first, strict=True) for i, k in j.pairs]
        labels = [label for j in judged for label in j.safe]
        return cls(
            prompts=torch.arange(len(judged)).repeat_interleave(counts),
            better=torch.tensor([pair[0] for pair in pairs]),
            worse=torch.tensor([pair[1] for pair in pairs]),
            margins=torch.tensor([margin_of(p.rating, table) for j in judged for p in j.preferences]),
            safe=torch.tensor([label is True for label in labels]),
            known=torch.tensor([label is not None for label in labels]),
        )


def verdict_loss(scores: Tensor, rows: Tensor, *, step: Step, safety_coef: float) -> Loss:
    """Ranking loss of the prompts whose rows these are, and the safety loss beside it.

    `scores`: (r,). `rows`: (r,) their places in the step; all rows of a prompt are among them. Sums over prompts.
    """
    place = torch.full_like(step.prompts, -1)
    place[rows] = torch.arange(len(rows))
    here = place[step.better] >= 0
    better, worse = place[step.better[here]], place[step.worse[here]]
    prompts = step.prompts[step.better[here]]
    total, count = kwise_ranking_loss(scores, better, worse, step.margins[here], prompts)
    right = (scores[better] > scores[worse]).float() / prompts.bincount()[prompts]
    logs = {"accuracy": right.sum()}
    if safety_coef:
        logs["ranking_loss"] = total
        logs["safety_loss"], _ = safety_loss(scores, step.safe[rows], step.known[rows], step.prompts[rows])
        total = total + safety_coef * logs["safety_loss"]
    return Loss(total, count, logs)
