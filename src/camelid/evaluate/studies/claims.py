"""What a study expects before it is run, and what the numbers say to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from camelid.evaluate.studies.readings import difference, joined
from camelid.functional.statistics import Estimate, normal

Verdict = Literal["shown", "contradicted", "undecided"]


class Claim(BaseModel):
    """`measure` of arm `cell`, less that of `against`, lies above (or below) `than`, or within `than` of 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    """The expectation in words."""
    measure: str
    cell: str
    against: str | float = 0.0
    """Another arm, or a number."""
    against_measure: str = ""
    """Where the other arm's number is another measure, such as a floor of the same arm."""
    direction: Literal["above", "below", "within"] = "above"
    than: float = 0.0
    """By how much; -0.01 with `above` asks for no loss of more than a point, 0.01 with `within` for no larger one."""

    @model_validator(mode="after")
    def _room_within(self) -> Claim:
        if self.direction == "within" and self.than <= 0:
            raise ValueError(
                f"claim {self.text!r}: within {self.than:g} of no change there is nothing; set than above 0"
            )
        return self


def judge(
    claim: Claim, read: Callable[[str, str], Sequence[Estimate]], *, folds: bool = False
) -> tuple[Estimate, Verdict]:
    """The difference that the claim is about, and whether its 95% interval lies wholly on one side.

    `read(cell, measure)` gives an arm's estimates, a run each; `folds`: runs are folds.
    """
    mine = read(claim.cell, claim.measure)
    if isinstance(claim.against, str):
        found = difference(mine, read(claim.against, claim.against_measure or claim.measure), folds=folds)
    else:
        whole = joined(mine, folds=folds)
        found = normal(whole.value - claim.against, whole.standard_error, whole.n)
    if claim.direction == "within":
        inside = -claim.than < found.low and found.high < claim.than
        outside = found.low > claim.than or found.high < -claim.than
        return found, "shown" if inside else "contradicted" if outside else "undecided"
    above, below = found.low > claim.than, found.high < claim.than
    if claim.direction == "below":
        above, below = below, above
    return found, "shown" if above else "contradicted" if below else "undecided"
