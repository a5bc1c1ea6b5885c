"""Evol-Instruct: instructions made harder, or changed into others, over some rounds, each answered by the teacher.

After Xu et al. 2023 (WizardLM, arXiv:2304.12244, section 3): in each round every instruction is evolved in one of six
ways, drawn evenly. What is new and answered becomes a row and is evolved further; what fails goes back as it was, to be
tried again in the next round. Left out: the instructions that it begins with, which are rows already (`mix` puts them
beside), and a last look by a person.

    camelid evol-instruct --prompts prompts.jsonl --set teacher.server.model=NAME --set rounds=4
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from pydantic import Field

from camelid.collect.evol_instruct.evolution import Attempt, Ways, evolve
from camelid.collect.evol_instruct.prompts import KINDS, OURS, Kind, Prompts
from camelid.collect.wording import read_wording
from camelid.durable import write_json_lines
from camelid.functional.words import words_of
from camelid.models.teacher import Decoding, Said, Teacher, TeacherSettings
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Message, Prompt, draw, read_records, write_records

TAG = "evol-instruct"


class EvolInstructSettings(Settings):
    """Evol-Instruct."""

    teacher: TeacherSettings = TeacherSettings()
    """Who evolves, judges and answers."""
    rounds: int = Field(default=4, ge=1)
    """How often each instruction is evolved."""
    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
    """Ways of evolving, drawn evenly; one that is named twice is drawn twice as often."""
    evolving: Decoding = Decoding(temperature=1.0, top_p=0.9, max_tokens=2048)
    """How evolved instructions are drawn."""
    judging: Decoding = Decoding(temperature=0.0, max_tokens=16)
    """How verdicts on them are drawn; a teacher that reasons first needs more tokens."""
    answering: Decoding = Decoding(temperature=1.0, top_p=0.9, max_tokens=2048)
    """How answers are drawn."""
    max_prompts: int = Field(default=0, ge=0)
    """Begin with so many prompts, drawn at random; 0 for all."""


def evol_instruct(run: Run) -> dict[str, Any]:
    """Stage: `prompts`, optional `wording` (a file) and `teacher` (a model) -> demonstrations.jsonl,
    set_aside.jsonl, provenance.jsonl.
    """
    s: EvolInstructSettings = run.settings
    there = {prompt.id: prompt for prompt in read_records(run.inputs["prompts"], Prompt)}
    drawn = draw(list(there.values()), s.max_prompts, derived_seed(s.seed, "prompts"))
    current = {prompt.id: _instruction(prompt) for prompt in drawn}
    if not current:
        raise ValueError(f"{run.inputs['prompts']} has no prompt to evolve")
    prompts = read_wording(run.inputs.get("wording", OURS), Prompts)
    tried: list[Attempt] = []
    with closing(Teacher.of(run, s.teacher)) as teacher:
        ways = Ways(teacher, prompts, s.kinds, s.evolving, s.judging, s.answering, s.seed)
        with run.progress("evolutions", s.rounds * len(current)) as tick:
            for number in range(1, s.rounds + 1):
                attempts = evolve(ways, number, current, tick)
                current |= {one.name: one.after for one in attempts if not one.failed}
                tried += attempts
        rows, made, notes = _rows(tried, there, teacher.name)
        form = f"evol-instruct, words of {prompts.source}"
        teacher.write_provenance(run, made, template=form, decoding=s.answering, notes=notes)
        spent = teacher.spent() | teacher.spent_a_row(len(rows))
    write_json_lines(run.path / "set_aside.jsonl", (_aside(one) for one in tried if one.failed))
    write_records(run.path / "demonstrations.jsonl", rows.values())
    return {"num_prompts": len(current), "kept": len(rows), **_figures(tried, list(notes.values())), **spent}


def _instruction(prompt: Prompt) -> str:
    """Raises ValueError for a prompt that is more than one turn."""
    if len(prompt.prompt) > 1:
        raise ValueError(
            f"prompt {prompt.id} ({prompt.source}) has {len(prompt.prompt)} turns; single instructions are evolved: "
            f"leave it out"
        )
    return prompt.prompt[0].content


def _rows(
    tried: Sequence[Attempt], prompts: dict[str, Prompt], teacher: str
) -> tuple[dict[str, Conversation], dict[str, Said], dict[str, dict[str, Any]]]:
    """Rows, answers and notes by a row's id."""
    rows, made, notes = {}, {}, {}
    for one in tried:
        if one.failed or one.evolved is None or one.answer is None:
            continue
        prompt = prompts[one.name]
        row = Conversation(
            messages=(Message(role="user", content=one.after), Message(role="assistant", content=one.answer.text)),
            source=f"evolved by {teacher}",
            licence=prompt.licence,
            tags=tuple(dict.fromkeys((*prompt.tags, TAG, one.kind, f"round-{one.number}"))),
        )
        rows[row.id], made[row.id] = row, one.answer
        notes[row.id] = {
            "prompt": one.name,
            "evolved_from": one.before,
            "round": one.number,
            "kind": one.kind,
            "instruction_request": one.evolved.request,
        }
    return rows, made, notes


def _aside(one: Attempt) -> dict[str, Any]:
    row = {"id": one.name, "round": one.number, "kind": one.kind, "reason": one.failed}
    return row | ({"evolved": one.after} if one.evolved else {})


def _figures(tried: Sequence[Attempt], notes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rounds = range(1, max(one.number for one in tried) + 1)
    good = [one for one in tried if not one.failed]
    return {
        "tried": len(tried),
        "kept_by_round": {number: sum(note["round"] == number for note in notes) for number in rounds},
        "kept_by_kind": dict(Counter(note["kind"] for note in notes).most_common()),
        "tried_by_kind": dict(Counter(one.kind for one in tried).most_common()),
        "words_more": sum(len(words_of(one.after)) - len(words_of(one.before)) for one in good) / max(len(good), 1),
        "repeats_dropped": len(good) - len(notes),
        "set_aside_by_reason": dict(Counter(one.failed.partition(":")[0] for one in tried if one.failed).most_common()),
    }
