"""The pool of instructions: filled round by round with what a teacher writes, if the filters let it in and it is new.

A round's requests go out side by side, and their answers are taken in the order of the requests: whatever comes first,
the same instructions are kept. What is shown in a round are instructions that were kept before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from camelid.collect.self_instruct.replies import Task, Tasks
from camelid.functional.instruction_filters import RuleSet, unfit
from camelid.functional.near_index import NearIndex
from camelid.functional.rouge import rouge_words
from camelid.models.teacher import Decoding, Question, Said, Teacher
from camelid.runs import Run
from camelid.types import Messages

MOST_SIMILAR = 10
"""So many are noted with each instruction, as self-instruct does."""


class Found(NamedTuple):
    """A task that was kept."""

    task: Task
    said: Said
    """The reply that it stands in."""
    number: int
    """Of the request, from 0."""
    most_similar: tuple[tuple[str, float], ...]
    """Instructions that were there before, with ROUGE-L, from the highest."""


class Pool:
    """Seeds, and what has been kept. Nothing whose ROUGE-L with one of them exceeds the threshold is let in."""

    def __init__(self, seeds: Sequence[str], rules: RuleSet, threshold: float):
        self._texts, self._rules = list(seeds), rules
        self._index = NearIndex([rouge_words(text) for text in seeds], threshold)

    def why_not(self, instruction: str) -> str:
        """Why an instruction is not let in, as `reason: detail`; empty where it is."""
        if why := unfit(instruction, self._rules):
            return why
        near = max(self._index.find(rouge_words(instruction)), key=lambda one: one.score, default=None)
        return f"near copy: {near.score:.3f} with {self._texts[near.place]!r}" if near else ""

    def take(self, instruction: str) -> tuple[tuple[str, float], ...]:
        """Let an instruction in; those that it is most like."""
        words = rouge_words(instruction)
        similar = self._index.most_similar(words, MOST_SIMILAR)
        self._index.add(words)
        self._texts.append(instruction)
        return tuple((self._texts[one.place], round(one.score, 4)) for one in similar)


class Way(NamedTuple):
    """How a variant asks for tasks."""

    ask: Callable[[int, Sequence[Found]], Messages]
    """The request of a number, of which no two draw the same, and what was kept before its round."""
    read: Callable[[Said], Tasks]
    wrong: Callable[[Said], str]
    """Why a whole reply is of no use."""
    decoding: Decoding
    rules: RuleSet


class Wanted(NamedTuple):
    """How long to go on."""

    instructions: int
    requests_a_round: int
    most_requests: int
    threshold: float


class Gathered(NamedTuple):
    found: list[Found]
    aside: list[dict[str, Any]]
    """Rows of set_aside.jsonl."""
    requests: int


def gather(run: Run, teacher: Teacher, seeds: Sequence[str], way: Way, wanted: Wanted) -> Gathered:
    """Ask until there are enough. Raises ValueError where `most_requests` have not brought them."""
    pool = Pool(seeds, way.rules, wanted.threshold)
    found: list[Found] = []
    aside: list[dict[str, Any]] = []
    requests = 0
    with run.progress("instructions", wanted.instructions) as tick:
        while len(found) < wanted.instructions:
            numbers = range(requests, min(requests + wanted.requests_a_round, wanted.most_requests))
            if not numbers:
                raise ValueError(_too_few(len(found), wanted, aside))
            # `sample` makes requests with the same words different ones.
            questions = [Question(f"request-{n}", way.ask(n, found), sample=n) for n in numbers]
            replies = teacher.ask(questions, way.decoding, wrong=way.wrong)
            requests = numbers.stop
            before = len(found)
            for number, said in zip(numbers, replies, strict=True):
                kept, left = _sorted_out(pool, way, number, said, wanted.instructions - len(found))
                found += kept
                aside += left
            tick(len(found) - before)
    return Gathered(found, aside, requests)


def _sorted_out(pool: Pool, way: Way, number: int, said: Said, most: int) -> tuple[list[Found], list[dict[str, Any]]]:
    """At most so many tasks of a reply that are let in, and what is set aside before there are as many."""
    if said.set_aside:
        return [], [{"request": number, "reason": said.set_aside}]
    read = way.read(said)
    found: list[Found] = []
    aside = [{"request": number, "text": text, "reason": why} for text, why in read.wrong]
    for task in read.tasks:
        if len(found) == most:
            break
        if why := pool.why_not(task.instruction):
            aside.append({"request": number, "text": task.instruction, "reason": why})
        else:
            found.append(Found(task, said, number, pool.take(task.instruction)))
    return found, aside


def by_reason(aside: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How often each reason, without its details; the most frequent first."""
    return dict(Counter(row["reason"].partition(":")[0] for row in aside).most_common())


def _too_few(found: int, wanted: Wanted, aside: Sequence[dict[str, Any]]) -> str:
    why = ", ".join(f"{reason} {count}" for reason, count in by_reason(aside).items()) or "nothing"
    return (
        f"{wanted.most_requests} requests brought {found} of {wanted.instructions} instructions (set aside: {why}). "
        f"Raise most_requests, or set num_instructions={found} if that is enough: a journal answers what was asked"
    )
