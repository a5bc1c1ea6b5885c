"""Published comparisons, two answers and a verdict; three layouts, only read.

| layout | prompt | answers | verdict |
|---|---|---|---|
| LLMBar | input | output_1, output_2 | label |
| AlpacaEval | instruction | output_1, output_2 | preference; graded ones lie between 1 and 2 |
| PandaLM's test set | instruction, input | response1, response2 | majority of annotator1, annotator2, annotator3 |

Sources: Zeng et al. 2024 (arXiv:2310.07641), github.com/tatsu-lab/alpaca_eval, Wang et al. 2024 (arXiv:2306.05087).
A verdict is 1 or 2, the better answer, or 0 for a tie.

A tie is no preference and what is no verdict is none either: both are counted, and the row still gives its prompt.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from camelid.collect.drafts import Draft, Row, Unfit, message, text

ANSWERS = (("output_1", "output_2"), ("response1", "response2"))
ANNOTATORS = ("annotator1", "annotator2", "annotator3")


def parse(row: Row) -> Draft:
    names = _answer_names(row)
    if names is None:
        raise Unfit(f"no two answers: the row has {', '.join(row)}; a comparison has output_1 and output_2")
    first, second = (text(row.get(name), name) for name in names)
    turns = (_question(row),)
    try:
        verdict = _verdict(row)
    except Unfit as reason:
        return Draft(turns, undecided=str(reason))
    if verdict == 0:
        return Draft(turns, undecided="tie: neither answer was preferred; no pair to rank")
    return Draft(turns, *((first, second) if verdict == 1 else (second, first)))


def _question(row: Row) -> Any:
    if row.get("instruction") is None:
        return message("user", row.get("input"), 1)
    instruction, data = text(row["instruction"], "instruction"), text(row.get("input") or "", "input")
    return message("user", f"{instruction}\n\n{data}" if data.strip() else instruction, 1)


def _verdict(row: Row) -> int:
    """1 or 2, the answer preferred, or 0 for a tie."""
    votes = [row[name] for name in ANNOTATORS if row.get(name) is not None]
    value = _majority(votes) if votes else row.get("label", row.get("preference"))
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value == 0 or 1 <= value <= 2):
        raise Unfit(f"no verdict: {value!r}; it must be 1, 2, or 0 for a tie, or lie between 1 and 2")
    return 0 if value in (0, 1.5) else 1 if value < 1.5 else 2


def _majority(votes: list[Any]) -> Any:
    """The verdict of more than half of the annotators; a tie where there is none."""
    for vote in votes:
        if vote not in (0, 1, 2):
            raise Unfit(f"no verdict: an annotator says {vote!r}; it must be 1, 2, or 0 for a tie")
    vote, count = Counter(votes).most_common(1)[0]
    return vote if 2 * count > len(votes) else 0


def render(draft: Draft) -> Row:
    raise Unfit("no format to write: judged comparisons are only read; write trl, hh, alpaca, sharegpt or camelid")


def _answer_names(row: Row) -> tuple[str, str] | None:
    return next((names for names in ANSWERS if all(name in row for name in names)), None)


def is_judged(row: Row) -> bool:
    asked = isinstance(row.get("instruction"), str) or isinstance(row.get("input"), str)
    return asked and _answer_names(row) is not None and any(k in row for k in ("label", "preference", ANNOTATORS[0]))
