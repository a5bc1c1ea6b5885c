"""Self-instruct's way in three steps: instructions, whether each is classification, instances (Wang et al. 2022).

After arXiv:2212.10560, section 2.2, and the code of yizhongw/self-instruct. Where theirs has tasks and examples written
for the purpose, ours shows seed tasks. Left out: a first step that asks for classification tasks only, and their prompt
templates for fine-tuning, which are a chat format's business here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from camelid.collect.self_instruct.made import Made, Making, as_row
from camelid.collect.self_instruct.pool import Found, Way, gather
from camelid.collect.self_instruct.prompts import (
    ask_for_examples,
    ask_for_instructions,
    ask_for_kind,
    ask_for_labelled_examples,
)
from camelid.collect.self_instruct.replies import (
    Examples,
    read_examples,
    read_instructions,
    read_kind,
    read_labelled_examples,
)
from camelid.collect.self_instruct.seeds import SeedTask, drawn
from camelid.models.teacher import Decoding, Question, Said, cut_or_empty
from camelid.runs import Settings, derived_seed
from camelid.types import Messages, draw

SHOWN, BY_MACHINE = 8, 2
"""Instructions that a request shows; so many of them the teacher's own, once there are."""
SHOWN_YES, SHOWN_NO = 12, 19
"""Seed tasks with their kind, at most."""
SHOWN_WITH_EXAMPLES = 8
"""Seed tasks with their instances, at most."""
UNTIL_SIXTEEN = ("\n\n", "\n16", "16.", "16 .")


class DavinciSettings(BaseModel):
    """Self-instruct's way."""

    model_config = Settings.model_config

    instructions: Decoding = Decoding(
        temperature=0.7, top_p=0.5, max_tokens=1024, presence_penalty=2.0, stop=UNTIL_SIXTEEN
    )
    """How instructions are drawn."""
    kinds: Decoding = Decoding(temperature=0.0, max_tokens=3, stop=("\n", "Task"))
    """How the teacher says whether a task is classification; one that reasons first needs more tokens."""
    examples: Decoding = Decoding(temperature=0.0, max_tokens=350, presence_penalty=1.5, stop=("Example 6", "Task:"))
    """How instances are drawn."""
    labelled_examples: Decoding = Decoding(
        temperature=0.0, max_tokens=300, presence_penalty=1.5, stop=("Example 6", "Task:")
    )
    """How instances of classification are drawn."""
    instances: int = Field(default=5, ge=1)
    """Most instances of a task."""
    add_seeds: bool = True
    """Put the seed tasks' own instances among the rows, as the paper does."""


def by_davinci(m: Making, s: DavinciSettings) -> Made:
    """Instructions, kinds, instances; each step asks for all tasks before the next begins."""
    shown = shown_with_kinds(m.seeds, m.seed)
    way = Way(
        lambda number, found: _instructions(m, number, found),
        lambda said: read_instructions(said.text, SHOWN + 1),
        lambda said: cut_or_empty(said) or ("" if read_instructions(said.text, SHOWN + 1).tasks else "no instruction"),
        s.instructions,
        "self-instruct",
    )
    gathered = gather(m.run, m.teacher, [seed.instruction for seed in m.seeds], way, m.wanted)
    made = Made(gathered, s.examples)
    for is_classification, tasks in _by_kind(m, s, shown, made).items():
        _instances(m, s, tasks, shown, is_classification, made)
    if s.add_seeds:
        for seed in m.seeds:
            for instance in seed.instances:
                if instance.output.strip():
                    row = as_row(m, seed.instruction, instance)
                    made.add_seed(row.model_copy(update={"source": seed.source, "licence": seed.licence}))
    return made


def shown_with_kinds(seeds: Sequence[SeedTask], seed: int) -> list[SeedTask]:
    """Twelve that are classification and nineteen that are not, or as many as there are, shuffled.

    Raises ValueError where there is none of either.
    """
    kinds = [[task for task in seeds if task.is_classification is kind] for kind in (True, False)]
    for tasks, what in zip(kinds, ("is", "is no"), strict=True):
        if not tasks:
            raise ValueError(f"no seed task {what} classification; the teacher must be shown some: add one")
    chosen = [
        task
        for tasks, most in zip(kinds, (SHOWN_YES, SHOWN_NO), strict=True)
        for task in draw(tasks, most, derived_seed(seed, "kinds"))
    ]
    random.Random(derived_seed(seed, "order")).shuffle(chosen)
    return chosen


def _instructions(m: Making, number: int, found: Sequence[Found]) -> Messages:
    stream = random.Random(derived_seed(m.seed, "shown", number))
    own = stream.sample([one.task.instruction for one in found], min(BY_MACHINE, len(found)))
    seeds = drawn(m.seeds, SHOWN - len(own), derived_seed(m.seed, "seeds", number))
    shown = [*own, *(task.instruction for task in seeds)]
    stream.shuffle(shown)
    return ask_for_instructions(m.prompts, shown)


def _by_kind(m: Making, s: DavinciSettings, shown: Sequence[SeedTask], made: Made) -> dict[bool, list[Found]]:
    """What was found, by whether it is classification as the teacher says."""
    found = made.gathered.found
    questions = [
        Question(f"kind-{i}", ask_for_kind(m.prompts, shown, one.task.instruction)) for i, one in enumerate(found)
    ]
    with m.run.progress("kinds of tasks", len(found)) as tick:
        replies = m.teacher.ask(
            questions,
            s.kinds,
            wrong=lambda said: "" if read_kind(said.text) is not None else "neither yes nor no to classification",
            tick=tick,
        )
    kinds: dict[bool, list[Found]] = {False: [], True: []}
    for one, said in zip(found, replies, strict=True):
        if said.set_aside:
            made.set_aside(one, said.set_aside)
        else:
            kinds[bool(read_kind(said.text))].append(one)
    return kinds


def _instances(
    m: Making,
    s: DavinciSettings,
    tasks: Sequence[Found],
    shown: Sequence[SeedTask],
    is_classification: bool,
    made: Made,
) -> None:
    """Ask for instances of tasks of one kind; those of use become rows."""
    known = [task for task in shown if task.is_classification is is_classification][:SHOWN_WITH_EXAMPLES]
    ask = ask_for_labelled_examples if is_classification else ask_for_examples
    decoding = s.labelled_examples if is_classification else s.examples

    def read(said: Said) -> Examples:
        reader = read_labelled_examples if is_classification else read_examples
        return reader(said.text, cut=said.finish_reason == "length")

    def wrong(said: Said) -> str:
        examples = read(said)
        return "" if examples.instances else f"no instance of use: {(*examples.wrong, 'none in the reply')[0]}"

    texts = [one.task.instruction for one in tasks]
    questions = [Question(f"instances-{i}", ask(m.prompts, known, text)) for i, text in enumerate(texts)]
    with m.run.progress("labelled instances" if is_classification else "instances", len(tasks)) as tick:
        replies = m.teacher.ask(questions, decoding, wrong=wrong, tick=tick)
    for one, text, said in zip(tasks, texts, replies, strict=True):
        if said.set_aside:
            made.set_aside(one, said.set_aside)
            continue
        examples = read(said)
        for why in examples.wrong:
            made.set_aside(one, f"instance, {why}")
        note: dict[str, Any] = {"is_classification": is_classification, "decoding": decoding.model_dump()}
        for instance in draw(examples.instances, s.instances, derived_seed(m.seed, "instances", text)):
            tags = ("classification",) if is_classification else ()
            made.add(as_row(m, text, instance, tags=tags), one, said, note)
