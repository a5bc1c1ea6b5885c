"""Answers as tables on stdout: with colour and rules in a terminal, plain columns where the output is piped."""

from __future__ import annotations

import sys
from collections.abc import Sequence

PIPED_WIDTH = 200
"""Columns that a piped table may take before cells are folded."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print `rows` under `columns`, those named in `right` to the right; a last row named "total" stands apart."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(box=SIMPLE_HEAD if terminal else None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        total = bool(row) and row[0] == "total"
        if total:
            table.add_section()
        table.add_row(*(Text(cell) for cell in row), style="bold" if total else None)  # Text: no markup in data
    console = Console(width=None if terminal else PIPED_WIDTH)
    with console.capture() as capture:  # printed by ourselves: rich ends the program where a pipe is closed
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def shown_seconds(seconds: float) -> str:
    """`0.2 s`, `12 s`, `12 min 30 s`, `3 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def shown_count(number: float) -> str:
    """`930`, `52.8k`, `1.2M`; nothing for 0."""
    if not number:
        return ""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def shown_usd(dollars: float) -> str:
    """`0.0132`, `1,234.50`."""
    return f"{dollars:,.2f}" if dollars >= 1 else f"{dollars:.4f}"


def shown_bytes(number: float) -> str:
    """`1.3 GB`; nothing for 0."""
    return f"{number / 1e9:.1f} GB" if number else ""
