"""Vicuna's judgements as review files, the form that `camelid eval vicuna FOLDER` sums up.

One file an order of display: review_FIRST_SECOND.jsonl, and review_SECOND_FIRST.jsonl for the swapped. A reply that
cannot be read has the scores -1 -1, as in FastChat's files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.judges.asking import Journal
from camelid.judges.case import Judged


def write_reviews(folder: Path, judged: Sequence[Judged], journal: Journal, models: Sequence[str]) -> None:
    """Write both files, anew."""
    folder.mkdir(exist_ok=True)
    texts = {(row["case"], row["order"]): row["text"] for row in journal.rows}
    names = file_names(models)
    for index, order in enumerate(judged[0].case.orders):
        rows = [_review(j, index, texts[j.case.id, order]) for j in judged]
        first, second = names if order == "given" else names[::-1]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"review_{first}_{second}.jsonl").write_text(text, encoding="utf-8")


def file_names(models: Sequence[str]) -> list[str]:
    """The models' names without what a file's name cannot hold, _ included, which stands between the two."""
    names = [re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "model" for name in models]
    return names if len({*names}) == len(names) else [f"{name}-{i}" for i, name in enumerate(names, 1)]


def _review(judged: Judged, index: int, text: str) -> dict[str, Any]:
    said = judged.said[index]
    shown = said.scores if said is not None else (-1.0, -1.0)
    # Scores stand in the order of the file's name, which is the order of display.
    score = list(shown if index == 0 or said is None else shown[::-1])
    return {"question_id": judged.case.question_id, "text": text, "score": score}
