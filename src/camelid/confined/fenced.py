"""Where in an answer the program stands."""

from __future__ import annotations

import re

FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
"""A block of code in Markdown's fence, or what follows one that is never closed."""


def fenced_code(answer: str) -> str:
    """The first fenced block; the whole answer where it has none."""
    found = FENCED.search(answer)
    return found[1] if found else answer
