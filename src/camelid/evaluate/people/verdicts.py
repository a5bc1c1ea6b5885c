"""Verdicts of one side, a judge's or people's, from the files in which they come: which of two answers is better.

Read: Vicuna's reviews (scores of two answers), FairEval's list of verdicts (a line a question), judgements in both
orders (swap.py), tables with a column a rater (the majority counts, a tie where there is none), and camelid's own
preferences, where the pair of completions is the item. Left out: degrees of preference.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camelid.evaluate.people.rating_tables import is_rater_column, read_table
from camelid.evaluate.people.ratings import FIRST_WORDS, SECOND_WORDS, TIE_WORDS, plain
from camelid.evaluate.people.swap import Verdict, read_both_orders
from camelid.evaluate.vicuna import read_review
from camelid.rows import columns, read_rows, read_text
from camelid.types import Preference, content_hash, read_records

CODES: dict[float, Verdict] = {1.0: "first", 2.0: "second", 0.0: "tie"}
SIDES: tuple[Verdict, Verdict] = ("first", "second")
ALIASES = ({"chatgpt", "gpt35", "gpt35turbo"},)
"""Names of one model, as FairEval and Vicuna's files have them."""
ONE_COLUMN = ("verdict", "winner", "judge", "preference", "label")
"""Names under which a table may hold the verdicts of one judge."""


@dataclass(frozen=True)
class Verdicts:
    """A verdict an item; None where there is none that can be read."""

    source: str
    by_item: dict[str, Verdict | None]
    names: tuple[str, str] | None = None
    """The two models, first and second, where the file says them."""
    raters: tuple[tuple[Verdict | None, ...], ...] = ()
    """Single verdicts behind a majority, a tuple an item, in the order of `by_item`."""
    partial: bool = False
    """Items are named so that others may lack some of them."""
    without_ties: bool = False
    """Preference files hold none."""
    numbered: bool = False
    """Items are the numbers of lines or rows, not names."""


def read_verdicts(
    path: str | os.PathLike[str], *, names: tuple[str, str] | None = None, raters: Sequence[str] = ()
) -> Verdicts:
    """Verdicts of a file. `names`: the models of which a list of verdicts speaks; `raters`: columns of a table."""
    path = Path(path)
    if path.suffix.lower() == ".txt":
        return _list(path, names)
    rows = read_rows(path)
    found = set(columns(rows))
    if raters:
        return _table(path, raters)
    if {"question_id", "text"} <= found:
        return _reviews(path, rows)
    if {"prompt", "chosen", "rejected"} <= found:
        return _preferences(path)
    if {"scores", "scores_reverse"} <= found:
        pairs = enumerate(read_both_orders(path), 1)
        return Verdicts(str(path), {str(number): pair.verdict for number, pair in pairs}, numbered=True)
    if {"comparison", "given", "swapped"} <= found:
        named = zip(rows, read_both_orders(path), strict=True)
        return Verdicts(
            str(path), {str(row.values.get("comparison")): pair.verdict for row, pair in named}, partial=True
        )
    if any(is_rater_column(name) for name in found - set(ONE_COLUMN)):
        return _table(path, ())
    one = next((name for name in ONE_COLUMN if name in found), None)
    if one is None:
        raise ValueError(f"{path}: no verdicts; there are {', '.join(sorted(found)[:12])}. Name columns of verdicts")
    return _table(path, [one])


def majority(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """What more than half of the verdicts say; a tie where no side has so many; None where there is none."""
    given = [verdict for verdict in verdicts if verdict]
    if not given:
        return None
    most, number = Counter(given).most_common(1)[0]
    return most if 2 * number > len(given) else "tie"


def side(label: Any) -> Verdict | None:
    """A word or code for a verdict: 1, 2, 0, first, A, model_b, tie; None for anything else, such as -1."""
    try:
        number = None if isinstance(label, bool) else float(label)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is not None:
        return CODES.get(number)
    word = plain(str(label))
    if word in FIRST_WORDS:
        return "first"
    if word in SECOND_WORDS:
        return "second"
    return "tie" if word in TIE_WORDS else None


def _reviews(path: Path, rows: Sequence[Any]) -> Verdicts:
    by_item: dict[str, Verdict | None] = {}
    for row in rows:
        try:
            review = read_review(row.values)
        except (KeyError, ValueError):
            raise ValueError(f"{row.place}: not a review with question_id, text and score") from None
        if str(review.question_id) in by_item:
            raise ValueError(f"{path}: question {review.question_id} is reviewed twice; it would count twice")
        by_item[str(review.question_id)] = _better(review.scores)
    parts = path.stem.split("_")
    return Verdicts(str(path), by_item, (parts[1], parts[2]) if len(parts) == 3 and parts[0] == "review" else None)


def _better(scores: tuple[float, float] | None) -> Verdict | None:
    if scores is None:
        return None
    return "tie" if scores[0] == scores[1] else "first" if scores[0] > scores[1] else "second"


def _list(path: Path, names: tuple[str, str] | None) -> Verdicts:
    """A label a line, in the order of the questions."""
    labels = [line.strip() for line in read_text(path).rstrip().split("\n")]
    if not any(labels):
        raise ValueError(f"{path} is empty")
    sides = {label: verdict for label in set(labels) if (verdict := side(label))}
    models = sorted({plain(label) for label in set(labels) - set(sides)} - {""})
    by_model = _which_is_which(path, models, names) if models else {}
    by_item = {str(line): sides.get(label) or by_model.get(plain(label)) for line, label in enumerate(labels, 1)}
    return Verdicts(str(path), by_item, names, numbered=True)


def _which_is_which(path: Path, models: list[str], names: tuple[str, str] | None) -> dict[str, Verdict]:
    """Sides of the labels that name a model. Never by elimination: the list may be about other models."""
    sides: dict[str, Verdict] = {}
    for name, which in zip(names or (), SIDES, strict=False):
        known = next((group for group in ALIASES if plain(name) in group), {plain(name)})
        sides |= {label: which for label in models if label in known}
    if not sides or (len(set(sides.values())) == 1 and len(sides) < len(models)):
        said = f"{names[0]} and {names[1]}" if names else "no models"
        raise ValueError(
            f"{path} speaks of {', '.join(models[:6])}, the reviews of {said}; if they are the same answers, say which "
            "is which with --first and --second"
        )
    return sides


def _table(path: Path, raters: Sequence[str]) -> Verdicts:
    table = read_table(path, raters)
    sides = [tuple(side(value) for value in row) for row in table.values]
    if not any(verdict for row in sides for verdict in row):
        raise ValueError(f"{path}: no verdicts in {', '.join(table.raters)}; they say 1, 2 and 0, or A, B and tie")
    by_item = dict(zip(table.items, (majority(row) for row in sides), strict=True))
    numbered = table.items == [str(number) for number in range(1, len(table.items) + 1)]
    return Verdicts(str(path), by_item, raters=tuple(sides) if len(table.raters) > 1 else (), numbered=numbered)


def _preferences(path: Path) -> Verdicts:
    """The item is the pair: "first" is the completion that comes first in the alphabet, whoever was shown first."""
    votes: dict[str, list[Verdict | None]] = {}
    for record in read_records(path, Preference):
        pair = sorted((record.chosen, record.rejected))
        item = content_hash([[m.model_dump() for m in record.prompt], pair, record.kind])[:16]
        votes.setdefault(item, []).append("first" if record.chosen == pair[0] else "second")
    return Verdicts(
        str(path), {item: majority(given) for item, given in votes.items()}, partial=True, without_ties=True
    )
