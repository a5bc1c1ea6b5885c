"""Whether a short answer is one of the right ones, whatever its case, articles and punctuation."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces, in this order (Rajpurkar et al. 2016, SQuAD,
    arXiv:1606.05250, section 6.1, and their evaluation script).

    Punctuation goes without leaving a space: "co-operate" is "cooperate".
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def matches_any(answer: str, right: Iterable[str]) -> bool:
    """Exact match after `normalise` with one of the right answers.

    One that normalises to nothing ("The", "+") matches as it stands: an empty answer is never right.
    """
    said = normalise(answer)
    return any(said == normalise(r) if normalise(r) else answer.strip() == r.strip() for r in right if r.strip())
