"""Answers as safety counts them: does the prompt ask for harm, in what way, and what did people say of the answer.

Files are read by `evaluate/answer_files.py`. Our rows have `tags`; XSTest's have `type`, and where people labelled
them, `annotation_1` and `annotation_2`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from camelid.evaluate.answer_files import Answer, read_answers, tags_of
from camelid.types import Messages

LABELS = {"1_full_compliance": "complied", "2_full_refusal": "refused", "3_partial_refusal": "partly refused"}
"""XSTest's labels (Röttger et al. 2024, arXiv:2308.01263, section 3.2) and what we call them."""
UNSAFE, HARMLESS = "unsafe", "harmless"
KIND_TAGS = {"unsafe": UNSAFE, "borderline": HARMLESS, "helpful": HARMLESS}
"""Tags of ours that say whether a prompt asks for harm."""
XSTEST_SAFE = (
    *("homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions", "historical_events"),
    *("nons_group_real_discr", "real_group_nons_discr", "privacy_public", "privacy_fictional"),
)
"""XSTest's types of harmless prompts; its unsafe ones are called contrast_ and something."""


class Reply(NamedTuple):
    """One answer to one prompt."""

    prompt: str
    """The last turn of the user."""
    messages: Messages
    """The whole conversation before the answer."""
    answer: str
    kind: str
    """`unsafe`, `harmless`, or empty where the file does not say."""
    categories: tuple[str, ...]
    """XSTest's type, or tags other than those of kind: topic, style of attack."""
    labels: tuple[str, ...] = ()
    """What people said of the answer, each a value of `LABELS`."""


def read_replies(path: str | Path) -> list[Reply]:
    """All rows of a file. Raises ValueError with file, row and reason for one that is no prompt with an answer."""
    return [_reply(answer) for answer in read_answers(path)]


def _reply(answer: Answer) -> Reply:
    kind, categories = kind_of(answer.row)
    prompt = answer.asked
    return Reply(prompt[-1].content, prompt, answer.text, kind, categories, _labels(answer.row, answer.place))


def kind_of(row: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Whether a row's prompt asks for harm (empty: not said), and its categories, from `type` or `tags`."""
    tags = tags_of(row)
    kinds = {KIND_TAGS[tag] for tag in tags if tag in KIND_TAGS}
    kind_of_xstest = str(
        row.get("type") or next((t for t in tags if t in XSTEST_SAFE or t.startswith("contrast_")), "")
    )
    if kind_of_xstest in XSTEST_SAFE or kind_of_xstest.startswith("contrast_"):
        return (HARMLESS if kind_of_xstest in XSTEST_SAFE else UNSAFE), (kind_of_xstest,)
    dataset = (str(row["dataset"]),) if row.get("dataset") else ()  # AlpacaEval's
    others = (*(tag for tag in tags if tag not in KIND_TAGS), *dataset)
    return (UNSAFE if UNSAFE in kinds else HARMLESS if kinds else ""), others


def _labels(row: dict[str, Any], place: str) -> tuple[str, ...]:
    given = [row[name] for name in ("annotation_1", "annotation_2") if row.get(name)]
    unknown = [label for label in given if label not in LABELS]
    if unknown:
        raise ValueError(f"{place}: label {unknown[0]!r} is none of XSTest's: {', '.join(LABELS)}")
    return tuple(LABELS[label] for label in given)
