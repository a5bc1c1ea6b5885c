"""Who gave which item which label, as codes on a scale; rating_tables.py reads them from files.

PandaLM's codes are known: 0 is a tie, 1 and 2 are the better response, and the tie stands between them. Other labels
are ordered where they are numbers, or where the scale is given. Left out: free scores on a continuous scale; more than
100 different labels are taken for a wrong column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PANDALM_COLUMN = re.compile(r"annotator[ _-]?\d+", re.IGNORECASE)
PANDALM_SCALE = ("1", "0", "2")
FIRST_WORDS = {"first", "a", "modela", "response1", "answer1", "output1"}
SECOND_WORDS = {"second", "b", "modelb", "response2", "answer2", "output2"}
TIE_WORDS = {"tie", "tied", "equal", "same", "draw"}
MISSING_WORDS = {"", "na", "n/a", "nan", "null", "none", "-"}
MAX_LABELS = 100


@dataclass(frozen=True)
class Ratings:
    """Labels by item and rater."""

    items: list[str]
    raters: list[str]
    scale: list[str]
    """All labels that could be given, in order where they have one."""
    codes: NDArray[np.int64]
    """(items, raters): which label of the scale; -1 where there is none."""
    scores: NDArray[np.float64] | None
    """Where each label stands on an ordered scale; None for labels without order."""
    tie: int | None
    """Which label is the tie."""
    missing: int
    """Places without a rating."""
    invalid: int
    """Ratings that are no label of the scale: counted, in no figure."""

    @property
    def counts(self) -> NDArray[np.float64]:
        """(items, labels): how many raters gave it."""
        return np.stack([(self.codes == q).sum(1) for q in range(len(self.scale))], axis=1).astype(np.float64)


def build(
    source: str,
    items: list[str],
    raters: list[str],
    values: list[list[Any]],
    *,
    scale: Sequence[str] = (),
    tie: str = "",
    verdicts: bool = False,
) -> Ratings:
    """`Ratings` of raw values, items by raters. `verdicts`: the labels are PandaLM's, whatever else is there."""
    labels = [[_label(value) for value in row] for row in values]
    given = [label for row in labels for label in row if label]
    if not given:
        raise ValueError(f"{source}: no rating in {listed(raters)}")
    verdicts = verdicts or (all(PANDALM_COLUMN.fullmatch(r) for r in raters) and set(given) <= set(PANDALM_SCALE))
    if verdicts and not scale:
        labels = [[label and _verdict_code(label) for label in row] for row in labels]
    known = [_label(label) or label for label in scale] or (list(PANDALM_SCALE) if verdicts else _found_scale(given))
    if len(set(known)) < len(known):
        raise ValueError(f"{source}: the scale {listed(known)} names a label twice")
    if len(known) > MAX_LABELS:
        raise ValueError(
            f"{source}: {len(known)} different labels in {listed(raters)}, such as {known[0]!r}: are these labels?"
        )
    index = {label: q for q, label in enumerate(known)}
    codes = np.array([[index.get(label, -1) if label else -1 for label in row] for row in labels], dtype=np.int64)
    if (codes < 0).all():
        raise ValueError(f"{source}: none of the labels, such as {given[0]!r}, is on the scale {listed(known)}")
    tie = _label(tie) or ""
    if tie and tie not in index:
        raise ValueError(f"{source}: no label {tie!r} to be the tie; the scale is {listed(known)}")
    tie_label = tie or ("0" if verdicts and not scale else _found_tie(known))
    missing = sum(label is None for row in labels for label in row)
    return Ratings(
        items=items,
        raters=raters,
        scale=known,
        codes=codes,
        scores=_scores(known, ordered=bool(scale) or verdicts),
        tie=index.get(tie_label),
        missing=missing,
        invalid=int((codes < 0).sum()) - missing,
    )


def _label(value: Any) -> str | None:
    """A label as text, one text a number ("2", 2 and 2.0 are the same); None where nothing was given."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, dict | list):
        return f"<{str(value)[:40]}>"  # a mark that no scale found in the data takes up: it counts as invalid
    text = str(value).strip()
    if text.casefold() in MISSING_WORDS:
        return None
    number = _number(text)
    if number is None:
        return text.casefold() if text.casefold() in TIE_WORDS else text
    return str(int(number)) if number == int(number) else repr(number)


def plain(text: str) -> str:
    """Letters and digits only, in lower case: "Vicuna-13B" and "VICUNA13B" are one name."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _verdict_code(label: str) -> str:
    """PandaLM's code for a verdict in words, "A", "response2" or "tie"; other labels as they are."""
    word = plain(label)
    return "1" if word in FIRST_WORDS else "2" if word in SECOND_WORDS else "0" if word in TIE_WORDS else label


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _found_scale(given: list[str]) -> list[str]:
    """Labels that occur, numbers in order. Words among mostly numbers, unless they say tie, are no labels."""
    labels = sorted(set(given), key=lambda label: (_number(label) is None, _number(label) or 0.0, label))
    words = {label for label in labels if _number(label) is None and label not in TIE_WORDS}
    if words and sum(label in words for label in given) < len(given) / 2 and len(words) < len(labels):
        return [label for label in labels if label not in words]
    return [label for label in labels if not label.startswith("<")]


def _found_tie(scale: list[str]) -> str:
    """A label that says tie, or the middle of a scale such as -3 to 3; "" where there is none."""
    numbers = {n for label in scale if (n := _number(label)) is not None}
    if 0.0 in numbers and min(numbers) < 0 < max(numbers):
        return "0"
    return next((label for label in scale if label.casefold() in TIE_WORDS), "")


def _scores(scale: list[str], *, ordered: bool) -> NDArray[np.float64] | None:
    """Numbers stand where they say, if they ascend; other labels of an ordered scale at equal distances."""
    numbers = [_number(label) for label in scale]
    if ordered:
        ascending = all(n is not None for n in numbers) and numbers == sorted(numbers, key=lambda n: n or 0.0)
        return np.array(numbers, dtype=np.float64) if ascending else np.arange(len(scale), dtype=np.float64)
    return None if any(n is None for n in numbers) else np.array(numbers, dtype=np.float64)


def listed(names: Sequence[str]) -> str:
    """The first dozen of some names, for an error."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
