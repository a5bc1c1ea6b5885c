"""Plain documents: JSON Lines with a `text` a row. What is gone on pretraining with, and what contexts are measured on.

Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def read_documents(files: Iterable[Path]) -> list[str]:
    """The texts of all files, in order. Raises ValueError, naming file and row, for a row that is no document."""
    documents: list[str] = []
    for file in files:
        before = len(documents)
        with file.open(encoding="utf-8") as lines:
            documents += [_text(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
        if len(documents) == before:
            raise ValueError(f'{file} is empty; documents are JSON Lines: {{"text": "..."}} a row')
    return documents


def _text(file: Path, number: int, line: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, row {number} is no JSON ({error.msg}); documents are JSON Lines") from None
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'{file}, row {number} has no `text`; a document is {{"text": "..."}}')
    return text
