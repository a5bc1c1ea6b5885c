"""MT-bench's ways of asking (Zheng et al. 2023, arXiv:2306.05685): [[A]], [[B]] or [[C]], and [[rating]] from 1 to 10.

Conversations of two turns, each judged; the second with the first in view. In math, reasoning and coding the judge is
shown a correct answer, without which it is misled by wrong ones (section 3.4 there). The words here are ours;
FastChat's own stand in its `judge_prompts.jsonl`, which `--prompt` reads. Left out: the paper's chain of thought
without a reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from camelid.judges.case import Case, Order, Said
from camelid.judges.mt_bench_words import PAIR_TEMPLATES, SINGLE_TEMPLATES
from camelid.judges.replies import spoken, the_only
from camelid.judges.templates import Template
from camelid.judges.way import Tokens, Way

LETTER = re.compile(r"\[\[([ABC])\]\]")
RATING = re.compile(r"\[\[\s*(-?\d+(?:\.\d+)?)\s*\]\]")
PREFERENCES = {"A": 1.0, "B": 0.0, "C": 0.5}
WANTS_REFERENCE = frozenset({"math", "reasoning", "coding"})


def read_letter(reply: str, tokens: Tokens | None = None) -> Said | None:
    """The letter in double brackets; None for none, or for several that differ (FastChat takes A before B there)."""
    letter = the_only(LETTER.findall(spoken(reply)))
    return Said(PREFERENCES[letter]) if letter else None


def read_rating(reply: str, tokens: Tokens | None = None) -> Said | None:
    """The rating in double brackets; None for none, for several that differ, and outside 1 to 10."""
    rating = the_only(float(number) for number in RATING.findall(spoken(reply)))
    return Said(scores=(rating,)) if rating is not None and 1 <= rating <= 10 else None


def _kinds(case: Case) -> Sequence[str]:
    turns = " two turns" if len(case.questions) == 2 else ""
    return ("reference" if case.reference else "general") + turns, f"general{turns}"


def _values(case: Case, order: Order) -> dict[str, str]:
    """All that any of the questions names; each takes what it needs."""
    shown = case.shown(order)
    values = {"question": case.questions[0]}
    letters = ("answer",) if len(shown) == 1 else ("answer_a", "answer_b")
    for letter, texts in zip(letters, shown, strict=True):
        values[letter] = texts[0]
        values |= {f"{letter}_{turn}": text for turn, text in enumerate(texts, 1)}
    values |= {f"question_{turn}": text for turn, text in enumerate(case.questions, 1)}
    return values | {f"ref_answer_{turn}": text for turn, text in enumerate(case.reference, 1)}


def _way(name: str, num_answers: int, templates: dict[str, Template]) -> Way:
    return Way(
        name=name,
        num_answers=num_answers,
        kinds={kind: template.fields for kind, template in templates.items()},
        templates=templates,
        values=_values,
        read=read_letter if num_answers == 2 else read_rating,
        kinds_for=_kinds,
        by_turn=True,
        wants_reference=WANTS_REFERENCE,
    )


MT_BENCH = _way("mt-bench", 2, PAIR_TEMPLATES)
MT_BENCH_SINGLE = _way("mt-bench-single", 1, SINGLE_TEMPLATES)
