"""Which prompts ask for harm, and in what way: prompt files named with `--prompts`, for answers that do not say.

Read are XSTest's prompts (`label`, `type`), ours (`tags`) and the files of Bianchi et al. 2024 (arXiv:2309.07875), one
JSON object with `instructions`. Those do not say whether their prompts ask for harm; what their authors say is here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from camelid.evaluate.safety.replies import HARMLESS, KIND_TAGS, UNSAFE, Reply, kind_of, prompt_of, read_rows

MIXED = "mixed"
"""Red-team questions some of which anybody may answer: neither refusing nor answering all of them is right."""
KNOWN_FILES = {
    "I-Alpaca": HARMLESS,
    "I-PhysicalSafetySafe": HARMLESS,
    "I-CoNa": UNSAFE,
    "I-Controversial": UNSAFE,
    "I-MaliciousInstructions": UNSAFE,
    "I-PhysicalSafetyUnsafe": UNSAFE,
    "Q-Harm": MIXED,
}
"""The prompt sets of Bianchi et al. by file name."""


class Asked(NamedTuple):
    """What is known of a prompt."""

    kind: str
    categories: tuple[str, ...]


def read_prompts(paths: Iterable[str | Path]) -> dict[str, Asked]:
    """Prompt text -> what is known of it. Raises ValueError for a file that says nothing of its prompts."""
    known: dict[str, Asked] = {}
    for path in map(Path, paths):
        found = _instructions(path) if path.suffix == ".json" else _rows(path)
        if not found:
            raise ValueError(f"{path} holds no prompts")
        known |= found
    return known


def _instructions(path: Path) -> dict[str, Asked]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("instructions"), list):
        return _rows(path)
    if path.stem not in KNOWN_FILES:
        raise ValueError(
            f"{path}: whether its prompts ask for harm is known of {', '.join(KNOWN_FILES)} only; give tags"
        )
    return {str(text).strip(): Asked(KNOWN_FILES[path.stem], (path.stem,)) for text in content["instructions"]}


def _rows(path: Path) -> dict[str, Asked]:
    result = {}
    for number, row in enumerate(read_rows(path), 1):
        place = f"{path}, row {number}"
        kind, categories = kind_of(row)
        kind = {"safe": HARMLESS, "unsafe": UNSAFE}.get(str(row.get("label")), kind)
        if not kind:
            raise ValueError(
                f"{place} does not say whether it asks for harm: give `label` or one of {', '.join(KIND_TAGS)}"
            )
        result[prompt_of(row, place)[-1].content.strip()] = Asked(kind, categories)
    return result


def with_kinds(replies: Sequence[Reply], known: dict[str, Asked]) -> list[Reply]:
    """Those replies whose prompt is known, with what is known of it."""
    return [
        reply._replace(kind=asked.kind, categories=asked.categories)
        for reply in replies
        if (asked := known.get(reply.prompt.strip()))
    ]
