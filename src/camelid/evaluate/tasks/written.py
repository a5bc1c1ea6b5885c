"""What tasks that are answered in writing share: the question, the example, scorers of numbers and short answers.

Writing ends at the first stop string, which is cut off. A `prediction` of None is an answer that does not parse: it is
counted as `invalid` and scores 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camelid.evaluate.tasks.task import Question
from camelid.functional.exact_match import matches_any, normalise
from camelid.functional.final_number import NUMBER, as_number, last_number, marked_number
from camelid.models.requests import Answer, Generate, Written

INVALID_IS_WRONG = "answers that do not parse are counted as invalid and score 0"


def text_of(answer: Answer) -> str:
    assert isinstance(answer, Written)
    return answer.text


def short_answer_question(id: str, question: str, right: Sequence[str], *, max_new_tokens: int = 32) -> Question:
    """A question answered in a few words; `right[0]` stands in the example.

    The answer ends at a line break. Others (Touvron et al. 2023, LLaMA, arXiv:2302.13971, appendix A; the
    lm-evaluation-harness) end it at full stops and commas as well, after which 316 of NQ-open's 3,610 questions cannot
    be answered rightly: all their answers hold one.
    """
    if not right:
        raise ValueError(f"item {id}: no answers")
    prompt = f"Question: {question}\nAnswer:"
    request = Generate(prompt, ("\n",), max_new_tokens)
    return Question(id, (request,), tuple(right), example=f"{prompt} {right[0]}")


def score_short_answer(question: Question, answers: Sequence[Answer]) -> dict[str, Any]:
    """SQuAD's exact match with any of the right answers. Invalid: nothing but punctuation and articles."""
    said = text_of(answers[0]).strip()
    right = matches_any(said, question.gold)
    invalid = not right and not normalise(said)  # some questions ask for a sign or an article
    return {"prediction": None if invalid else said, "exact_match": float(right), "invalid": float(invalid)}


def problem_question(id: str, problem: str, solution: str, answer: str, *, max_new_tokens: int = 256) -> Question:
    """A problem in words whose solution ends with "#### answer"; `solution` stands in the example.

    Raises ValueError where the answer is no number.
    """
    if not NUMBER.fullmatch(answer):
        raise ValueError(f"item {id}: the answer {answer!r} is no number")
    prompt = f"Problem: {problem}\nSolution:"
    request = Generate(prompt, ("\nProblem:",), max_new_tokens)
    return Question(id, (request,), answer, example=f"{prompt} {solution}\n#### {answer}")


def score_number(question: Question, answers: Sequence[Answer]) -> dict[str, Any]:
    """strict_match: the number behind "####"; flexible_extract: the last number. Invalid: no number at all."""
    said, right = text_of(answers[0]), as_number(question.gold)
    marked, last = marked_number(said), last_number(said)
    return {
        "prediction": None if last is None else str(last),
        "strict_match": float(marked == right),
        "flexible_extract": float(last == right),
        "unmarked": float(marked is None),
        "invalid": float(last is None),
    }
