"""The figures of a study: style over facts, style over a judge's wins, and the own task beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camelid.evaluate.imitation.cells import Cell
from camelid.evaluate.imitation.facts import mean_accuracy
from camelid.evaluate.imitation.figure_dots import STYLE_ROWS, dots_panel
from camelid.evaluate.imitation.figure_plane import Place, plane_panel
from camelid.evaluate.report.figure_style import Panel


def panels(study: dict[str, Any], cells: Sequence[Cell]) -> dict[str, tuple[str, Panel]]:
    """Title and panel by name of file. A figure that has nothing to show is left out."""
    counted, own, teacher = study["tasks_counted"], study["own_task"], study["teacher"]
    found: dict[str, tuple[str, Panel]] = {}
    facts = [(cell, cell.knowledge) for cell in cells if cell.kind != "local" and cell.knowledge]
    note = " Hollow: the start models; numbers: conversations imitated. Several seeds a point."
    if facts:
        places = [_place(cell, up) for cell, up in facts]
        label = f"facts: mean accuracy, {len(counted)} tasks"
        found["facts"] = "Style and facts, broad imitation", plane_panel(places, teacher, label, note=note)
    wins = [_place(cell, cell.wins_length_controlled) for cell in cells if cell.kind != "local"]
    label = f"judge prefers it to {teacher}, equal length"
    found["wins"] = "Style and a judge's preference", plane_panel(wins, teacher, label, note=note)
    largest = [cell for cell in cells if cell.layers == max(c.layers for c in cells) and cell.kind != "local"]
    series = {_amount(cell): [cell.style.get(field) for field in STYLE_ROWS.values()] for cell in largest}
    caption = f"The largest start model beside {teacher}, by number of conversations imitated."
    found["style"] = (
        "Style, measure by measure",
        dots_panel(list(STYLE_ROWS), series, f"beside {teacher}'s answers", caption, rule_before=6),
    )
    if any(cell.kind == "local" for cell in cells):
        found["local"] = "Broad and local imitation", _local_panel(cells, own, [t for t in counted if t != own])
    return found


def _local_panel(cells: Sequence[Cell], own: str, others: Sequence[str]) -> Panel:
    """The own task and the mean of the others, before and after broad and local imitation, a row a size."""
    layers = sorted({cell.layers for cell in cells if cell.kind == "local"}, reverse=True)
    most = {(c.layers, c.kind): c for c in sorted(cells, key=lambda cell: cell.amount)}
    rows = [f"{own}, {n} layers" for n in layers]
    rows += [f"mean of {len(others)} others, {n} layers" for n in layers] if others else []
    series = {}
    for kind in ("start", "broad", "local"):
        chosen = [most.get((n, kind)) for n in layers]
        estimates = [cell.facts.get(own) if cell else None for cell in chosen]
        if others:
            estimates += [mean_accuracy(cell.facts, others) if cell else None for cell in chosen]
        series[kind] = estimates
    caption = f"Local imitation is of {own}'s own questions; broad is the largest amount. Bars are 95% intervals."
    return dots_panel(rows, series, "accuracy", caption, rule_before=len(layers) if others else None)


def _place(cell: Cell, up: Any) -> Place:
    return Place(_amount(cell), f"{cell.layers} layers", cell.style["similarity"], up, start=cell.kind == "start")


def _amount(cell: Cell) -> str:
    return str(cell.amount)
