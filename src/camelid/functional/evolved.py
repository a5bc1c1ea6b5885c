"""Why an evolved instruction is dropped, by its own words and those of its answer (Xu et al. 2023, arXiv:2304.12244,
section 3.2, elimination rules 2 to 4; the first, whether anything was gained, is asked of a model).

Words are those of `words.words_of`.
"""

from __future__ import annotations

from collections.abc import Iterable

from .words import words_of

FEWEST_WORDS = 80
"""An answer that says "sorry" in fewer words than these is taken to be no answer."""
_SAYING_NOTHING = """
    a about above after again all also although always am an and another any are aren around as at be because been
    before being below between both but by can cannot could couldn d did didn do does doesn doing don down during each
    either else enough even every few for from further get had hadn has hasn have haven having he her here hers herself
    him himself his how however i if in into is isn it its itself just ll m many may maybe me might mine more most much
    must my myself neither never no nor not now of off on once one only onto or other others our ours ourselves out over
    own per quite rather re s same shall she should shouldn since so some such t than that the their theirs them
    themselves then there these they this those though through thus to too under until up upon us ve very was wasn we
    were weren what when where whether which while who whom whose why will with within without won would wouldn yet you
    your yours yourself yourselves
"""
STOP_WORDS = frozenset(_SAYING_NOTHING.split())
"""Words that say nothing alone, with what an apostrophe leaves of some (don, t)."""


def declines(answer: str) -> str:
    """Rule 2: says that somebody is sorry, and little else."""
    words = words_of(answer)
    return f"sorry in {len(words)} words" if "sorry" in words and len(words) < FEWEST_WORDS else ""


def says_nothing(answer: str) -> str:
    """Rule 3: nothing but punctuation and stop words."""
    return "" if set(words_of(answer)) - STOP_WORDS else "only punctuation and stop words"


def copies(evolved: str, before: str, phrases: Iterable[str]) -> str:
    """Rule 4: holds a phrase of the prompt that asked for it, which the instruction before did not hold."""
    new, old = (f" {' '.join(words_of(text))} " for text in (evolved, before))
    hits = [phrase for phrase in phrases if f" {' '.join(words_of(phrase))} " in new]
    hit = next((phrase for phrase in hits if f" {' '.join(words_of(phrase))} " not in old), None)
    return f"copies the prompt: {hit!r}" if hit else ""
