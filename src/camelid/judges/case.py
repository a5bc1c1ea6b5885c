"""What a judge is shown, and what it said of it. Nothing here knows how it is asked.

Judges favour places (Wang et al. 2023, arXiv:2305.17926). So two answers are shown in both orders, and a verdict that
does not survive the swap is a tie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from camelid.functional.judging import both_orders

Order = Literal["given", "swapped"]
ORDERS: tuple[Order, ...] = ("given", "swapped")
"""The first of two answers is shown first, or last."""


@dataclass(frozen=True)
class Case:
    """One judgement: a question (or two, the second following the first) and the answers of one or two systems."""

    id: str
    question_id: Any
    """As the file of questions has it; the turns of one conversation share it."""
    category: str
    questions: tuple[str, ...]
    """What the user asked, a text a turn. The last is the one that is judged."""
    answers: tuple[tuple[str, ...], ...]
    """A tuple a system, with a text a turn."""
    reference: tuple[str, ...] = ()
    """Correct answers, a text a turn; empty where there are none."""

    @property
    def orders(self) -> tuple[Order, ...]:
        """Both, or for a single answer the only one."""
        return ORDERS[: len(self.answers)]

    def shown(self, order: Order) -> tuple[tuple[str, ...], ...]:
        """The answers as they are shown."""
        return self.answers if order == "given" else self.answers[::-1]


class Said(NamedTuple):
    """What one reply says."""

    preference: float | None = None
    """For the first of two: 1 it is better, 0 the other is, 0.5 neither; or graded. None from ways that only score."""
    scores: tuple[float, ...] = ()
    """A number an answer, from ways that give some."""

    def reversed(self) -> Said:
        """The same with first and second exchanged."""
        return Said(None if self.preference is None else 1 - self.preference, self.scores[::-1])


@dataclass(frozen=True)
class Judged:
    """A case and what the replies said, always with the case's first answer as the first; None where unreadable."""

    case: Case
    said: tuple[Said | None, ...]
    """In the case's orders."""

    @property
    def valid(self) -> bool:
        """Whether every order's reply could be read."""
        return all(said is not None for said in self.said)

    @property
    def preferences(self) -> tuple[float, float] | None:
        """For the first answer, where it was shown first and where it was shown last; None unless both were read."""
        found = [said.preference for said in self.said if said is not None and said.preference is not None]
        return (found[0], found[1]) if len(found) == 2 else None

    @property
    def preference(self) -> float | None:
        """What both orders together say of the first answer; a tie where they disagree."""
        return None if self.preferences is None else both_orders(*self.preferences)

    @property
    def scores(self) -> tuple[float, ...] | None:
        """Each answer's score, the mean over the orders; None unless all were read and gave scores."""
        given = [said.scores for said in self.said if said is not None and said.scores]
        if len(given) < len(self.said):
            return None
        return tuple(sum(scores) / len(given) for scores in zip(*given, strict=True))
