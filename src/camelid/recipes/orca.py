"""Orca: a teacher explains its answers under system messages, then a better one a part of them; imitated in two stages.

After Mukherjee et al. 2023 (arXiv:2306.02707; docs/recipes/orca.md has the numbers): questions tagged by their
collection of FLAN, a system message drawn for each by the paper's table, all answered by the first teacher (ChatGPT)
and a fifth by the second (GPT-4); four epochs on the first answers, then four on the second.

    camelid run orca --set questions=flan.jsonl --set explain.teacher.server.model=small \\
        --set again.teacher.server.model=large

Departures:
- the system messages are of the paper's kinds in our words; `--set messages=FILE` takes others;
- learning rate and batch were not published; Alpaca's are taken;
- no packing to 2,048 tokens: rows are packed exactly, none sees another.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.explanations.stage import ExplanationSettings, explanation_traces
from camelid.collect.stage import ImportSettings, import_data
from camelid.recipes._imitation import TRAINER, Imitation, Steps
from camelid.runs import Input, Output, Stage
from camelid.train.sft import SftSettings


class Orca(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    questions: list[Path] = Field(default=[Path("questions.jsonl")])
    """Questions, in any format, tagged cot, niv2, t0 or flan2021."""
    asked: ImportSettings = ImportSettings(kind="prompts")
    """How they are read."""
    messages: Path | None = None
    """A file of system messages; none: our own."""
    explain: ExplanationSettings = ExplanationSettings()
    """The first teacher."""
    again: ExplanationSettings = ExplanationSettings(share=0.2)
    """The second teacher; with the same seed a question has the same system message as before."""
    sft: SftSettings = SftSettings(
        chat_format="chatml",
        learning_rate=2e-5,
        batch_size=128,
        epochs=4,
        warmup_fraction=0.03,
        max_tokens=2048,
        **TRAINER,
    )
    """Imitation, the same in both stages."""


def stages(s: Orca) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    read = steps.add("data/questions", import_data, s.asked, data=[s.at(file) for file in s.questions])
    reads: dict[str, Input] = {"prompts": Output(read, "rows.jsonl")}
    if s.messages:
        reads["system_messages"] = s.at(s.messages)
    first = steps.add("data/explained", explanation_traces, s.explain, **reads)
    second = steps.add("data/explained-again", explanation_traces, s.again, **reads)
    train = steps.hold_out(Output(first, "demonstrations.jsonl"))
    model = steps.imitate("sft", s.sft, train)
    steps.imitate("sft-again", s.sft, Output(second, "demonstrations.jsonl"), model=model)
    return steps.finish("orca")
