"""Demonstrations of keeping to a demand that is said in every turn, made of answers that there are already.

A small model does not end an answer with a given word, or use it, even when told each time (docs/safety-training.md),
and what it does not do when told, Ghost Attention cannot spread over a dialogue. Here whole rows teach it: the demand
stands before every user turn, and the word is put into the answers by hand: behind the answer to end with it, before
it to use it. A part of the dialogues has no demand, or every answer would end with a word. The words are those of
training; recall is measured with others (`models/constraints.py`).

    camelid demands --conversations rows.jsonl --set num_dialogues=300
"""

from __future__ import annotations

import random
from typing import Any, Literal

from pydantic import Field

from camelid.models.constraints import LISTS, Constraint, keeps, with_text
from camelid.models.dialogues import joined_licences
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Message, Messages, read_records, write_records


class DemandSettings(Settings):
    """Demonstrations of keeping to a demand."""

    num_dialogues: int = Field(default=300, ge=1)
    """Dialogues to make; a larger number contains the smaller ones' dialogues."""
    max_turns: int = Field(default=3, ge=1)
    """Most user turns of a dialogue; each has a random number up to this."""
    kinds: tuple[Literal["ending", "mention"], ...] = Field(default=("ending", "mention"), min_length=1)
    """Demands: to end every answer with a word, to use a word in every answer."""
    plain_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of the dialogues that have no demand."""


def demand_rows(run: Run) -> dict[str, Any]:
    """Stage: `conversations` (files) -> rows.jsonl. Of each conversation its first turn and answer are taken."""
    s: DemandSettings = run.settings
    given = run.inputs["conversations"]
    rows = [row for file in (given if isinstance(given, list) else [given]) for row in read_records(file, Conversation)]
    if len(rows) < s.max_turns:
        raise ValueError(f"dialogues of {s.max_turns} turns cannot be made of {len(rows)} conversations")
    dialogues = [dialogue(rows, random.Random(derived_seed(s.seed, "dialogue", n)), s) for n in range(s.num_dialogues)]
    write_records(run.path / "rows.jsonl", dialogues)
    told = sum("plain" not in row.tags for row in dialogues)
    return {"num_dialogues": len(dialogues), "num_told": told, "num_plain": len(dialogues) - told}


def dialogue(rows: list[Conversation], stream: random.Random, s: DemandSettings) -> Conversation:
    """Turns of different rows, told a demand or not."""
    parts = stream.sample(rows, stream.randint(1, s.max_turns))
    kind = stream.choice(s.kinds)
    constraint = Constraint(kind, stream.choice(LISTS[kind]))
    plain = stream.random() < s.plain_share
    turns: list[Message] = []
    for row in parts:
        asked, answered = (next(m for m in row.messages if m.role == role) for role in ("user", "assistant"))
        text = answered.content if plain else kept(answered.content, constraint)
        turns += [Message(role="user", content=asked.content), Message(role="assistant", content=text)]
    messages: Messages = tuple(turns) if plain else with_text(tuple(turns), constraint.text, "every_turn")
    licence = joined_licences([row.licence for row in parts])
    tags = ("demand", "plain" if plain else kind)
    return Conversation(messages=messages, source="demands", licence=licence, tags=tags)


def kept(answer: str, constraint: Constraint) -> str:
    """An answer that keeps the constraint; as it is where it does so already."""
    if keeps(answer, constraint):
        return answer
    word = constraint.value.capitalize()
    return f"{answer.rstrip()} {word}." if constraint.kind == "ending" else f"{word}: {answer.lstrip()}"
