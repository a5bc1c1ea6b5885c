"""Self-instruct: a teacher makes up tasks like those that people wrote, and does them.

`variant=davinci` is Wang et al. 2022 (arXiv:2212.10560): eight instructions are shown and gone on with, classification
is told apart, then instances are written, labels first where they would all be alike. `variant=alpaca` is Taori et al.
2023: three whole tasks are shown, and a reply brings up to sixteen with input and output. Both filter instructions by
their rules (`functional/instruction_filters.py`) and keep none whose ROUGE-L with a seed or a kept one exceeds 0.7.

    camelid self-instruct --seeds seed_tasks.jsonl --set teacher.server.model=NAME --set num_instructions=500
    camelid self-instruct --seeds seed_tasks.jsonl --set variant=alpaca --set teacher.replay=answers.json

Stopped and begun again it asks nothing twice: the teacher's journal answers, and the same tasks are found anew.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, Literal

from pydantic import Field

from camelid.collect.self_instruct.alpaca import AlpacaSettings, by_alpaca
from camelid.collect.self_instruct.davinci import DavinciSettings, by_davinci
from camelid.collect.self_instruct.made import Made, Making
from camelid.collect.self_instruct.pool import Wanted, by_reason
from camelid.collect.self_instruct.prompts import OURS, Prompts
from camelid.collect.self_instruct.seeds import read_seeds
from camelid.collect.wording import read_wording
from camelid.durable import write_json_lines
from camelid.models.teacher import Teacher, TeacherSettings
from camelid.runs import Run, Settings
from camelid.types import write_records


class SelfInstructSettings(Settings):
    """Self-instruct."""

    teacher: TeacherSettings = TeacherSettings()
    """Who makes up tasks and does them."""
    variant: Literal["davinci", "alpaca"] = "davinci"
    """In three steps as Wang et al., or whole tasks at once as Alpaca."""
    num_instructions: int = Field(default=1000, ge=1)
    """Stop at so many new instructions; the papers made 52,000."""
    most_requests: int = Field(default=20_000, ge=1)
    """Requests for instructions after which it is an error that there are too few."""
    requests_a_round: int = Field(default=5, ge=1)
    """Requests side by side; those of a round are shown nothing of each other's."""
    threshold: float = Field(default=0.7, gt=0, lt=1)
    """ROUGE-L F1 above which an instruction repeats another."""
    davinci: DavinciSettings = DavinciSettings()
    """Settings of that variant."""
    alpaca: AlpacaSettings = AlpacaSettings()
    """Settings of the other."""


def self_instruct(run: Run) -> dict[str, Any]:
    """Stage: `seeds` (seed tasks), optional `prompts` (a file of wording) and `teacher` (a model) ->
    demonstrations.jsonl, set_aside.jsonl, provenance.jsonl.
    """
    s: SelfInstructSettings = run.settings
    seeds = read_seeds(run.inputs["seeds"])
    prompts = read_wording(run.inputs.get("prompts", OURS), Prompts)
    wanted = Wanted(s.num_instructions, s.requests_a_round, s.most_requests, s.threshold)
    with closing(Teacher.of(run, s.teacher)) as teacher:
        m = Making(run, teacher, seeds, prompts, wanted, s.seed)
        made = by_alpaca(m, s.alpaca) if s.variant == "alpaca" else by_davinci(m, s.davinci)
        teacher.write_provenance(
            run, made.said, template=f"{s.variant}, words of {prompts.source}", decoding=made.decoding, notes=made.notes
        )
        spent = teacher.spent() | teacher.spent_a_row(len(made.rows))
    write_json_lines(run.path / "set_aside.jsonl", made.gathered.aside)
    write_records(run.path / "demonstrations.jsonl", (made.seeds | made.rows).values())
    return {"num_seeds": len(seeds), **_figures(made), **spent}


def _figures(made: Made) -> dict[str, Any]:
    found, rows = made.gathered.found, len(made.rows)
    nearest = [one.most_similar[0][1] if one.most_similar else 0.0 for one in found]
    instructions = {note["instruction"] for note in made.notes.values()}
    told = [note["is_classification"] for note in made.notes.values() if "is_classification" in note]
    return {
        "requests_for_instructions": made.gathered.requests,
        "instructions": len(found),
        "instructions_with_rows": len(instructions),
        "kept": rows,
        "seeds_added": len(made.seeds),
        "with_input": sum(row.messages[0].content != made.notes[name]["instruction"] for name, row in made.rows.items())
        / max(rows, 1),
        **({"classification": sum(told) / len(told)} if told else {}),
        "mean_rouge_l_with_the_nearest": sum(nearest) / max(len(nearest), 1),
        "set_aside_by_reason": by_reason(made.gathered.aside),
    }
