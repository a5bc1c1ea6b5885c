"""Scorers that several tasks share: a question and the model's answers in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from camelid.evaluate.tasks.task import Question
from camelid.functional.choices import likeliest, likeliest_per_length, mass_of_right
from camelid.models.requests import Answer, Likelihood, Scored


def logprobs(answers: Sequence[Answer]) -> list[float]:
    return [a.logprob for a in answers if isinstance(a, Scored)]


def lengths(question: Question) -> list[int]:
    """Characters of each choice, without the space that joins it to the question."""
    return [len(r.continuation.removeprefix(" ")) for r in question.requests if isinstance(r, Likelihood)]


def score_choices(question: Question, answers: Sequence[Answer]) -> dict[str, float]:
    """One request a choice; `gold` is the number of the right one."""
    found = logprobs(answers)
    taken = likeliest(found)
    return {
        "prediction": taken,
        "acc": float(taken == question.gold),
        "acc_norm": float(likeliest_per_length(found, lengths(question)) == question.gold),
    }


def score_truths(question: Question, answers: Sequence[Answer]) -> dict[str, float]:
    """TruthfulQA: `gold` is (number of the best answer, which of the choices are true)."""
    best, true = question.gold
    found = np.array(logprobs(answers))
    # mc1 knows one right answer: the other true ones are not on its list.
    listed = [i for i in range(len(found)) if i == best or not true[i]]
    taken = listed[likeliest(found[listed])]
    return {"prediction": taken, "mc1": float(taken == best), "mc2": mass_of_right(found, true)}


def score_last_word(question: Question, answers: Sequence[Answer]) -> dict[str, float]:
    """LAMBADA: right where greedy decoding would have written the word."""
    answer = answers[0]
    assert isinstance(answer, Scored)
    return {"acc": float(answer.greedy), "nll": -answer.logprob}
