"""Markdown in which other people's words stay words: code spans, escaped text, tables."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_MARKUP = re.compile(r"([\\`*_\[\]#|~!])")


def plain(text: str) -> str:
    """Text on one line that Markdown and HTML show as it is."""
    return _MARKUP.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def code(text: object) -> str:
    """A code span; it cannot hold a backtick, which becomes an apostrophe, and a pipe would end a table's cell."""
    shown = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A Markdown table; cells are taken as they are, columns whose place is in `right` to the right."""
    rule = ["---:" if place in right else "---" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def slug(name: str) -> str:
    """A name as a file's name: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "unnamed"
