"""How much does an answer look like another? Lists, words shared, manner of opening: form, and nothing of what is true.

These are the measures with which Gudibande et al. 2023 ('The False Promise of Imitating Proprietary LLMs',
arXiv:2305.15717, section 4) told style from knowledge: does a model list where its teacher lists, are its answers long
where the teacher's are, does it use the same words, and in which tone. Strings in, numbers out.

Words are runs of letters, digits and apostrophes in lower case, except in lengths, where they are what white space
separates. Rules are written for English and for text with Markdown's lists.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

LIST_ITEM = re.compile(r"^[ \t]*(?:[-*•–]|\d{1,3}[.)]|[a-zA-Z][.)])[ \t]+\S", re.MULTILINE)
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n|$")

FIRST_PERSON = frozenset({"i", "i'm", "i've", "i'd", "i'll", "me", "my", "mine", "myself"})
HEDGES = frozenset(
    {"may", "might", "could", "perhaps", "maybe", "possibly", "probably", "likely", "unlikely", "presumably"}
    | {"seem", "seems", "appears", "apparently", "generally", "usually", "often", "sometimes", "somewhat", "roughly"}
)
APOLOGY = re.compile(
    r"\W*(?:(?:i'?m|i am|we are|we're)\s+(?:\w+\s+)?sorry|sorry|unfortunately|i apologi[sz]e|as an ai)\b"
)
COMPLIANCE = re.compile(r"\W*(?:sure|certainly|of course|absolutely|great|yes|okay|ok|here (?:is|are)|here's)\b")

TONES = ("plain", "first_person", "hedged", "apology", "compliance", "question", "empty")
"""The ways of opening that `opening_tone` tells apart."""


class Overlap(NamedTuple):
    """How many of a reference's n-grams an answer has, and how many of its own are the reference's."""

    precision: float
    recall: float
    f1: float


def has_list(text: str) -> bool:
    """Whether a text has a list: two lines or more that begin with a bullet, a number or a letter and a space."""
    return len(LIST_ITEM.findall(text)) >= 2


def num_words(text: str) -> int:
    """Length: what white space separates."""
    return len(text.split())


def ngram_overlap(answer: str, reference: str, n: int) -> Overlap:
    """Shared word n-grams, each as often as it stands in both (ROUGE-n, Lin 2004, without stemming).

        recall = shared / n-grams of the reference,   precision = shared / n-grams of the answer,   f1 = harmonic mean

    0 where either has no n-gram: an answer that says nothing shares nothing. Raises ValueError for n below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}; an n-gram has at least 1 word")
    ours, theirs = _ngrams(answer, n), _ngrams(reference, n)
    shared = (ours & theirs).total()
    if not shared:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = shared / ours.total(), shared / theirs.total()
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall))


def opening_tone(text: str) -> str:
    """One of `TONES`, by the first sentence (or line) alone; the first rule that fits, in this order:

    `apology`: it begins with sorry, unfortunately, I apologise, as an AI. `compliance`: with sure, certainly, of
    course, here is ... `question`: it ends with a question mark. `first_person`: it has I, me or my. `hedged`: it has
    may, might, perhaps, generally ... `plain`: none of these, a statement that stands by itself.

    In the study people judged whether answers sound authoritative. `plain` is our stand-in: it tells the manner of
    the first sentence and neither its truth nor how sure the rest sounds. A text without a word is `empty`.
    """
    text = text.strip()
    if not text:
        return "empty"
    end = SENTENCE_END.search(text)
    sentence = text[: end.start() + 1 if end else len(text)].lower()
    words = {word.replace("’", "'") for word in WORD.findall(sentence)}
    if APOLOGY.match(sentence):
        return "apology"
    if COMPLIANCE.match(sentence):
        return "compliance"
    if sentence.rstrip().endswith("?"):
        return "question"
    if words & FIRST_PERSON:
        return "first_person"
    return "hedged" if words & HEDGES else "plain"


def _ngrams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
