"""Alpaca: a teacher makes up tasks like 175 that people wrote, twenty at a time, and its answers are imitated.

After Taori et al. 2023 (docs/recipes/alpaca.md has the numbers): self-instruct with whole tasks at once, filters and
novelty by ROUGE-L, then supervised fine-tuning. `--set collect.variant=davinci` makes tasks in self-instruct's own way.

    camelid run alpaca --set seeds=seed_tasks.jsonl --set collect.teacher.server.model=NAME \\
        --set start_model=path/to/model

Departures:
- the request is in our own words (`--set wording=FILE` takes others), without the ban of one token by its number;
- a task without an output is set aside, where Alpaca's data has some;
- rows that are cut at 512 tokens lose their end, as theirs did.
"""

from __future__ import annotations

from pathlib import Path

from camelid.collect.self_instruct.stage import SelfInstructSettings, self_instruct
from camelid.recipes._imitation import TRAINER, Imitation, Steps
from camelid.recipes.quickstart import STARTER
from camelid.runs import Input, Output, Stage
from camelid.train.sft import SftSettings


class Alpaca(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    seeds: Path = STARTER / "seed_tasks.jsonl"
    """Seed tasks; self-instruct's own file fits."""
    wording: Path | None = None
    """A file with the words of the requests; none: our own."""
    collect: SelfInstructSettings = SelfInstructSettings(variant="alpaca", num_instructions=52_000)
    """The teacher, how many tasks, and how they are made up."""
    sft: SftSettings = SftSettings(
        chat_format="alpaca",
        learning_rate=2e-5,
        batch_size=128,
        epochs=3,
        warmup_fraction=0.03,
        max_tokens=512,
        **TRAINER,
    )
    """Imitation; for 13B they took 1e-5 and 5 epochs."""


def stages(s: Alpaca) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    reads: dict[str, Input] = {"seeds": s.at(s.seeds)}
    if s.wording:
        reads["prompts"] = s.at(s.wording)
    made = steps.add("data/self-instruct", self_instruct, s.collect, **reads)
    steps.imitate("sft", s.sft, steps.hold_out(Output(made, "demonstrations.jsonl")))
    return steps.finish("alpaca")
