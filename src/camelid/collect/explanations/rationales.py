"""What is a rationale worth to who learns from it? One set of questions, and three ways of answering them.

    answer      72
    rationale   Natalia sold 48 / 2 = 24 clips in May. ... So the answer is 72.
    explained   the same, under a system message that asks for an explanation

Orca's question (arXiv:2306.02707) put to data that is at hand: rationales that people wrote, in files that the format
`rationales` reads (`collect/formats/rationales.py`). Which questions are held out, and each one's system message, do
not depend on the answer's form, so that models trained on the three files differ in nothing else.

    camelid rationales --data gsm8k_train.tsv strategyqa_train.tsv --set licence=Apache-2.0 --set held_out=200
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from camelid.collect.drafts import Unfit
from camelid.collect.explanations.messages import (
    MULTIPLE_CHOICE,
    Collection,
    is_multiple_choice,
    load_system_messages,
)
from camelid.collect.files import raw_rows
from camelid.collect.formats.rationales import SO, Reasoned, reasoned
from camelid.collect.readers import SetAside, write_set_aside
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Message, Prompt, draw, write_records

Target = Literal["answer", "rationale", "explained"]
TARGETS: tuple[Target, ...] = ("answer", "rationale", "explained")


class RationaleSettings(Settings):
    """Three targets for one set of questions."""

    licence: str = ""
    """SPDX name of the data's licence, written into every row."""
    max_rows: int = Field(default=0, ge=0)
    """Draw at most so many questions of each file, those held out among them; 0 takes all."""
    held_out: int = Field(default=0, ge=0)
    """Questions of each file that no target has; they are asked (held_out.jsonl)."""
    so: str = SO
    """The line with which a rationale comes to its answer."""
    collection: Collection = "cot"
    """Sub-collection from whose row of the table system messages are drawn."""

    @field_validator("so")
    @classmethod
    def _holds_the_answer(cls, so: str) -> str:
        if so.count("{answer}") != 1 or so.replace("{answer}", "").count("{"):
            raise ValueError(f"so = {so!r} must have {{answer}} where the answer stands, once")
        return so


def rationale_targets(run: Run) -> dict[str, Any]:
    """Stage: `data` -> answer.jsonl, rationale.jsonl, explained.jsonl (each question in all), held_out.jsonl."""
    s: RationaleSettings = run.settings
    known = load_system_messages(*([run.inputs["system_messages"]] if "system_messages" in run.inputs else []))
    data = run.inputs["data"]
    aside: list[SetAside] = []
    rows: dict[Target, list[Conversation]] = {target: [] for target in TARGETS}
    held_out: list[Prompt] = []
    drawn: Counter[int] = Counter()
    seen: set[str] = set()
    for file in data if isinstance(data, list) else [data]:
        found = draw(_read(file, s, seen, aside), s.max_rows, derived_seed(s.seed, "rows", file.name))
        if not found:
            why = ", ".join(sorted({one.reason.partition(":")[0] for one in aside if one.file == str(file)}))
            raise ValueError(f"{file} has no question with its answer and rationale ({why or 'it is empty'})")
        if s.held_out >= len(found):
            raise ValueError(f"{file}: held_out = {s.held_out} leaves nothing to learn of {len(found)} questions")
        asked = (
            {p.id for p, _ in draw(found, s.held_out, derived_seed(s.seed, "held out", file.name))}
            if s.held_out
            else ()
        )
        for prompt, reasons in found:
            if prompt.id in asked:
                held_out.append(prompt)
                continue
            message = known.draw(prompt, s.collection, s.seed)
            drawn[message.number] += 1
            for target in TARGETS:
                rows[target].append(_answered(prompt, reasons, target, message.text, s.so))
    for target, own in rows.items():
        write_records(run.path / f"{target}.jsonl", own)
    write_records(run.path / "held_out.jsonl", held_out)
    write_set_aside(run.path / "set_aside.jsonl", aside)
    return {
        "num_questions": len(rows["answer"]),
        "held_out": len(held_out),
        "multiple_choice": sum(MULTIPLE_CHOICE in row.tags for row in rows["answer"]),
        "system_messages": dict(sorted(drawn.items())),
        "set_aside_by_reason": dict(Counter(row.category for row in aside).most_common()),
    }


def _read(file: Path, s: RationaleSettings, seen: set[str], aside: list[SetAside]) -> list[tuple[Prompt, Reasoned]]:
    """A file's questions, each once; what does not fit, or was seen before, goes to `aside`."""
    found = []
    for raw in raw_rows(file):
        try:
            if raw.problem:
                raise Unfit(raw.problem)
            reasons = reasoned(raw.value)
            if reasons.question in seen:
                raise Unfit(f"repeats a question: {reasons.question[:80]!r}; it would be learnt and asked")
        except Unfit as reason:
            aside.append(SetAside(file=str(file), line=raw.line, reason=str(reason), raw=raw.value))
            continue
        seen.add(reasons.question)
        prompt = Prompt(
            prompt=(Message(role="user", content=reasons.question),),
            answer=reasons.answer,
            source=file.name,
            licence=s.licence,
            tags=(s.collection,),
        )
        choices = (MULTIPLE_CHOICE,) if is_multiple_choice(prompt) else ()
        found.append((prompt.model_copy(update={"tags": (*prompt.tags, *choices)}), reasons))
    return found


def _answered(prompt: Prompt, reasons: Reasoned, target: Target, system: str, so: str) -> Conversation:
    text = reasons.answer if target == "answer" else reasons.told(so)
    told = (Message(role="system", content=system),) if target == "explained" and system else ()
    return Conversation(
        messages=(*told, *prompt.prompt, Message(role="assistant", content=text)),
        source=prompt.source,
        licence=prompt.licence,
        tags=(*prompt.tags, target),
    )
