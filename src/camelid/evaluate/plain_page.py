"""A plain page of notes, figures and tables: report.html, which needs nothing else, figures/*.png, tables.md."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined

from camelid.evaluate.report.figure_style import LIGHT, Panel
from camelid.evaluate.report.figures import render
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


class Table(NamedTuple):
    """Cells as text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def markdown(self) -> str:
        rows = [self.columns, ["---"] * len(self.columns), *self.rows]
        return f"## {self.title}\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_plain_page(
    folder: Path, title: str, notes: Sequence[str], panels: Mapping[str, tuple[str, Panel]], tables: Sequence[Table]
) -> None:
    """`panels`: by file name, with a title each."""
    (folder / "figures").mkdir(exist_ok=True)
    figures = []
    for name, (heading, panel) in panels.items():
        png = write_panel(panel, folder / "figures" / f"{name}.png").read_bytes()
        encoded = base64.b64encode(png).decode()
        figures.append({"title": heading, "alt": panel.alt, "caption": panel.caption, "png": encoded})
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    html = page.render(title=title, notes=notes, figures=figures, tables=tables)
    (folder / "report.html").write_text(html, encoding="utf-8")
    text = "\n\n".join([*notes, *(table.markdown for table in tables)])
    (folder / "tables.md").write_text(text + "\n", encoding="utf-8")


def shown(estimate: Estimate | dict[str, Any] | None, factor: float) -> str:
    """Value and interval as text; `factor` is 100 for a share in percent."""
    if estimate is None:
        return ""
    e = estimate if isinstance(estimate, Estimate) else Estimate(**estimate)
    places = 1 if factor == 100 or abs(e.value) >= 10 else 2
    value, low, high = (f"{factor * x:.{places}f}" for x in e[:3])
    return f"{value} [{low}, {high}]"


def write_panel(panel: Panel, file: Path) -> Path:
    """One panel as a PNG on light paper, its description in a text file beside it."""
    file.write_bytes(render(panel, LIGHT))
    file.with_suffix(".txt").write_text(f"{panel.caption}\n\n{panel.alt}\n")
    return file
