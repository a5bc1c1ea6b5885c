"""Recorded judgements: which of two answers somebody preferred. One reader for every command that counts them.

It reads AlpacaEval's annotations (an array of objects with instruction, output_1, output_2, generator_1, generator_2,
preference; one object a line will do) and our own JSON Lines of `Judgement`. Left out: preference files (chosen and
rejected): they do not say which model wrote what, so no win rate follows from them.

    judgements = read_judgements("results/alpaca-7b/annotations.json")
    write_records("judgements.jsonl", judgements)
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from camelid.rows import Row, read_rows
from camelid.types import reasons

ALPACA_EVAL_COLUMNS = ("instruction", "generator_1", "generator_2", "preference")
"""What a row must have; the two outputs are wanted for lengths only."""


class Judgement(BaseModel):
    """One verdict on two answers to one prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    """The instruction, or whatever names it: judgements with the same prompt are not independent."""
    first_model: str
    second_model: str
    first_text: str | None = None
    """The answer; None where the file does not hold it."""
    second_text: str | None = None
    preference: float | None = Field(default=None, ge=0, le=1)
    """0: the first is better, 1: the second, 0.5: a tie, or anything between; None: the judgement failed."""
    annotator: str = ""
    shown_first: Literal["first", "second"] | None = None
    """Which of the two the annotator saw first; None where that is not known."""

    @property
    def length_difference(self) -> int | None:
        """Characters of the second less those of the first; None where an answer is not there."""
        if self.first_text is None or self.second_text is None:
            return None
        return len(self.second_text) - len(self.first_text)


def read_judgements(path: str | os.PathLike[str]) -> list[Judgement]:
    """All rows of a file, failed judgements too. Raises ValueError with file and row for anything else."""
    return [_judgement(row) for row in read_rows(path, "two answers, their models and a preference")]


def from_alpaca_eval(row: dict[str, Any]) -> Judgement:
    """A row of AlpacaEval's annotations. Raises ValueError for missing columns and for a preference of another kind.

    Its codes: 1 the first is better, 2 the second, 0 or 1.5 a tie, anything between graded. As in its own code, null
    and numbers elsewhere are judgements that failed.
    """
    missing = [column for column in ALPACA_EVAL_COLUMNS if column not in row]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}; it has {', '.join(map(str, row)) or 'none'}")
    switched = row.get("is_switched_outputs")
    return Judgement(
        prompt=row["instruction"],
        first_model=row["generator_1"],
        second_model=row["generator_2"],
        first_text=row.get("output_1"),
        second_text=row.get("output_2"),
        preference=_from_code(row["preference"]),
        annotator=row.get("annotator") or "",
        shown_first=None if switched is None else "second" if switched else "first",
    )


def two_models(path: str | os.PathLike[str], judgements: Sequence[Judgement]) -> tuple[str, str]:
    """The names of the one first and the one second model. Raises ValueError where there are more, or no names."""
    for which, names in (
        ("first", {j.first_model for j in judgements}),
        ("second", {j.second_model for j in judgements}),
    ):
        if len(names) > 1:
            some = ", ".join(sorted(names)[:4])
            raise ValueError(
                f"{path} has {len(names)} {which} models ({some}); a win rate is of one model against one other: "
                "give a file a pair, or rank them all with `camelid eval rank`"
            )
    first, second = judgements[0].first_model, judgements[0].second_model
    if not first.strip() or not second.strip():
        raise ValueError(f"{path}: the models are {first!r} and {second!r}; a win rate is of a model with a name")
    return first, second


def _from_code(code: object) -> float | None:
    if code is None:
        return None
    if isinstance(code, bool) or not isinstance(code, int | float):
        raise ValueError(f"preference {code!r} is no number; the codes are 1, 2, 0 or 1.5 for a tie, null for failed")
    if code == 0:
        return 0.5
    return float(code) - 1 if 1 <= code <= 2 else None  # NaN is in no interval


def _judgement(row: Row) -> Judgement:
    values = row.values
    try:
        if "chosen" in values and "rejected" in values:
            raise ValueError("chosen and rejected do not say which model wrote them; judgements name both models")
        return Judgement.model_validate(_nan_to_none(values)) if "first_model" in values else from_alpaca_eval(values)
    except ValidationError as error:
        reason = reasons(error)
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{row.place}: not a judgement: {reason}")


def _nan_to_none(row: dict[str, Any]) -> dict[str, Any]:
    preference = row.get("preference")
    return row | {"preference": None} if isinstance(preference, float) and math.isnan(preference) else row
