"""The page of a study: report.html, which needs nothing else, its figures beside it, and its tables as text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from camelid.evaluate.imitation.cells import Cell
from camelid.evaluate.imitation.figures import write_panel
from camelid.evaluate.imitation.study_figures import panels
from camelid.functional.statistics import Estimate

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: 13px }
td, th { padding: .25rem .7rem; border-bottom: 1px solid #e5e7eb; text-align: right }
td:first-child { text-align: left }
figure { display: inline-block; width: 36rem; max-width: 100%; margin: 1rem 1rem 1rem 0; vertical-align: top }
img { max-width: 100% } figcaption { font-size: 13px; color: #6b7280 }
</style>
<h1>{{ title }}</h1>
{% for note in notes %}<p>{{ note }}</p>{% endfor %}
{% for figure in figures %}<figure><h2>{{ figure.title }}</h2>
<img alt="{{ figure.alt }}" src="data:image/png;base64,{{ figure.png }}">
<figcaption>{{ figure.caption }}</figcaption></figure>
{% endfor %}
{% for table in tables %}<h2>{{ table.title }}</h2>
<table><tr>{% for head in table.columns %}<th>{{ head }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>{% endfor %}
</html>
"""

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
    (folder / "figures").mkdir(exist_ok=True)
    figures = []
    for name, (title, panel) in panels(study, cells).items():
        file = write_panel(panel, folder / "figures" / f"{name}.png")
        png = base64.b64encode(file.read_bytes()).decode()
        figures.append({"title": title, "alt": panel.alt, "caption": panel.caption, "png": png})
    found, said = tables(study, cells), notes(study)
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    title = f"The imitation gap: {study['teacher']} as the teacher"
    html = page.render(title=title, notes=said, figures=figures, tables=found)
    (folder / "report.html").write_text(html, encoding="utf-8")
    (folder / "tables.md").write_text("\n\n".join([*said, *map(_markdown, found)]) + "\n", encoding="utf-8")


def notes(study: dict[str, Any]) -> list[str]:
    """What a reader must know before believing a number."""
    judge = study["judge"]
    shorter = judge["accuracy_where_the_shorter_won"]
    said = [
        f"n = {study['prompts']} held-out prompts. Style says how like the teacher's the answers look. Facts are the "
        f"mean accuracy of {', '.join(study['tasks_counted']) or 'no task'}, on which a start model beats guessing.",
        f"The judge is a reward model. On judgements of instructions that it never saw it is right in "
        f"{_shown(judge['accuracy'], 100)}% of n = {judge['accuracy']['n']}; the rule that the longer answer wins in "
        f"{_shown(judge['longer_wins'], 100)}%; it picks the longer in {_shown(judge['prefers_the_longer'], 100)}%"
        + (f", and is right in {_shown(shorter, 100)}% where the shorter one won." if shorter else "."),
        f"{judge['reference_cut']} of the teacher's answers were cut where the students' are.",
    ]
    said += [f"Left out of the facts: {task} ({why})." for task, why in study["tasks_left_out"].items()]
    return said


def tables(study: dict[str, Any], cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Cells, and what changed, as text."""
    tasks = list(cells[0].facts)
    columns = ["model", "seeds", *(head for head, _ in STYLE_COLUMNS.values()), "wins, %", "at equal length, %"]
    rows = []
    for cell in cells:
        name = f"{cell.layers} layers, {cell.kind}" + (f" {cell.amount}" if cell.amount else "")
        style = [_shown(cell.style.get(field), factor) for field, (_, factor) in STYLE_COLUMNS.items()]
        wins = [_shown(e, 100) for e in (cell.wins, cell.wins_length_controlled)]
        facts = [_shown(cell.facts[task], 100) for task in tasks]
        rows.append(([name, str(cell.seeds), *style, *wins], [name, _shown(cell.knowledge, 100), *facts]))
    changed = [[c["name"], c["measure"], _shown(c["change"], _factor(c["measure"]))] for c in study["changes"]]
    return [
        {"title": "Style and wins", "columns": columns, "rows": [row for row, _ in rows]},
        {
            "title": "Facts, %",
            "columns": ["model", "mean of those that count", *tasks],
            "rows": [row for _, row in rows],
        },
        {"title": "Change from the start model", "columns": ["model", "measure", "change"], "rows": changed},
    ]


def _factor(measure: str) -> float:
    return 1 if measure == "similarity of style" else 100


def _shown(estimate: Estimate | dict[str, Any] | None, factor: float) -> str:
    if estimate is None:
        return ""
    e = estimate if isinstance(estimate, Estimate) else Estimate(**estimate)
    places = 1 if factor == 100 or abs(e.value) >= 10 else 2
    value, low, high = (f"{factor * x:.{places}f}" for x in e[:3])
    return f"{value} [{low}, {high}]"


def _markdown(table: dict[str, Any]) -> str:
    rows = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
    return f"## {table['title']}\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)
