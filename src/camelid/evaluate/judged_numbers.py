"""What judgements add up to: win rates and scores with intervals, and how far the judge can be trusted.

Units are questions: the turns and orders of one question are averaged first. An unreadable reply makes its judgement
invalid: it is counted and in no number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from camelid.functional.judging import rank_correlation, side
from camelid.functional.length_control import length_controlled_win_rate
from camelid.functional.statistics import (
    Estimate,
    bootstrap_mean,
    paired_bootstrap_difference,
    win_rate,
)
from camelid.judges.case import Case, Judged

Numbers = dict[str, Any]


def sum_up(judged: Sequence[Judged], models: Sequence[str]) -> Numbers:
    """All numbers of a run, JSON-able; None stands where there is nothing to measure."""
    numbers: Numbers = {
        "models": list(models),
        "judgements": len(judged),
        "questions": len({j.case.question_id for j in judged}),
        "invalid": sum(not j.valid for j in judged),
        "invalid_replies": sum(said is None for j in judged for said in j.said),
        "replies": sum(len(j.said) for j in judged),
    }
    more = _pairwise(judged) if len(models) == 2 else _single(judged)
    return numbers | more | _scores(judged, models)


def _single(judged: Sequence[Judged]) -> Numbers:
    """How far the scores follow the answers' length; a single answer has no other place to be shown in."""
    scored = [j for j in judged if j.scores is not None]
    lengths = _by_question(scored, lambda j: float(len(j.case.answers[0][-1])))
    return {"length_correlation": _json(rank_correlation(lengths, _by_question(scored, _score_of(0))))}


def _pairwise(judged: Sequence[Judged]) -> Numbers:
    valid = [j for j in judged if j.preferences is not None]
    sides = [side(j.preference) for j in valid if j.preference is not None]
    decided = [j for j, s in zip(valid, sides, strict=True) if s]
    outcomes = _by_question(valid, lambda j: j.preference)
    lengths = _by_question(valid, lambda j: longer_by(j.case))
    return {
        "win_rate": _of(win_rate, outcomes),
        "length_controlled_win_rate": _json(length_controlled_win_rate(outcomes, lengths)) if outcomes else None,
        "win_rate_by_category": {
            category: _of(win_rate, _by_question(rows, lambda j: j.preference)) for category, rows in _categories(valid)
        },
        "wins": sides.count(1),
        "ties": sides.count(0),
        "losses": sides.count(-1),
        "inconsistent": sum(_orders_agree(j) == 0 for j in valid),
        "consistency": _of(win_rate, _by_question(valid, _orders_agree)),
        "position_bias": _of(win_rate, _by_question(valid, _shown_first)),
        "length_bias": _of(win_rate, _by_question(decided, _longer_preferred)),
        "length_correlation": _json(rank_correlation(lengths, outcomes)) if outcomes else None,
    }


def longer_by(case: Case) -> float:
    """Characters by which the first answer to the judged turn is longer than the second."""
    first, second = (answers[-1] for answers in case.answers)
    return float(len(first) - len(second))


def _orders_agree(judged: Judged) -> float | None:
    """1 where both orders are for the same answer, or both for neither; else 0."""
    return None if judged.preferences is None else float(len({side(p) for p in judged.preferences}) == 1)


def _shown_first(judged: Judged) -> float | None:
    """How far what was shown first was preferred, over both orders; a half for a judge without that bias."""
    if judged.preferences is None:
        return None
    as_first, as_last = judged.preferences
    return (as_first + 1 - as_last) / 2


def _longer_preferred(judged: Judged) -> float | None:
    """1 where the longer answer won, 0 where the shorter did; None for equal lengths and ties."""
    longer = longer_by(judged.case)
    if judged.preference is None or not longer:
        return None
    return float((longer > 0) == (judged.preference > 0.5))


def _scores(judged: Sequence[Judged], models: Sequence[str]) -> Numbers:
    """Mean score a model, by category and by turn, and for two models their difference, first less second."""
    scored = [j for j in judged if j.scores is not None]
    if not scored:
        return {"scores": None}
    scores = {
        name: {"all": _of(bootstrap_mean, _by_question(scored, score))}
        | {category: _of(bootstrap_mean, _by_question(rows, score)) for category, rows in _categories(scored)}
        | {f"turn {turn}": _of(bootstrap_mean, _by_question(rows, score)) for turn, rows in _turns(scored)}
        for name, score in zip(models, (_score_of(i) for i in range(len(models))), strict=True)
    }
    if len(models) == 1:
        return {"scores": scores}
    first, second = (_by_question(scored, _score_of(i)) for i in (0, 1))
    return {"scores": scores, "score_difference": _json(paired_bootstrap_difference(first, second))}


def _score_of(index: int) -> Callable[[Judged], float | None]:
    return lambda judged: None if judged.scores is None else judged.scores[index]


def _by_question(judged: Iterable[Judged], value: Callable[[Judged], float | None]) -> list[float]:
    """One number a question: the mean over its turns; questions without any are left out."""
    found: dict[Any, list[float]] = {}
    for j in judged:
        number = value(j)
        if number is not None:
            found.setdefault(j.case.question_id, []).append(number)
    return [sum(numbers) / len(numbers) for numbers in found.values()]


def _categories(judged: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    names = sorted({j.case.category for j in judged})
    return [(name, [j for j in judged if j.case.category == name]) for name in names] if names != [""] else []


def _turns(judged: Sequence[Judged]) -> list[tuple[int, list[Judged]]]:
    turns = sorted({len(j.case.questions) for j in judged})
    return [(turn, [j for j in judged if len(j.case.questions) == turn]) for turn in turns] if len(turns) > 1 else []


def _of(estimator: Callable[[Sequence[float]], Estimate], values: Sequence[float]) -> Numbers | None:
    return _json(estimator(values)) if values else None


def _json(estimate: Estimate | None) -> Numbers | None:
    """An estimate as JSON; None in place of the infinite bounds that one value alone has."""
    if estimate is None:
        return None
    return {name: x if math.isfinite(x) else None for name, x in estimate._asdict().items()}
