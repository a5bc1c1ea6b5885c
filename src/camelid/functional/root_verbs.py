"""What instructions ask to be done, and to what: their first verb and the noun that it takes, by rule.

Self-instruct's figure (Wang et al. 2022, arXiv:2212.10560, figure 3) takes both from a parser. Here an instruction that
begins with a word of the imperative gives that word, and the last word of the phrase after it, up to a preposition, a
conjunction or a mark. It is right where instructions are plain and says nothing of questions.
"""

from __future__ import annotations

import re

POLITE = frozenset({"please", "kindly", "now", "then", "first", "also", "just"})
_NO_VERBS = """
what who whom whose which when where why how is are am was were do does did can could will would shall should
may might must have has had if given in on at for from with the a an this that these those there it i you he she
we they my your his her our their as of to and or but not no yes all some any each suppose assume imagine let
hello hi hey dear
"""
NO_VERBS = frozenset(_NO_VERBS.split())
"""Words that begin questions, statements and greetings."""
_ENDS = """
of about for to from in on at with by into that which who whose where when while as and or but so than using
based between among without within including such if because how why what whether over under after before
"""
ENDS = frozenset(_ENDS.split())
"""Words before which a noun phrase ends."""
PARTICLES = frozenset({"up", "out", "down", "off", "me", "us", "you", "him", "them"})
DETERMINERS = frozenset({"a", "an", "the", "this", "these", "my", "your", "any", "some", "each", "all"})
MARKS = re.compile(r"[.,:;!?()\[\]{}\"“”'`\n]")
WORD = re.compile(r"[a-z][a-z-]*")
MOST_WORDS = 6


def verb_and_noun(instruction: str) -> tuple[str, str] | None:
    """("write", "poem") of "Write a short poem about the sea." None for what does not begin with an order; an empty
    noun where none follows."""
    head = MARKS.split(instruction.strip().lower().lstrip("*#->•0123456789.) "))[0]
    words = head.split()
    while words and words[0] in POLITE:
        words.pop(0)
    if not words or words[0] in NO_VERBS or not WORD.fullmatch(words[0]):
        return None
    phrase: list[str] = []
    for word in words[1 : 2 + MOST_WORDS]:
        if word in PARTICLES and not phrase:
            continue
        if word in ENDS or not WORD.fullmatch(word):
            break
        phrase.append(word)
    while phrase and phrase[-1] in DETERMINERS:
        phrase.pop()
    return words[0], phrase[-1] if phrase else ""
