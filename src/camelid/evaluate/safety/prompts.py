"""Which prompts ask for harm, and in what way: prompt files named with `--prompts`, for answers that do not say.

Read are XSTest's prompts (`label`, `type`), ours (`tags`) and the files of Bianchi et al. 2024 (arXiv:2309.07875), one
JSON object with `instructions`. Those do not say whether their prompts ask for harm; what their authors say is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from camelid.evaluate.answer_files import prompt_of, tags_of
from camelid.evaluate.safety.replies import HARMLESS, KIND_TAGS, UNSAFE, XSTEST_SAFE, Reply, kind_of
from camelid.rows import Row, read_rows
from camelid.types import Message, Messages

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
    borderline: bool = False
    """Harmless, and sounds dangerous: tagged so, or one of XSTest's safe prompts."""


def read_prompts(paths: Iterable[str | Path]) -> dict[str, Asked]:
    """Prompt text -> what is known of it. Raises ValueError for a file that says nothing of its prompts."""
    return {messages[-1].content.strip(): asked for path in paths for messages, asked in prompts_of(Path(path))}


def prompts_of(path: Path) -> list[tuple[Messages, Asked]]:
    """The prompts of a file, whole, with what is known of each. Raises ValueError as `read_prompts` does."""
    rows = read_rows(path, "a prompt, and label or tags")
    held = rows[0].values.get("instructions")
    return _instructions(path, held) if isinstance(held, list) else [_asked(row) for row in rows]


def _instructions(path: Path, texts: list[Any]) -> list[tuple[Messages, Asked]]:
    if path.stem not in KNOWN_FILES:
        raise ValueError(
            f"{path}: whether its prompts ask for harm is known of {', '.join(KNOWN_FILES)} only; give tags"
        )
    asked = Asked(KNOWN_FILES[path.stem], (path.stem,))
    return [((Message(role="user", content=str(text).strip()),), asked) for text in texts]


def _asked(row: Row) -> tuple[Messages, Asked]:
    kind, categories = kind_of(row.values)
    kind = {"safe": HARMLESS, "unsafe": UNSAFE}.get(str(row.values.get("label")), kind)
    if not kind:
        raise ValueError(
            f"{row.place} does not say whether it asks for harm: give `label` or one of {', '.join(KIND_TAGS)}"
        )
    sounds_dangerous = "borderline" in tags_of(row.values) or not set(XSTEST_SAFE).isdisjoint(categories)
    return prompt_of(row), Asked(kind, categories, kind == HARMLESS and sounds_dangerous)


def with_kinds(replies: Sequence[Reply], known: dict[str, Asked]) -> list[Reply]:
    """Those replies whose prompt is known, with what is known of it."""
    return [
        reply._replace(kind=asked.kind, categories=asked.categories)
        for reply in replies
        if (asked := known.get(reply.prompt.strip()))
    ]
