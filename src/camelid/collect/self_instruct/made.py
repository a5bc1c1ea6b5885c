"""What both variants need to make rows, and what they leave: rows, where each comes from, what was set aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from camelid.collect.self_instruct.pool import Found, Gathered, Wanted
from camelid.collect.self_instruct.prompts import Prompts
from camelid.collect.self_instruct.seeds import Instance, SeedTask
from camelid.models.teacher import Decoding, Said, Teacher
from camelid.runs import Run
from camelid.types import Conversation, Message

TAG = "self-instruct"


class Making(NamedTuple):
    """What a variant works with."""

    run: Run
    teacher: Teacher
    seeds: Sequence[SeedTask]
    prompts: Prompts
    wanted: Wanted
    seed: int


@dataclass
class Made:
    """What a variant leaves."""

    gathered: Gathered
    decoding: Decoding
    """Of most rows' answers."""
    rows: dict[str, Conversation] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: dict[str, Conversation] = field(default_factory=dict)

    def add(self, row: Conversation, found: Found, said: Said, note: Mapping[str, Any]) -> None:
        """Keep a row of a task that was found."""
        self.rows[row.id], self.said[row.id] = row, said
        self.notes[row.id] = {
            "instruction": found.task.instruction,
            "instruction_request": found.said.request,
            "request_number": found.number,
            "most_similar": found.most_similar,
            **note,
        }

    def add_seed(self, row: Conversation) -> None:
        """Keep a row that people wrote."""
        self.seeds[row.id] = row

    def set_aside(self, found: Found, why: str) -> None:
        self.gathered.aside.append({"request": found.number, "text": found.task.instruction, "reason": why})


def as_row(m: Making, instruction: str, instance: Instance, *, tags: tuple[str, ...] = ()) -> Conversation:
    """A blank line stands between instruction and input, as where Alpaca's rows are read."""
    asked = f"{instruction}\n\n{instance.input}" if instance.input else instruction
    return Conversation(
        messages=(Message(role="user", content=asked), Message(role="assistant", content=instance.output)),
        source=f"self-instruct with {m.teacher.name}",
        tags=(TAG, *tags),
    )
