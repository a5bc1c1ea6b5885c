"""Judgements made in both orders of display: how many survive the swap, and what they say when only those count.

Three formats are read. Reviews with `scores` (of Answer1, Answer2) and `scores_reverse` (in the order displayed then:
Answer2, Answer1). AlpacaEval's annotations where each pair of outputs stands there twice, crossed. And verdicts.json of
`camelid judge`, where those of the swapped order speak of the first answer already. Judges favour places (Wang et al.
2023, arXiv:2305.17926): a judgement that does not survive the swap is a tie. One without a verdict in either order is
invalid and in no figure.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from camelid.functional.statistics import Estimate, proportion, win_rate
from camelid.rows import Row, columns, finite, read_rows

Verdict = Literal["first", "second", "tie"]
OUTCOME: dict[Verdict, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}
MIRROR: dict[Verdict, Verdict] = {"first": "second", "tie": "tie", "second": "first"}
PLACES: dict[str, Verdict] = {"first_shown": "first", "second_shown": "second", "neither": "tie"}
ALPACA_EVAL = {"instruction", "output_1", "output_2", "preference"}


class BothOrders(NamedTuple):
    """Which of two answers was better, first shown first and first shown second; None where the judge did not say."""

    given: Verdict | None
    swapped: Verdict | None
    lengths: tuple[int, int] | None
    """Characters of the first and the second answer, where the file has them."""

    @property
    def verdict(self) -> Verdict | None:
        """That of both orders; a tie where they differ; None where one is unknown."""
        if self.given is None or self.swapped is None:
            return None
        return self.given if self.given == self.swapped else "tie"


def read_both_orders(path: str | os.PathLike[str]) -> list[BothOrders]:
    """All pairs of a file. Raises ValueError where it holds one order only, no judgements, or none with a verdict."""
    pairs = _both_orders(path, read_rows(path))
    if not any(pair.verdict for pair in pairs):
        raise ValueError(f"{path}: none of the {len(pairs)} pairs has a verdict in both orders")
    return pairs


def _both_orders(path: str | os.PathLike[str], rows: Sequence[Row]) -> list[BothOrders]:
    names = set(columns(rows))
    if {"scores", "scores_reverse"} <= names:
        return [_scored(row.values) for row in rows]
    if {"given", "swapped"} <= names:
        return [BothOrders(_said(row.values.get("given")), _said(row.values.get("swapped")), None) for row in rows]
    if names >= ALPACA_EVAL:
        return _crossed(path, rows)
    if names & {"scores", "score"}:
        raise ValueError(f"{path}: scores in one order only; a swap needs scores and scores_reverse in every row")
    if {"Answer1", "Answer2"} <= names:
        raise ValueError(f"{path}: answers without reviews; give the file with scores and scores_reverse")
    raise ValueError(
        f"{path}: no judgements in both orders; rows need scores and scores_reverse, or AlpacaEval's "
        f"{', '.join(sorted(ALPACA_EVAL))}. There are {', '.join(sorted(names)[:12])}"
    )


def swap_figures(pairs: Sequence[BothOrders]) -> dict[str, Any]:
    """Everything said of `pairs`, JSON-able, from the side of the first answer. Raises ValueError if none is valid.

    `win_rate` is in percent, all else in shares. `position_bias` is the mean of 1 where the answer shown first is
    preferred, 0 where the other is and one half for a tie, over both orders: one half is none.
    """
    valid = [pair for pair in pairs if pair.verdict]
    if not valid:
        raise ValueError(f"none of the {len(pairs)} pairs has a verdict in both orders")
    verdicts = [pair.verdict for pair in valid if pair.verdict]
    shown = [(pair.given, MIRROR[pair.swapped]) for pair in valid if pair.given and pair.swapped]
    same = sum(pair.given == pair.swapped for pair in valid)
    wins = win_rate([OUTCOME[verdict] for verdict in verdicts])
    bias = win_rate([(OUTCOME[a] + OUTCOME[b]) / 2 for a, b in shown])
    return {
        "n": len(valid),
        "invalid": len(pairs) - len(valid),
        **_named("consistency", proportion(same, len(valid))),
        "wins": verdicts.count("first"),
        "ties": verdicts.count("tie"),
        "losses": verdicts.count("second"),
        "win_rate": wins.percent.value,
        "win_rate_interval": wins.percent.interval,
        "standard_error": wins.percent.standard_error,
        "one_order": {"given": _counts(p.given for p in valid), "swapped": _counts(p.swapped for p in valid)},
        **_named("position_bias", bias),
        **{f"prefers_{place}": _share_of(shown, verdict) for place, verdict in PLACES.items()},
        "inconsistent": {
            "first_shown_twice": shown.count(("first", "first")),
            "second_shown_twice": shown.count(("second", "second")),
            "tie_in_one_order": sum((a == "tie") != (b == "tie") for a, b in shown),
        },
        **_lengths(valid),
    }


def _lengths(pairs: Sequence[BothOrders]) -> dict[str, Any]:
    """How often the longer answer wins, where a verdict survives the swap; None where no answers are given."""
    longer = [
        float((pair.lengths[0] > pair.lengths[1]) == (pair.verdict == "first"))
        for pair in pairs
        if pair.lengths and pair.lengths[0] != pair.lengths[1] and pair.verdict in ("first", "second")
    ]
    if not longer:
        return {"longer_wins": None, "longer_wins_interval": None, "longer_wins_n": 0}
    return {**_named("longer_wins", proportion(sum(longer), len(longer))), "longer_wins_n": len(longer)}


def _scored(row: dict[str, Any]) -> BothOrders:
    swapped = _better(row.get("scores_reverse"))
    one, two = row.get("Answer1"), row.get("Answer2")
    lengths = (len(one), len(two)) if isinstance(one, str) and isinstance(two, str) else None
    return BothOrders(_better(row.get("scores")), MIRROR[swapped] if swapped else None, lengths)


def _better(scores: Any) -> Verdict | None:
    """The better of the two as displayed: of a list of two scores, or of its JSON; -1 marks a failed parse."""
    if isinstance(scores, str):
        try:
            scores = json.loads(scores)
        except (ValueError, RecursionError):
            return None
    if not isinstance(scores, list) or len(scores) != 2:
        return None
    one, two = (finite(score) for score in scores)
    if one is None or two is None or one < 0 or two < 0:
        return None
    return "tie" if one == two else "first" if one > two else "second"


def _said(verdict: Any) -> Verdict | None:
    """ "first, slightly better" in verdicts.json; None for "invalid"."""
    word = str(verdict).partition(",")[0]
    return next((known for known in OUTCOME if known == word), None)


def _crossed(path: str | os.PathLike[str], rows: Sequence[Row]) -> list[BothOrders]:
    """AlpacaEval's rows in twos: the same instruction with the two outputs crossed. The first row says who is first."""
    waiting: dict[tuple[str, str, str], Verdict | None] = {}
    pairs = []
    for row in rows:
        instruction, one, two = (str(row.values.get(name)) for name in ("instruction", "output_1", "output_2"))
        verdict = _preferred(row.values.get("preference"))
        if (instruction, two, one) in waiting:
            given = waiting.pop((instruction, two, one))
            pairs.append(BothOrders(given, MIRROR[verdict] if verdict else None, (len(two), len(one))))
        else:
            waiting[instruction, one, two] = verdict
    if not pairs:
        raise ValueError(f"{path}: AlpacaEval's annotations in one order only: no two rows have their outputs crossed")
    if waiting:
        raise ValueError(f"{path}: {len(waiting)} pairs stand there in one order only, {len(pairs)} in both")
    return pairs


def _preferred(preference: Any) -> Verdict | None:
    """AlpacaEval's codes: 1, 2, or 0 for a tie; between 1 and 2 the nearer counts."""
    if isinstance(preference, bool) or not isinstance(preference, int | float):
        return None
    if preference in (0, 1.5):
        return "tie"
    return None if not 1 <= preference <= 2 else "first" if preference < 1.5 else "second"


def _share_of(shown: Sequence[tuple[Verdict, Verdict]], verdict: Verdict) -> float:
    return sum((a == verdict) + (b == verdict) for a, b in shown) / (2 * len(shown))


def _counts(verdicts: Iterable[Verdict | None]) -> dict[str, int]:
    counted = Counter(verdicts)
    return {"wins": counted["first"], "ties": counted["tie"], "losses": counted["second"]}


def _named(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: estimate.value, f"{name}_interval": estimate.interval}
