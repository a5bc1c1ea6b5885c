"""The stage that gathers a study of imitation: all cells, style on one axis and facts on the other, what changed.

It reads files only: answers with a judge's scores, the teacher's answers, benchmark results, the judge's check. Style
is measured beside the teacher; facts count on tasks where some start model does better than guessing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from camelid.durable import write_json
from camelid.evaluate.imitation.cells import (
    Cell,
    CellName,
    counted_tasks,
    measure,
    pool,
    read_answered,
)
from camelid.evaluate.imitation.facts import less, paired_change
from camelid.evaluate.imitation.plain import plain
from camelid.evaluate.imitation.study_page import write_page
from camelid.runs import Run, Settings


class StudySettings(Settings):
    """The study."""

    cells: tuple[CellName, ...] = ()
    """The models, in the order of the inputs `answers` and `facts`."""
    teacher: str = "the teacher"
    """Its name in figures and tables."""
    own_task: str = ""
    """The task that local imitation is about."""
    floors: dict[str, float] = Field(default={})
    """Accuracy of guessing, by task."""
    tie_within: float = Field(default=0.05, ge=0)
    """Judge scores closer than this are a tie, in the judge's own units."""


def write_study(run: Run) -> dict[str, Any]:
    """Stage: `answers`, `facts` (two files a cell), `reference`, `judge_check` -> study.json, report.html."""
    s: StudySettings = run.settings
    reference = read_answered(run.inputs["reference"])
    files = zip(s.cells, run.inputs["answers"], run.inputs["facts"], strict=True)
    ones = [measure(name, answers, reference, facts, s.tie_within) for name, answers, facts in files]
    starts = [one.facts for one in ones if one.name.kind == "start"]
    if not starts:
        raise ValueError("the study has no start model: nothing says what imitation changed")
    counted, left_out = counted_tasks(starts, s.floors)
    keys = list(dict.fromkeys((one.name.layers, one.name.kind, one.name.amount) for one in ones))
    cells = [
        pool([one for one in ones if (one.name.layers, one.name.kind, one.name.amount) == key], counted) for key in keys
    ]
    study = {
        "teacher": s.teacher,
        "prompts": len(reference),
        "own_task": s.own_task,
        "tasks_counted": counted,
        "tasks_left_out": left_out,
        "judge": json.loads(run.inputs["judge_check"].read_text()),
        "cells": [cell.as_json() for cell in cells],
        "changes": changes(cells, s.own_task, counted),
    }
    write_json(run.path / "study.json", study)
    write_page(study, cells, run.path)
    return {f"{c['name']}: {c['measure']}": c["change"]["value"] for c in study["changes"]}


def changes(cells: Sequence[Cell], own_task: str, counted: Sequence[str]) -> list[dict[str, Any]]:
    """What imitation changed in each start model: style, wins, knowledge, and the own task of local imitation.

    Facts are compared item by item. For style and wins both values are taken as independent; they share their prompts,
    so the true intervals are narrower.
    """
    starts = {cell.layers: cell for cell in cells if cell.kind == "start"}
    rows = []
    for cell in cells:
        start = starts.get(cell.layers)
        if cell is start or start is None:
            continue
        found = {
            "similarity of style": less(cell.style["similarity"], start.style["similarity"]),
            "win rate at equal length": less(cell.wins_length_controlled, start.wins_length_controlled),
        }
        groups = {"knowledge": list(counted)}
        if own_task:
            groups[own_task] = [own_task]
            groups[f"knowledge without {own_task}"] = [task for task in counted if task != own_task]
        for name, tasks in groups.items():
            if tasks:
                found[name] = paired_change(cell.items, start.items[0], tasks)
        rows += [{"name": cell_name(cell), "measure": k, "change": plain(change)} for k, change in found.items()]
    return rows


def cell_name(cell: Cell) -> str:
    """`30 layers, broad 640`, `30 layers, start`."""
    return f"{cell.layers} layers, {cell.kind}" + (f" {cell.amount}" if cell.kind != "start" else "")
