"""Files of prompts and answers, whoever wrote them: ours (answers.jsonl), AlpacaEval's outputs, XSTest's completions.

JSON Lines, JSON (an array) or CSV. A row needs the prompt and the answer under one of the names below. Ours has the
prompt as a list of messages and keeps tags; XSTest's has `type`, and where people labelled it, `annotation_1` and
`annotation_2`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from camelid.types import Message, Messages

PROMPT_NAMES = ("prompt", "instruction", "question")
ANSWER_NAMES = ("completion", "output", "answer", "response", "text")
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
    replies = [_reply(row, f"{path}, row {number}") for number, row in enumerate(read_rows(path), 1)]
    if not replies:
        raise ValueError(f"{path} holds no rows")
    return replies


def read_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of a .csv, a JSON array or a JSON Lines file as dictionaries."""
    path = Path(path)
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}); unpack or convert it"
        ) from None
    if path.suffix == ".json" and text.lstrip()[:1] == "{":
        text = f"[{text}]"  # one object, perhaps over many lines
    if text.lstrip()[:1] == "[":
        rows = _decode(text, f"{path}")
    else:
        numbered = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        rows = [_decode(line, f"{path}, line {number}") for number, line in numbered]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(
                f"{path}, row {number} is {json.dumps(row)[:60]}, not an object with a prompt and an answer"
            )
        yield row


def _decode(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: not JSON ({error.msg}); give .jsonl, a JSON array or .csv") from None


def prompt_of(row: dict[str, Any], place: str) -> Messages:
    """The prompt of a row, one turn or several."""
    prompt = _field(row, PROMPT_NAMES, place)
    try:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        return tuple(Message.model_validate(turn) for turn in turns)
    except (TypeError, ValidationError):
        raise ValueError(f"{place}: the prompt must be text or a list of messages with role and content") from None


def _reply(row: dict[str, Any], place: str) -> Reply:
    messages, answer = prompt_of(row, place), _field(row, ANSWER_NAMES, place)
    if not messages or not isinstance(answer, str):
        raise ValueError(f"{place}: the answer must be text and the prompt not empty")
    kind, categories = kind_of(row)
    return Reply(messages[-1].content, messages, answer, kind, categories, _labels(row, place))


def _field(row: dict[str, Any], names: Sequence[str], place: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ValueError(f"{place} has none of the columns {', '.join(names)}; it has {', '.join(map(str, row))[:120]}")


def kind_of(row: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Whether a row's prompt asks for harm (empty: not said), and its categories, from `type` or `tags`."""
    given = row.get("tags") or ()
    tags = tuple(tag.strip() for tag in (given.split(",") if isinstance(given, str) else map(str, given)))
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
