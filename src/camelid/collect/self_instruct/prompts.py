"""What the teacher is asked. The forms, which are read again in replies.py, are the papers'; the words are ours.

A prompt ends where the teacher goes on: "9." behind eight tasks, "4. Instruction:" behind three, or the task of which
examples are wanted. In the prompts after the first step the tasks shown are the same for all, so that a server can keep
what they begin with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from camelid.collect.self_instruct.seeds import SeedTask
from camelid.collect.wording import with_places
from camelid.types import Message, Messages

OURS = Path(__file__).parent / "prompts.json"
NO_INPUT = "<noinput>"


class Prompts(BaseModel):
    """A file of wording: what stands before the tasks that are shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: str
    """Whose words these are."""
    instructions: str
    """Before eight tasks, to be gone on with up to number 16."""
    classification: str
    """Before tasks with "Is it classification?"."""
    input_first: str
    """Before tasks with examples, each an input and behind "Output:" an output."""
    output_first: str
    """Before tasks with examples, each behind "Class label:" a label, and an input."""
    whole_tasks: str
    """Before a list of tasks with input and output, of which 20 are wanted (Alpaca's)."""

    @field_validator("instructions", "classification", "input_first", "output_first", "whole_tasks")
    @classmethod
    def _are_texts(cls, text: str) -> str:
        return with_places(text)


def ask_for_instructions(prompts: Prompts, shown: Sequence[str]) -> Messages:
    """Self-instruct's first step."""
    lines = [f"{number}. {' '.join(text.split()).rstrip(':')}" for number, text in enumerate(shown, 1)]
    return _user(prompts.instructions, "\n".join([*lines, f"{len(lines) + 1}."]))


def ask_for_kind(prompts: Prompts, shown: Iterable[SeedTask], instruction: str) -> Messages:
    """Its second: a classification task or not?"""
    asked = "Task: {}\nIs it classification?"
    known = [f"{asked.format(task.instruction)} {'Yes' if task.is_classification else 'No'}" for task in shown]
    return _user(prompts.classification, "\n\n".join([*known, asked.format(instruction)]))


def ask_for_examples(prompts: Prompts, shown: Iterable[SeedTask], instruction: str) -> Messages:
    """Its third, for tasks that are no classification: inputs first."""
    return _user(prompts.input_first, "\n\n".join([*map(_input_first, shown), f"Task: {instruction}"]))


def ask_for_labelled_examples(prompts: Prompts, shown: Iterable[SeedTask], instruction: str) -> Messages:
    """And for those that are: labels first, since of inputs that come first most would have one label."""
    return _user(prompts.output_first, "\n\n".join([*map(_output_first, shown), f"Task: {instruction}"]))


def ask_for_list(prompts: Prompts, shown: Sequence[SeedTask]) -> Messages:
    """Alpaca's one step."""
    written = [
        f"{number}. Instruction: {task.instruction}\n{number}. Input:\n{task.instances[0].input or NO_INPUT}\n"
        f"{number}. Output:\n{task.instances[0].output}"
        for number, task in enumerate(shown, 1)
    ]
    return _user(
        prompts.whole_tasks, "\n".join(["###", "\n###\n".join(written), "###", f"{len(shown) + 1}. Instruction:"])
    )


def _input_first(task: SeedTask) -> str:
    """Without an input there is one example, and no need to number it."""
    if not task.instances[0].input:
        return f"Task: {task.instruction}\nOutput: {task.instances[0].output}"
    examples = [f"Example {number}\n{one.input}\nOutput: {one.output}" for number, one in enumerate(task.instances, 1)]
    return "\n".join([f"Task: {task.instruction}", *examples])


def _output_first(task: SeedTask) -> str:
    examples = [f"Class label: {one.output}\n{one.input}".rstrip() for one in task.instances]
    return "\n".join([f"Task: {task.instruction}", *examples])


def _user(head: str, tasks: str) -> Messages:
    return (Message(role="user", content=f"{head}\n\n{tasks}"),)
