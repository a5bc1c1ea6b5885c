"""One round: every instruction is evolved in a way that is drawn for it, looked at, and answered."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from camelid.collect.evol_instruct.prompts import Kind, Prompts, ask_to_evolve, ask_whether_equal, read_equal
from camelid.functional.evolved import copies, declines, says_nothing
from camelid.models.teacher import Decoding, Question, Said, Teacher, cut_or_empty
from camelid.runs import derived_seed
from camelid.types import Message, Messages


class Ways(NamedTuple):
    """What a round works with."""

    teacher: Teacher
    prompts: Prompts
    kinds: Sequence[Kind]
    evolving: Decoding
    judging: Decoding
    answering: Decoding
    seed: int


@dataclass
class Attempt:
    """One instruction in one round."""

    name: str
    """Of the prompt that it all began with."""
    number: int
    """Of the round, from 1."""
    kind: Kind
    before: str
    evolved: Said | None = None
    answer: Said | None = None
    failed: str = ""
    """Why it is dropped, as `reason: detail`."""

    @property
    def after(self) -> str:
        return self.evolved.text.strip() if self.evolved else ""


def evolve(ways: Ways, number: int, current: dict[str, str], tick: Callable[[int], object]) -> list[Attempt]:
    """What became of each instruction, by the name of its prompt. `tick` hears of each that is evolved, or fails.

    Cheapest first: words that were copied, then the teacher's verdict whether anything was gained, then the answer.
    """
    tried = [Attempt(name, number, _draw(ways, number, name), text) for name, text in current.items()]

    def ask(what: str, make: Callable[[Attempt], Messages], decoding: Decoding, wrong: Callable[[Said], str]) -> None:
        left = [one for one in tried if not one.failed]
        # `sample`: what failed in an earlier round is asked anew, though the words may be the same.
        questions = [Question(f"{what}-{one.name}", make(one), sample=number) for one in left]
        said = ways.teacher.ask(questions, decoding, wrong=wrong)
        for one, reply in zip(left, said, strict=True):
            _take(one, what, reply, ways.prompts)
            if one.failed or what == "answer":
                tick(1)

    ask("evolution", lambda one: ask_to_evolve(ways.prompts, one.kind, one.before), ways.evolving, cut_or_empty)
    ask("verdict", lambda one: ask_whether_equal(ways.prompts, one.before, one.after), ways.judging, _no_verdict)
    ask("answer", lambda one: (Message(role="user", content=one.after),), ways.answering, cut_or_empty)
    return tried


def _draw(ways: Ways, number: int, name: str) -> Kind:
    """By a stream of its own: the same whatever other prompts there are."""
    return random.Random(derived_seed(ways.seed, "kind", number, name)).choice(ways.kinds)


def _no_verdict(said: Said) -> str:
    return "" if read_equal(said.text) is not None else "no verdict"


def _take(one: Attempt, what: str, said: Said, prompts: Prompts) -> None:
    """Note what came of a question, and whether the instruction goes on."""
    if said.set_aside:
        one.failed = f"{what}, {said.set_aside}"
    elif what == "evolution":
        one.evolved = said
        same = " ".join(one.after.split()) == " ".join(one.before.split())
        one.failed = "no gain: the same words" if same else copies(one.after, one.before, prompts.copied)
    elif what == "verdict":
        one.failed = "no gain: equal, says the teacher" if read_equal(said.text) else ""
    else:
        one.answer = said
        why = declines(said.text) or says_nothing(said.text)
        one.failed = f"hard to answer: {why}" if why else ""
