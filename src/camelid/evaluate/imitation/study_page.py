"""The page of a study: report.html, which needs nothing else, its figures beside it, and its tables as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.evaluate.imitation.cells import Cell
from camelid.evaluate.imitation.study_figures import panels
from camelid.evaluate.plain_page import Table, shown, write_plain_page

STYLE_COLUMNS = {
    "similarity": ("similarity", 1),
    "lists_where_reference_does": ("lists where it lists, %", 100),
    "lists_where_reference_does_not": ("lists where not, %", 100),
    "length_correlation": ("length r", 1),
    "unigram_f1": ("unigram F1", 1),
    "bigram_f1": ("bigram F1", 1),
    "words": ("words", 1),
}


def write_page(study: dict[str, Any], cells: Sequence[Cell], folder: Path) -> None:
    """report.html, figures/*.png and tables.md."""
    title = f"The imitation gap: {study['teacher']} as the teacher"
    write_plain_page(folder, title, notes(study), panels(study, cells), tables(study, cells))


def notes(study: dict[str, Any]) -> list[str]:
    """What a reader must know before believing a number."""
    judge = study["judge"]
    shorter = judge["accuracy_where_the_shorter_won"]
    said = [
        f"n = {study['prompts']} held-out prompts. Style says how like the teacher's the answers look. Facts are the "
        f"mean accuracy of {', '.join(study['tasks_counted']) or 'no task'}, on which a start model beats guessing.",
        f"The judge is a reward model. On judgements of instructions that it never saw it is right in "
        f"{shown(judge['accuracy'], 100)}% of n = {judge['accuracy']['n']}; the rule that the longer answer wins in "
        f"{shown(judge['longer_wins'], 100)}%; it picks the longer in {shown(judge['prefers_the_longer'], 100)}%"
        + (f", and is right in {shown(shorter, 100)}% where the shorter one won." if shorter else "."),
        f"{judge['reference_cut']} of the teacher's answers were cut where the students' are.",
    ]
    said += [f"Left out of the facts: {task} ({why})." for task, why in study["tasks_left_out"].items()]
    return said


def tables(study: dict[str, Any], cells: Sequence[Cell]) -> list[Table]:
    """Cells, and what changed, as text."""
    tasks = list(cells[0].facts)
    columns = ["model", "seeds", *(head for head, _ in STYLE_COLUMNS.values()), "wins, %", "at equal length, %"]
    rows = []
    for cell in cells:
        name = f"{cell.layers} layers, {cell.kind}" + (f" {cell.amount}" if cell.amount else "")
        style = [shown(cell.style.get(field), factor) for field, (_, factor) in STYLE_COLUMNS.items()]
        wins = [shown(e, 100) for e in (cell.wins, cell.wins_length_controlled)]
        facts = [shown(cell.facts[task], 100) for task in tasks]
        rows.append(([name, str(cell.seeds), *style, *wins], [name, shown(cell.knowledge, 100), *facts]))
    changed = [[c["name"], c["measure"], shown(c["change"], _factor(c["measure"]))] for c in study["changes"]]
    return [
        Table("Style and wins", columns, [row for row, _ in rows]),
        Table("Facts, %", ["model", "mean of those that count", *tasks], [row for _, row in rows]),
        Table("Change from the start model", ["model", "measure", "change"], changed),
    ]


def _factor(measure: str) -> float:
    return 1 if measure == "similarity of style" else 100
