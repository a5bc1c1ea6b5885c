"""How much of a benchmark stood in the training data, and the score on what did not.

An item is looked for with its right answer, as it would stand in front of another question. Measures and their sources:
`functional/contamination.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.evaluate.contamination import contaminated
from camelid.evaluate.tasks.task import Question
from camelid.rows import read_values, text_of

Seen = tuple[dict[str, Any], set[int]]


def contamination(questions: Sequence[Question], files: Sequence[Path]) -> Seen:
    """Estimates, in percent, of the shares of contaminated items, and the places of the dirty ones.

    Where no item is long enough to be looked for, the reason stands under `unknown`. Raises ValueError where a file
    holds no text.
    """
    texts = [text for file in files for text in _texts(file)]
    described: dict[str, Any] = {"training_files": [str(file) for file in files], "training_rows": len(texts)}
    try:
        report = contaminated([question.example for question in questions], texts)
    except ValueError as error:
        return described | {"unknown": str(error)}, set()
    dirty = [found for found in report.found if found.overlap.dirty]
    described |= {
        "too_short": report.too_short,
        "dirty": report.dirty.percent._asdict(),
        "not_clean": report.not_clean.percent._asdict(),
        "exact_13": report.exact_13.percent._asdict(),
        "dirty_items": [questions[found.item].id for found in dirty],
    }
    return described, {found.item for found in dirty}


def _texts(file: Path) -> list[str]:
    texts = [text for value in read_values(file) if (text := text_of(value.value)).strip()]
    if not texts:
        raise ValueError(f"{file} holds no text to look for benchmark items in")
    return texts
