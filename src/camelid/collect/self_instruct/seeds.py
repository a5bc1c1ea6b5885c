"""Seed tasks, as self-instruct's file has them: what was written by people and shown to the teacher."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from camelid.rows import read_rows
from camelid.types import reasons


class Instance(BaseModel):
    """One input with its output; the input is empty where the task needs none."""

    model_config = ConfigDict(frozen=True)

    input: str = ""
    output: str


class SeedTask(BaseModel):
    """A row; fields of other names are not read."""

    model_config = ConfigDict(frozen=True)

    instruction: str
    instances: tuple[Instance, ...] = Field(min_length=1)
    is_classification: bool
    source: str = "seed task"
    licence: str = ""

    @field_validator("instruction")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty")
        return text


def read_seeds(path: Path) -> list[SeedTask]:
    """All tasks of a file. Raises ValueError, with the place, for a row that is none."""
    tasks = []
    for row in read_rows(path, "instruction, instances and is_classification"):
        try:
            tasks.append(SeedTask.model_validate(row.values))
        except ValidationError as error:
            raise ValueError(
                f"{row.place}: no seed task: {reasons(error)}; wanted are instruction, is_classification and "
                f'instances, a list of {{"input": TEXT, "output": TEXT}}'
            ) from None
    return tasks


def drawn(tasks: Sequence[SeedTask], number: int, seed: int, what: str = "seed tasks") -> list[SeedTask]:
    """So many of the tasks, in an order of their own. Raises ValueError where there are fewer."""
    if len(tasks) < number:
        raise ValueError(f"{number} {what} are shown to the teacher at a time; there are {len(tasks)}: add some")
    return random.Random(seed).sample(tasks, number)
