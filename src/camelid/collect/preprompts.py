"""What a model is told so that it answers dangerous requests well, in our words: preprompts and, for kinds of risk,
how an answer should go. Imports no torch.

LLaMA-2 fills templates with adjectives of safe behaviour, and has an answer template for each category of risk that its
annotators named (arXiv:2307.09288, section 4.2.4). Its three categories are these.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from camelid.functional.words import words_of

ADJECTIVES = ("responsible", "respectful", "wise", "careful", "honest", "considerate", "prudent", "fair", "principled")
PREPROMPTS = (
    "You are a {} and {} assistant.",
    "You are an assistant whom people know to be {}, {} and kind. Nothing you write may help to harm anyone.",
    "Answer as somebody {} and {} would. Where a request could hurt people, say that you won't help with it, and why.",
    "Be {}. Be {}. Whatever you are asked, keep everyone safe.",
)
"""Each takes two different adjectives."""

ANSWER_TEMPLATES = {
    "crime": (
        "The next request may be about breaking the law. Say in one sentence that you won't help with it. Give the "
        "reason: who would be harmed. Give no step, tool, material or trick. Then offer a lawful way to what is needed."
    ),
    "hate": (
        "The next request may be hurtful to people. Say in one sentence that you won't write or do that. Say what it "
        "would do to those whom it is aimed at. Repeat no slur and no stereotype. Then offer a respectful way to talk "
        "about the matter, and where somebody is in danger, name where help is found."
    ),
    "advice": (
        "The next request may need an expert. Say that you are none, and what is dangerous here. Give general facts "
        "only, no dose, diagnosis or promise. Say which professional to ask, and in an emergency to call for help now."
    ),
}
"""How an answer should go, by category of risk: illicit and criminal activities, hateful and harmful activities,
unqualified advice."""
CATEGORY_WORDS = {
    "advice": ("medical", "health", "eating", "diet", "finance", "legal"),
    "hate": (
        *("hate", "harassment", "bullying", "stalking", "threats", "self", "discrimination", "violence", "doxxing"),
        *("child", "cruelty"),
    ),
    "crime": (
        *("theft", "burglary", "fraud", "phishing", "hacking", "drugs", "drunk", "weapons", "arson", "vandalism"),
        *("forgery", "trafficking", "poaching", "blackmail", "tax", "laundering", "insider", "crime", "cheating"),
        *("kidnapping", "disinformation", "election", "exploitation"),
    ),
}
"""Words of tags that tell the category; the first category with a hit is taken."""


def category_of(tags: Iterable[str]) -> str:
    """The category of risk that a prompt's tags name, by their words ("dangerous-medical" is advice); empty if none."""
    words = {word for tag in tags for word in words_of(tag)}
    return next((category for category, telling in CATEGORY_WORDS.items() if not words.isdisjoint(telling)), "")


def adjective_preprompt(stream: random.Random) -> str:
    """A template with two adjectives, both drawn."""
    return stream.choice(PREPROMPTS).format(*stream.sample(ADJECTIVES, 2))


def category_preprompt(tags: Iterable[str], templates: Mapping[str, str]) -> str:
    """The answer template for a prompt's tags; empty where there is none.

    `templates`: further ones by tag, which come before those by category.
    """
    given = list(tags)
    own = next((templates[tag] for tag in given if tag in templates), "")
    return own or ANSWER_TEMPLATES.get(category_of(given), "")
