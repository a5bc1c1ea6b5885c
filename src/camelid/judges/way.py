"""A way of asking: what the judge reads, and what its reply means. Each way is a `Way` in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from camelid.judges.case import Case, Order, Said
from camelid.judges.templates import Kinds, Template, read_templates
from camelid.types import Messages

Tokens = Mapping[str, float]
"""Log-probabilities of the likeliest first tokens of a reply, where the server sent them."""


def general(case: Case) -> Sequence[str]:
    """One kind of question for every case."""
    return ("general",)


@dataclass(frozen=True)
class Way:
    """A way of asking a judge."""

    name: str
    num_answers: int
    """2: which is better; 1: how good is it."""
    kinds: Kinds
    templates: Mapping[str, Template]
    """The questions by kind, in our own words unless the user brings others."""
    values: Callable[[Case, Order], dict[str, str]]
    """What stands in the placeholders."""
    read: Callable[[str, Tokens | None], Said | None]
    """What a reply says, with the first as it was shown; None where it cannot be read."""
    kinds_for: Callable[[Case], Sequence[str]] = general
    """Kinds of question that suit a case, the best first."""
    by_turn: bool = False
    """Whether the answers to a second question are judged, too."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the request."""
    wants_reference: frozenset[str] = frozenset()
    """Categories in which a judge should be shown a correct answer."""

    @property
    def form(self) -> str:
        """As FastChat's files call it."""
        return "pairwise" if self.num_answers == 2 else "single"

    def with_prompt(self, path: Path | None) -> Way:
        """The same way with the questions of a file. Raises ValueError where they do not fit."""
        return replace(self, templates=read_templates(path, self.kinds, self.form)) if path else self

    def messages(self, case: Case, order: Order) -> Messages:
        """What the judge reads. Raises ValueError where there is no question for this kind of case."""
        kinds = self.kinds_for(case)
        template = next((self.templates[kind] for kind in kinds if kind in self.templates), None)
        if template is None:
            has = ", ".join(self.templates)
            raise ValueError(f"way {self.name!r}: no question of kind {kinds[0]!r} for {case.id}; the prompt has {has}")
        return template.messages(self.values(case, order))

    def said(self, text: str, tokens: Tokens | None, order: Order) -> Said | None:
        """What a reply says of the case's first answer, whatever was shown first."""
        said = self.read(text, tokens)
        return said.reversed() if said is not None and order == "swapped" else said
