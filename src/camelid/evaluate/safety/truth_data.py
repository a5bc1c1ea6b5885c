"""Questions, answers and whether people called them true; and the floors that a judge of truth must beat.

Read are rows of TruthfulQA's judge data (Lin et al. 2022, arXiv:2109.07958, appendix B): `prompt` is "Q: ...", "A: ..."
and "True:" on lines of their own, `completion` yes or no; or rows with `question`, `answer` and `true`.
Rows of one question go to one side of every split: a judge that has seen a question's true answer would know it again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camelid.evaluate.safety.replies import read_rows
from camelid.functional.statistics import Estimate, bootstrap_mean
from camelid.functional.text_classifier import fit_text_classifier

_PROMPT = re.compile(r"Q: (.*?)\nA: (.*)\nTrue:\s*", re.DOTALL)
_VERDICTS = {"yes": True, "no": False, "true": True, "false": False}


class Claim(NamedTuple):
    """An answer to a question; `true` is what people said of it."""

    question: str
    answer: str
    true: bool

    @property
    def text(self) -> str:
        return claim_text(self.question, self.answer)


def claim_text(question: str, answer: str) -> str:
    """What a judge reads."""
    return f"Q: {question}\nA: {answer}"


def read_claims(path: str) -> list[Claim]:
    """Distinct rows of a file. Raises ValueError with the row for one without question, answer and verdict."""
    claims = [_claim(row, f"{path}, row {number}") for number, row in enumerate(read_rows(path), 1)]
    if not claims:
        raise ValueError(f"{path} holds no rows")
    return list(dict.fromkeys(claims))


def _claim(row: dict, place: str) -> Claim:
    match = _PROMPT.fullmatch(str(row.get("prompt", "")))
    question, answer = (match[1], match[2]) if match else (row.get("question"), row.get("answer"))
    verdict = _VERDICTS.get(str(row.get("completion" if match else "true", "")).strip().lower())
    if not question or answer is None or verdict is None:
        raise ValueError(
            f"{place}: need `prompt` (Q: ..., A: ..., True:) with `completion` yes or no, or question, answer, true; "
            f"it has {', '.join(map(str, row))[:120]}"
        )
    return Claim(str(question), str(answer), verdict)


def draw_by_question(claims: Sequence[Claim], number: int, seed: int) -> list[Claim]:
    """About `number` claims (0: all): whole questions, drawn in a random order."""
    if number < 0:
        raise ValueError(f"{number} rows: give a positive number, or 0 for all")
    if not number or number >= len(claims):
        return list(claims)
    questions = sorted({claim.question for claim in claims})
    random.Random(seed).shuffle(questions)
    share = number / len(claims)
    chosen = set(questions[: max(2, round(share * len(questions)))])
    return [claim for claim in claims if claim.question in chosen]


def folds(claims: Sequence[Claim], number: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(training, held-out) indices, `number` times; every question is held out once, with all of its answers."""
    questions = sorted({claim.question for claim in claims})
    if len(questions) < number:
        raise ValueError(f"{len(questions)} questions cannot be split into {number} parts; give more, or fewer folds")
    random.Random(seed).shuffle(questions)
    part = {question: i % number for i, question in enumerate(questions)}
    place = np.array([part[claim.question] for claim in claims])
    for fold in range(number):
        yield np.flatnonzero(place != fold), np.flatnonzero(place == fold)


Verdict = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
"""(training, held-out indices) -> what is thought of the held-out ones."""


def held_out_hits(claims: Sequence[Claim], verdict: Verdict, number: int, seed: int) -> NDArray[np.bool_]:
    """(n,), whether each claim was judged rightly by what was made without its question."""
    hits = np.zeros(len(claims), dtype=bool)
    true = np.array([claim.true for claim in claims])
    for train, test in folds(claims, number, seed):
        hits[test] = verdict(train, test) == true[test]
    return hits


def accuracy_by_question(claims: Sequence[Claim], hits: NDArray) -> Estimate:
    """Mean over questions of the mean over a question's answers: questions are the independent units."""
    return bootstrap_mean(question_means(claims, hits))


def question_means(claims: Sequence[Claim], values: NDArray) -> NDArray[np.float64]:
    """(number of questions,), in the order of their names."""
    names, index = np.unique([claim.question for claim in claims], return_inverse=True)
    sums = np.bincount(index, np.asarray(values, dtype=np.float64), len(names))
    return sums / np.bincount(index, minlength=len(names))


def floor_verdicts(claims: Sequence[Claim]) -> dict[str, Verdict]:
    """What needs no model: the commoner verdict, and bags of words of question and answer, or of the answer alone."""
    true = np.array([claim.true for claim in claims])

    def words(texts: Sequence[str]) -> Verdict:
        def verdict(train: NDArray[np.int64], test: NDArray[np.int64]) -> NDArray[np.bool_]:
            classifier = fit_text_classifier([texts[i] for i in train], true[train].tolist())
            return classifier.probabilities([texts[i] for i in test]) > 0.5

        return verdict

    return {
        "majority": lambda train, test: np.full(len(test), true[train].mean() > 0.5),
        "TF-IDF, question and answer": words([f"{claim.question} {claim.answer}" for claim in claims]),
        "TF-IDF, answer alone": words([claim.answer for claim in claims]),
    }
