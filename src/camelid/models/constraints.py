"""Constraints on an assistant's answers, said once and meant for a whole dialogue, and where in it they are said.

LLaMA-2's three kinds (arXiv:2307.09288, section 3.3): a hobby, a language, a public figure to act as. Two kinds besides
whose keeping the words of an answer tell: a word to end with, a word to mention. Lists and wordings are ours.
Imports no torch.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from camelid.functional.attributes import ends_with_word, mentions_word
from camelid.types import Message, Messages

Kind = Literal["hobby", "language", "figure", "ending", "mention"]
Place = Literal["first_turn", "system", "every_turn"]
"""Where a text is said: before the first user turn, as the system message, or before every user turn."""

WORDINGS: dict[Kind, tuple[str, str]] = {
    "hobby": ("You love {}, and it shows in how you talk.", "Hobby: {}."),
    "language": ("Answer in {} only, whatever language you are spoken to in.", "Language: {}."),
    "figure": ("From now on, always act as {}.", "Figure: {}."),
    "ending": ("End every answer with the word {}.", "Last word: {}."),
    "mention": ("Use the word {} in every answer.", "Word: {}."),
}
"""A constraint in full and, as LLaMA-2 has it half of the time, less verbose."""

TRAINING_WORDS = (
    *("amber", "anchor", "banjo", "basil", "cactus", "candle", "cobalt", "cricket", "dolphin", "ember", "falcon"),
    *("ginger", "harbor", "indigo", "jasmine", "kettle", "lantern", "magnet", "maple", "nectar", "olive", "parsley"),
)
MEASURED_WORDS = (
    *("badger", "cinnamon", "comet", "crimson", "feather", "granite", "lemon", "marble", "otter", "pepper", "quartz"),
    *("saffron", "thunder", "tulip", "velvet", "walnut"),
)
"""Words that recall is measured with; no training word is among them, or a word learnt by heart would pass for it."""
LISTS: dict[Kind, tuple[str, ...]] = {
    "hobby": (
        *("astronomy", "baking", "beekeeping", "birdwatching", "calligraphy", "chess", "cycling", "fishing"),
        *("gardening", "hiking", "juggling", "knitting", "origami", "photography", "pottery", "rowing", "sailing"),
        *("stamp collecting", "swimming", "tennis", "woodworking", "yoga"),
    ),
    "language": (
        *("French", "German", "Spanish", "Italian", "Portuguese", "Dutch", "Swedish", "Polish", "Latin", "Turkish"),
        *("Japanese", "Hindi"),
    ),
    "figure": (
        *("Napoleon", "Cleopatra", "Shakespeare", "Mozart", "Albert Einstein", "Marie Curie", "Leonardo da Vinci"),
        *("Julius Caesar", "Isaac Newton", "Charles Darwin", "Jane Austen", "Mark Twain", "Joan of Arc", "Galileo"),
        *("Florence Nightingale", "Charlie Chaplin", "Beethoven", "Confucius", "Aristotle", "Marco Polo"),
    ),
    "ending": TRAINING_WORDS,
    "mention": TRAINING_WORDS,
}


class Constraint(NamedTuple):
    """One demand."""

    kind: Kind
    value: str

    @property
    def text(self) -> str:
        """In full."""
        return WORDINGS[self.kind][0].format(self.value)

    @property
    def short(self) -> str:
        """Less verbose: "Figure: Napoleon."."""
        return WORDINGS[self.kind][1].format(self.value)


def draw_constraints(
    lists: Mapping[Kind, Sequence[str]], kinds: Sequence[Kind], most: int, stream: random.Random
) -> list[Constraint]:
    """One to `most` constraints of different kinds, all numbers and combinations alike often, in random order."""
    number = stream.randint(1, min(most, len(kinds)))
    return [Constraint(kind, stream.choice(lists[kind])) for kind in stream.sample(list(kinds), number)]


def keeps(answer: str, constraint: Constraint) -> bool | None:
    """Whether an answer keeps a constraint; None where its words do not tell.

    What only repeats the demand does not count: small models answer "End every answer with the word amber."
    """
    for demand in (constraint.text, constraint.short):
        answer = re.sub(re.escape(demand.rstrip(".")), " ", answer, flags=re.IGNORECASE)
    if constraint.kind == "ending":
        return ends_with_word(answer, constraint.value)
    return mentions_word(answer, constraint.value) if constraint.kind == "mention" else None


def keeps_all(answer: str, constraints: Collection[Constraint]) -> bool:
    """Whether no constraint is seen to be broken."""
    return all(keeps(answer, constraint) is not False for constraint in constraints)


def with_text(messages: Messages, text: str, place: Place) -> Messages:
    """A conversation with `text` put into it, a blank line before what stood there. No text changes nothing.

    `system` puts it before a system message that is there already.
    """
    if not text:
        return messages
    if place == "system":
        if messages[0].role == "system":
            return (_before(text, messages[0]), *messages[1:])
        return (Message(role="system", content=text), *messages)
    users = [i for i, message in enumerate(messages) if message.role == "user"]
    chosen = users if place == "every_turn" else users[:1]
    return tuple(_before(text, message) if i in chosen else message for i, message in enumerate(messages))


def _before(text: str, message: Message) -> Message:
    return Message(role=message.role, content=f"{text}\n\n{message.content}")
