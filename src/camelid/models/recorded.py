"""Recorded questions and answers, found again by what is asked. Standard library only; imports no torch.

A question is known by its own words: a request whose last message is a recorded question, or holds one, as a template
that wraps instructions does, is answered with what was recorded. A request that ends as Alpaca's do, waiting for one
more numbered task, is answered with a list of recorded tasks in that form: the same ones whenever it is asked again.
A request that ends as Baize's do, with a greeting in a script of [Human] and [AI], is answered with the recorded
conversation about the question that it holds, in that form.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from camelid.rows import Row, read_rows

TASKS = 20
"""Alpaca asks for so many, the three that it shows among them."""
WAITS_FOR_A_TASK = re.compile(r"(\d+)\. Instruction:\s*\Z")
GOES_ON_WITH_A_SCRIPT = re.compile(r"^\[Human\] .*\n\[AI\] .*\s*\Z", re.MULTILINE)
SHORTEST_HELD = 20
"""Characters of a recorded question below which being held in another text says nothing."""


class Recorded(NamedTuple):
    """One question with its answer."""

    instruction: str
    input: str
    output: str

    @property
    def question(self) -> str:
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction


class Answerer:
    """The rows of a file. Raises ValueError, with the place, for rows without question and answer."""

    def __init__(self, path: Path):
        talks = [_pairs(row) for row in read_rows(path, "questions and answers")]
        self.rows = [recorded for talk in talks for recorded in talk]
        self._talk_of = {_plain(talk[0].question): talk for talk in talks if talk}
        self._by_question: defaultdict[str, list[Recorded]] = defaultdict(list)
        for recorded in self.rows:
            self._by_question[_plain(recorded.question)].append(recorded)
            if recorded.input:
                self._by_question[_plain(f"{recorded.instruction}\n{recorded.input}")].append(recorded)
        self._longest_first = sorted((q for q in self._by_question if len(q) >= SHORTEST_HELD), key=len, reverse=True)

    def answer(self, asked: str, seed: int = 0) -> str | None:
        """None where nothing was recorded. Of several answers to one question `seed` tells which, round and round."""
        waits = WAITS_FOR_A_TASK.search(asked)
        if waits:
            return self._tasks(asked, seed, int(waits[1]))
        plain = _plain(asked)
        held = plain if plain in self._by_question else next((q for q in self._longest_first if q in plain), "")
        if GOES_ON_WITH_A_SCRIPT.search(asked):
            return _script(self._talk_of[held]) if held in self._talk_of else None
        answers = self._by_question.get(held)
        return answers[seed % len(answers)].output if answers else None

    def _tasks(self, asked: str, seed: int, first: int) -> str:
        """Tasks from number `first` on, as text that goes on after "first. Instruction:"."""
        draw = random.Random(hashlib.sha256(f"{seed}\n{asked}".encode()).hexdigest())
        chosen = draw.sample(self.rows, min(max(TASKS - first + 1, 1), len(self.rows)))
        written = [
            f"{number}. Instruction: {task.instruction}\n{number}. Input:\n{task.input or '<noinput>'}\n"
            f"{number}. Output:\n{task.output}\n"
            for number, task in enumerate(chosen, first)
        ]
        return "###\n".join(written).removeprefix(f"{first}. Instruction:")


def _script(talk: list[Recorded]) -> str:
    return "\n".join(f"[Human] {said.question}\n[AI] {said.output}" for said in talk)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _pairs(row: Row) -> list[Recorded]:
    """Alpaca's and AlpacaEval's rows, and conversations, of which every answer counts."""
    values = row.values
    if isinstance(values.get("instruction"), str) and isinstance(values.get("output"), str):
        return [Recorded(values["instruction"], str(values.get("input") or ""), values["output"])]
    turns = values.get("messages") or values.get("conversations")
    said = [_turn(turn) for turn in turns] if isinstance(turns, list) else []
    pairs = [Recorded(a, "", b) for a, b in pairwise(said) if isinstance(a, str) and isinstance(b, str)]
    if len(said) < 2 or None in said:
        raise ValueError(
            f"{row.place}: no recorded answer; wanted are instruction, input and output, or messages (has "
            f"{', '.join(map(str, values)) or 'nothing'})"
        )
    first = 1 if isinstance(turns, list) and isinstance(turns[0], dict) and turns[0].get("role") == "system" else 0
    return pairs[first::2]


def _turn(turn: object) -> str | None:
    if isinstance(turn, str):
        return turn
    found = (turn.get("content") or turn.get("value")) if isinstance(turn, dict) else None
    return found if isinstance(found, str) else None
