"""Choices at the precision that they need: all questions in bfloat16, and in float32 again those that are close.

How far bfloat16 is off is measured on a few questions, which are asked both ways: the error of a log-likelihood
grows with the root of its tokens. A question is settled where its scores stay the same with any one of its answers as
likely as may be and all others as unlikely. What is not settled gets float32's answers; scores that are no choices,
such as a mean log-likelihood, never are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from camelid.evaluate.tasks.task import Question, Task
from camelid.models.answering import Answerer
from camelid.models.requests import Likelihood, Scored

TRIAL = 32
"""Questions from which the error is told."""
WIDTH = 2.0
"""Standard deviations by which each answer may be off; two of them may part by twice as much, 2.8 of their difference's
where they err independently."""
WORTH = 0.6
"""Largest share of the trial that may be close: above, bfloat16 first costs more than it saves."""

Asking = tuple[Question, Sequence[Likelihood]]
"""A question and what is asked for it, examples in front."""
Tick = Callable[[int], None]


class Checked(NamedTuple):
    """The answers to one question."""

    answers: list[Scored]
    off_by: float
    """By how many nats a log-likelihood may be off; 0 where all are float32's."""


def trial_of(questions: Sequence[Question]) -> Sequence[Question]:
    """The questions of the trial, from all over the task."""
    return questions[:: max(len(questions) // TRIAL, 1)][:TRIAL]


class Checker:
    """Answers a task's questions with a model that is held in float32."""

    def __init__(self, answerer: Answerer, task: Task, trial: Sequence[Asking]):
        self.answerer, self.task = answerer, task
        exact, coarse = self._ask(trial), self._ask(trial, coarse=True)
        pairs = [pair for both in zip(exact, coarse, strict=True) for pair in zip(*both, strict=True)]
        errors = [(c.logprob - e.logprob) / math.sqrt(e.num_tokens) for e, c in pairs]
        self.error = float(np.sqrt(np.mean(np.square(errors))))
        """Standard deviation of a log-likelihood's error over the root of its tokens, in nats."""
        close = sum(not self.settled(question, own) for (question, _), own in zip(trial, coarse, strict=True))
        self.worth = close <= WORTH * len(trial)

    def answer(self, askings: Sequence[Asking], tick: Tick = lambda requests: None) -> list[Checked]:
        """The answers, in the order of the questions."""
        if not self.worth:
            return [Checked(answers, 0.0) for answers in self._ask(askings, tick=tick)]
        coarse = self._ask(askings, coarse=True, tick=tick)
        close = [i for i, (question, _) in enumerate(askings) if not self.settled(question, coarse[i])]
        exact = dict(zip(close, self._ask([askings[i] for i in close]), strict=True))
        return [
            Checked(exact[i], 0.0) if i in exact else Checked(own, max(map(self.off_by, own)))
            for i, own in enumerate(coarse)
        ]

    def settled(self, question: Question, answers: Sequence[Scored]) -> bool:
        """Whether the scores are the same wherever the log-likelihoods may really lie."""
        scores = self.task.score(question, answers)
        for favoured in range(len(answers)):
            shifts = (self.off_by(a) * (1 if i == favoured else -1) for i, a in enumerate(answers))
            moved = [a._replace(logprob=a.logprob + shift) for a, shift in zip(answers, shifts, strict=True)]
            if self.task.score(question, moved) != scores:
                return False
        return True

    def off_by(self, answer: Scored) -> float:
        return WIDTH * self.error * math.sqrt(answer.num_tokens)

    def _ask(
        self, askings: Sequence[Asking], *, coarse: bool = False, tick: Tick = lambda requests: None
    ) -> list[list[Scored]]:
        requests = [request for _, own in askings for request in own]
        answers = iter(self.answerer.likelihoods(requests, tick, coarse=coarse))
        return [list(islice(answers, len(own))) for _, own in askings]
