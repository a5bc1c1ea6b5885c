"""What the teacher wrote, read: instructions, kinds, examples, whole tasks.

After the original codes (yizhongw/self-instruct, tatsu-lab/stanford_alpaca), with these differences: an instruction
keeps its capitals (theirs lost all but the first), ### ends a task only where it begins a line and no heading follows,
and chat models may repeat the number with which a prompt ended, or say something before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from camelid.collect.self_instruct.prompts import NO_INPUT
from camelid.collect.self_instruct.seeds import Instance

NUMBER = re.compile(r"^[ \t]*(\d+)\s?\.(?:[ \t]|$)", re.MULTILINE)
BETWEEN = re.compile(r"^[ \t]*###[ \t]*(?:\n|\Z|(?=\d+\.\s*Instruction:))", re.MULTILINE)
PART = re.compile(r"^[ \t]*(\d+)\.[ \t]*(Instruction|Input|Output):", re.MULTILINE)
EXAMPLE = re.compile(r"^[ \t]*Example ?\d+[.:]?", re.MULTILINE)
OUTPUT = re.compile(r"^[ \t]*Output\s*\d*\s*:", re.MULTILINE)
INPUT = re.compile(r"^[ \t]*Input\s*\d*\s*:", re.MULTILINE)
LABEL = re.compile(r"^[ \t]*Class label:", re.MULTILINE)
YES, NO = "yes", "no"


class Task(NamedTuple):
    """An instruction; from Alpaca's list with its input and output."""

    instruction: str
    instance: Instance | None = None


class Tasks(NamedTuple):
    """What a reply holds."""

    tasks: tuple[Task, ...]
    wrong: tuple[tuple[str, str], ...] = ()
    """Text that is no task, and why."""


class Examples(NamedTuple):
    """Instances of one task."""

    instances: tuple[Instance, ...]
    wrong: tuple[str, ...] = ()
    """Why others are left out, one reason for each."""


def read_instructions(text: str, first: int) -> Tasks:
    """A list that goes on from number `first`; white space in an instruction becomes one blank."""
    marks = list(NUMBER.finditer(text))
    # Without its own number the first one stands before all marks; with it, what stands there is talk.
    again = next((i for i, mark in enumerate(marks) if int(mark[1]) == first), None)
    begins = [0, *(mark.end() for mark in marks)] if again is None else [mark.end() for mark in marks[again:]]
    ends = [mark.start() for mark in (marks if again is None else marks[again + 1 :])]
    found = (" ".join(text[a:b].split()) for a, b in zip(begins, [*ends, len(text)], strict=True))
    return Tasks(tuple(Task(one[0].upper() + one[1:]) for one in found if one))


def read_list(text: str, first: int, *, cut: bool) -> Tasks:
    """Tasks with input and output that go on behind "first. Instruction:". `cut`: the last is not whole and goes."""
    begin = re.search(rf"^[ \t]*(?:###\s*)?{first}\.[ \t]*Instruction:", text, re.MULTILINE)
    text = text[begin.start() :] if begin else f"{first}. Instruction:{text}"
    pieces = [piece.strip() for piece in BETWEEN.split(text) if piece.strip()]
    found = [_task(piece) for piece in pieces]
    if cut:
        found[-1] = (pieces[-1], "cut off")
    wrong = tuple(one for one in found if not isinstance(one, Task))
    return Tasks(tuple(one for one in found if isinstance(one, Task)), wrong)


def _task(piece: str) -> Task | tuple[str, str]:
    marks = list(PART.finditer(piece))
    if [mark[2] for mark in marks] != ["Instruction", "Input", "Output"] or len({mark[1] for mark in marks}) > 1:
        return piece, "not in the form that was asked for"
    ends = [mark.start() for mark in marks[1:]] + [len(piece)]
    instruction, given, output = (piece[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True))
    given = "" if given.lower() == NO_INPUT else given
    if not instruction or not output:
        return piece, "empty output" if instruction else "empty instruction"
    return Task(instruction, Instance(input=given, output=output))


def read_kind(text: str) -> bool | None:
    """Whether a task is classification; None where the reply says neither yes nor no."""
    word = re.match(r"\W*([a-z]+)", text.lower())
    return {YES: True, NO: False}.get(word[1]) if word else None


def read_examples(text: str, *, cut: bool) -> Examples:
    """Inputs with their outputs. A reply without numbers is one example; one without "Output:" is an output."""
    return _useful([_example(piece) for piece in EXAMPLE.split(text)[1:] or [text]], cut=cut)


def _example(piece: str) -> Instance:
    parts = OUTPUT.split(piece, maxsplit=1)
    given, output = parts if len(parts) == 2 else ("", piece)
    # A teacher that goes on with further pairs has begun the next one at "Input:".
    return Instance(input=INPUT.sub("", given, count=1).strip(), output=INPUT.split(output)[0].strip())


def read_labelled_examples(text: str, *, cut: bool) -> Examples:
    """Labels, each with the input on the lines below it."""
    pieces = [piece.strip().partition("\n") for piece in LABEL.split(text)[1:]]
    found = [Instance(input=INPUT.sub("", given, count=1).strip(), output=label.strip()) for label, _, given in pieces]
    return _useful(found, cut=cut)


def _useful(found: Sequence[Instance], *, cut: bool) -> Examples:
    """Those that a model can learn from, each once.

    One input with different outputs says that the task is not understood: nothing of it is kept.
    """
    wrong = ["cut off"] if cut and found else []
    kept: dict[tuple[str, str], Instance] = {}
    for one in found[:-1] if cut else found:
        why = _wrong(one)
        if why or (one.input, one.output) in kept:
            wrong.append(why or "a repeat")
        else:
            kept[one.input, one.output] = one
    inputs = [given for given, _ in kept if given]
    if len(set(inputs)) < len(inputs):
        return Examples((), (*wrong, *("one input with several outputs" for _ in kept)))
    return Examples(tuple(kept.values()), tuple(wrong))


def _wrong(one: Instance) -> str:
    if not one.output:
        return "empty output"
    if one.input == one.output:
        return "input and output are equal"
    return "ends with a colon" if one.input.endswith(":") or one.output.endswith(":") else ""
