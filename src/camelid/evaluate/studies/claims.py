"""What a study expects before it is run, and what the numbers say to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from camelid.evaluate.studies.readings import difference, joined
from camelid.functional.statistics import Estimate, normal

Verdict = Literal["shown", "contradicted", "undecided"]


class Claim(BaseModel):
    """`measure` of arm `cell`, less that of `against`, lies above (or below) `than`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    """The expectation in words."""
    measure: str
    cell: str
    against: str | float = 0.0
    """Another arm, or a number."""
    against_measure: str = ""
    """Where the other arm's number is another measure, such as a floor of the same arm."""
    direction: Literal["above", "below"] = "above"
    than: float = 0.0
    """By how much; -0.01 with `above` asks for no loss of more than a point."""


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
    above, below = found.low > claim.than, found.high < claim.than
    if claim.direction == "below":
        above, below = below, above
    return found, "shown" if above else "contradicted" if below else "undecided"
