"""Which items of a benchmark stand in the training data: a score on those measures memory.

    report = contaminated(items, training_texts)    # texts; or tokens=tokenizer.encode, for a model's tokens
    print(report.dirty, report.found[0].item, report.found[0].rows)

Measures and their sources: `functional/contamination.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from camelid.functional.contamination import SEED_TOKENS, Overlap, overlaps
from camelid.functional.statistics import Estimate, proportion
from camelid.functional.words import words_of


class Found(NamedTuple):
    """An item that is not clean, or that shares a run of 13."""

    item: int
    overlap: Overlap


@dataclass(frozen=True)
class Contamination:
    """What a benchmark shares with training data. Shares are of the items long enough to be measured."""

    num_items: int
    too_short: int
    """Items of up to ten tokens: neither clean nor dirty, and in no share."""
    dirty: Estimate
    """At least 80% of the tokens contaminated, by LLaMA-2's measure."""
    not_clean: Estimate
    """At least 20% of them, the dirty included."""
    exact_13: Estimate
    """A run of 13 equal tokens, GPT-3's measure."""
    found: list[Found]
    """Every item that one of the measures objects to, most contaminated first; `rows` names the training texts."""


def contaminated(
    items: Sequence[str],
    training_texts: Sequence[str],
    *,
    tokens: Callable[[str], Sequence[Hashable]] = words_of,
) -> Contamination:
    """Compare every item with all training texts, on words or on what `tokens` makes of a text.

    Raises ValueError where either is empty, or where no item is long enough to be measured.
    """
    if not items or not training_texts:
        raise ValueError(f"{len(items)} items against {len(training_texts)} training texts: need some of both")
    measured = overlaps([tokens(item) for item in items], [tokens(text) for text in training_texts])
    long_enough = [overlap for overlap in measured if overlap.num_tokens > SEED_TOKENS]
    if not long_enough:
        raise ValueError(f"none of the {len(items)} items has more than {SEED_TOKENS} tokens: this method cannot tell")
    n = len(long_enough)
    found = [
        Found(i, o) for i, o in enumerate(measured) if o.num_tokens > SEED_TOKENS and (not o.clean or o.has_exact_run)
    ]
    return Contamination(
        num_items=len(items),
        too_short=len(items) - n,
        dirty=proportion(sum(o.dirty for o in long_enough), n),
        not_clean=proportion(sum(not o.clean for o in long_enough), n),
        exact_13=proportion(sum(o.has_exact_run for o in long_enough), n),
        found=sorted(found, key=lambda f: (-f.overlap.share, f.item)),
    )
