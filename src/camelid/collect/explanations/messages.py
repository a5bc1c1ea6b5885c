"""System messages that ask for explanations, of sixteen kinds, and which of them each collection of questions gets.

After Orca (Mukherjee et al. 2023, arXiv:2306.02707, table 2 and section 3.1): messages by number, drawn evenly among
those of the question's sub-collection; those on choices only where there are choices. The kinds and the table are the
paper's, the words in system_messages.json are ours; a file of the same form with other words can take its place.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from camelid.runs import derived_seed
from camelid.types import Prompt, reasons

Collection = Literal["cot", "niv2", "t0", "flan2021"]
COLLECTIONS: tuple[Collection, ...] = ("cot", "niv2", "t0", "flan2021")
"""Chain-of-thought tasks, Natural Instructions 2, T0, Flan 2021: the sub-collections of FLAN that Orca draws from."""
MULTIPLE_CHOICE = "multiple-choice"
"""Tag of a prompt that says what there is to choose from."""
OURS = Path(__file__).parent / "system_messages.json"

_OPTIONS = re.compile(r"^\s*(?:options|choices|answer choices)\s*:\s*$", re.IGNORECASE | re.MULTILINE)
_OPTION = re.compile(r"\s*(?:-|\*|\(?[A-Za-z0-9]{1,2}[).:])\s*\S")
FEWEST_OPTIONS = 2


class SystemMessage(NamedTuple):
    number: int
    text: str
    """Empty for the message that is none."""


class SystemMessages(BaseModel):
    """A file of system messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = ""
    kinds: dict[int, str] = {}
    """What each message is for, in words; for people."""
    messages: dict[int, str]
    sampled_by_collection: dict[str, tuple[int, ...]]
    """Numbers of the messages that a sub-collection's questions get; Flan 2021's apart by whether there are choices."""

    @model_validator(mode="after")
    def _whole(self) -> SystemMessages:
        due = {_row(collection, choices) for collection in COLLECTIONS for choices in (False, True)}
        if set(self.sampled_by_collection) != due:
            raise ValueError(
                f"sampled_by_collection has {', '.join(sorted(self.sampled_by_collection)) or 'no rows'}; it must have "
                f"{', '.join(sorted(due))}"
            )
        for name, numbers in self.sampled_by_collection.items():
            unknown = sorted(set(numbers) - set(self.messages))
            if unknown or not numbers:
                raise ValueError(f"{name}: no message {unknown[0]}" if unknown else f"{name}: no messages are named")
        return self

    def of(self, collection: Collection, *, choices: bool) -> tuple[SystemMessage, ...]:
        """The messages for a question of a sub-collection."""
        return tuple(SystemMessage(n, self.messages[n]) for n in self.sampled_by_collection[_row(collection, choices)])

    def draw(self, prompt: Prompt, collection: Collection, seed: int) -> SystemMessage:
        """A question's message, by a stream of its own: the same whatever other questions there are."""
        allowed = self.of(collection, choices=is_multiple_choice(prompt))
        return random.Random(derived_seed(seed, "system message", prompt.id)).choice(allowed)


def load_system_messages(path: Path = OURS) -> SystemMessages:
    """Ours, or those of a file of the same form. Raises ValueError with what is wrong with it."""
    try:
        return SystemMessages.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is no file of system messages: {reasons(error)}") from None


def collection_of(prompt: Prompt, otherwise: str) -> Collection:
    """The sub-collection that a prompt's tags name, or else `otherwise`. Raises ValueError where there is not one."""
    named = [name for name in COLLECTIONS if name in prompt.tags]
    if len(named) > 1:
        raise ValueError(f"prompt {prompt.id} is tagged {' and '.join(named)}; a question is of one collection")
    found = named[0] if named else next((name for name in COLLECTIONS if name == otherwise), None)
    if found is None:
        raise ValueError(
            f"prompt {prompt.id} ({prompt.source}) has no tag that names its collection ({', '.join(COLLECTIONS)}): "
            f"tag it, or set collection for all that have none"
        )
    return found


def is_multiple_choice(prompt: Prompt) -> bool:
    """Whether a prompt is tagged so, or its last turn lists what there is to choose from."""
    return MULTIPLE_CHOICE in prompt.tags or len(options_in(prompt.prompt[-1].content)) >= FEWEST_OPTIONS


def options_in(text: str) -> Sequence[str]:
    """The lines under "Options:", FLAN's way of listing choices, as they stand: those that begin with a mark."""
    head = _OPTIONS.search(text)
    if head is None:
        return []
    options = []
    for line in text[head.end() :].strip("\n").split("\n"):
        if not _OPTION.match(line):
            break
        options.append(line.strip())
    return options


def _row(collection: str, choices: bool) -> str:
    """The table's row."""
    if collection != "flan2021":
        return collection
    return "flan2021_multiple_choice" if choices else "flan2021_other"
