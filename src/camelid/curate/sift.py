"""The stage that filters rows by rule, with a count and samples for every reason.

    camelid sift --rows rows.jsonl --set licences='["Apache-2.0", "MIT"]' --set private_data=redact
    camelid sift --rows rows.jsonl --preset lima

Rules in the order in which they are asked: licence, length, empty, unfinished, phrases, repetition, private data,
language. A row is set aside for the first that hits, and counted for every one. Left out: what asks for judgement
(quality: `select`), rows that repeat others (`deduplicate`), and evaluation sets (`decontaminate`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from camelid.curate.pool import SetAside, answers_in, by_reason, instruction_of, read_pool, text_of_row
from camelid.curate.sift_rules import (
    REFUSALS,
    Lengths,
    empty,
    found_phrase,
    language,
    licence,
    out_of_range,
    phrase_pattern,
    redacted_row,
    repetitive,
    stops_early,
)
from camelid.durable import write_json
from camelid.functional.private_data import KINDS as PRIVATE_KINDS
from camelid.functional.private_data import find
from camelid.parts import messages_of
from camelid.runs import Run, Settings
from camelid.types import Record, write_records

SHOWN_CHARACTERS = 300


class SiftSettings(Settings):
    """Filtering rows by rule. Zero, one or empty switches a rule off, as its text says."""

    kind: Literal["conversations", "prompts"] = "conversations"
    """What the files hold; of prompts there are no answers to look at."""
    unit: Literal["words", "characters", "tokens"] = "words"
    """In what the lengths below are told; tokens are those of the input `model`."""
    min_instruction: int = Field(default=0, ge=0)
    """Shortest first turn of the user."""
    max_instruction: int = Field(default=0, ge=0)
    """Longest first turn of the user; 0 sets no limit."""
    min_answer: int = Field(default=0, ge=0)
    """Fewest units in all answers of a row together."""
    max_answer: int = Field(default=0, ge=0)
    """Most units in all answers of a row together; 0 sets no limit."""
    drop_empty: bool = True
    """Drop rows with an answer of nothing but punctuation, or one that says that there is none (`N/A`)."""
    drop_unfinished: bool = True
    """Drop rows with an answer that looks cut off: an open code block, a comma or `the` at its end, a long last line
    without a mark."""
    phrases: tuple[str, ...] = REFUSALS
    """Drop rows with an answer that says one of these, as whole words, in any case; none for none."""
    max_repetition: float = Field(default=0.3, gt=0, le=1)
    """Most runs of five words that occurred before in the same answer, as a share of all; 1 sets no limit."""
    private_data: Literal["drop", "redact", "off"] = "drop"
    """What to do with rows that hold personal data or secrets; redact writes the kind in brackets in their place."""
    private_kinds: tuple[str, ...] = tuple(PRIVATE_KINDS)
    """Which kinds are looked for."""
    keep_languages: tuple[str, ...] = ()
    """Keep these only, as ISO 639-1 codes; `unknown` is one of them; none for all (and nothing is told)."""
    licences: tuple[str, ...] = ()
    """Keep rows with one of these licences only; none for all. A row that states none is dropped."""
    samples: int = Field(default=3, ge=0)
    """Rows of each reason that reasons.json shows."""

    @field_validator("private_kinds")
    @classmethod
    def _there_are_such_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        find("", kinds)
        return kinds

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> SiftSettings:
        for name in ("instruction", "answer"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if high and low > high:
                raise ValueError(f"min_{name}={low} is above max_{name}={high}: no row would be left")
        return self


LIMA = SiftSettings(
    unit="characters",
    min_answer=1200,
    max_answer=4096,
    phrases=(*REFUSALS, "I", "my", "as mentioned", "stack exchange"),
)
"""LIMA's filter of answers from Stack Exchange (Zhou et al. 2023, arXiv:2305.11206, section 2.1): neither short nor
long, not in the first person, without references to other answers; beside our other rules."""
PRESETS = {"lima": LIMA}


def sift(run: Run) -> dict[str, Any]:
    """Stage: `rows` (one file or several), and `model` where tokens are counted -> rows.jsonl, set_aside.jsonl,
    reasons.json.

    Raises ValueError where no row is left.
    """
    s: SiftSettings = run.settings
    rows = read_pool(run, s.kind)
    lengths = _lengths(run, rows)
    kept: list[Record] = []
    aside: list[SetAside] = []
    hits: Counter[str] = Counter()
    private: Counter[str] = Counter()
    pattern = phrase_pattern(s.phrases)
    with run.progress("rows", len(rows)) as tick:
        for row, length in zip(rows, lengths, strict=True):
            reasons = _reasons(row, length, pattern, s)
            texts = [message.content for message in messages_of(row)] if s.private_data != "off" else []
            found = [finding for text in texts for finding in find(text, s.private_kinds)]
            private.update({finding.kind for finding in found})
            if found and s.private_data == "drop":
                reasons.append(f"private data: {', '.join(sorted({finding.kind for finding in found}))}")
            if s.keep_languages and (reason := language(text_of_row(row), s.keep_languages)):
                reasons.append(reason)
            hits.update({reason.partition(":")[0] for reason in reasons})
            if reasons:
                aside.append(SetAside(id=row.id, reason=reasons[0], row=row.model_dump(mode="json")))
            else:
                kept.append(redacted_row(row, s.private_kinds) if found else row)
            tick(1)
    write_records(run.path / "set_aside.jsonl", aside)
    counts = by_reason(aside)
    write_json(run.path / "reasons.json", {reason: _shown(aside, reason, s.samples) for reason in counts})
    if not kept:
        raise ValueError(f"no row is left of {len(rows)}: {counts}; see {run.path / 'reasons.json'}")
    write_records(run.path / "rows.jsonl", kept)
    return {
        "read": len(rows),
        "kept": len(kept),
        "set_aside_by_reason": counts,
        "rows_by_rule": dict(hits.most_common()),
        "rows_with_private_data": dict(private.most_common()),
        "redacted": sum("redacted" in row.tags for row in kept),
    }


def _reasons(row: Record, length: Lengths, pattern: Any, s: SiftSettings) -> list[str]:
    """All reasons but those that read the whole row."""
    answers = answers_in(row)
    asked = [
        licence(row.licence, s.licences),
        out_of_range("instruction", length.instruction, s.min_instruction, s.max_instruction, s.unit),
        out_of_range("answer", length.answer, s.min_answer, s.max_answer, s.unit) if answers else "",
        empty(answers) if s.drop_empty else "",
        stops_early(answers) if s.drop_unfinished else "",
        found_phrase(answers, pattern),
        repetitive(answers, s.max_repetition),
    ]
    return [reason for reason in asked if reason]


def _lengths(run: Run, rows: Sequence[Record]) -> list[Lengths]:
    s: SiftSettings = run.settings
    texts = [text for row in rows for text in (instruction_of(row), "\n".join(answers_in(row)))]
    if s.unit == "tokens":
        from camelid.models.token_counts import TokenCounts  # transformers; words need none

        counts = TokenCounts(run.inputs["model"]).of(texts)
    else:
        counts = [len(text.split()) if s.unit == "words" else len(text) for text in texts]
    return [Lengths(*pair) for pair in zip(counts[::2], counts[1::2], strict=True)]


def _shown(aside: Sequence[SetAside], reason: str, samples: int) -> dict[str, Any]:
    mine = [row for row in aside if row.category == reason]
    return {"rows": len(mine), "samples": [{"id": r.id, "reason": r.reason, "text": _text(r)} for r in mine[:samples]]}


def _text(aside: SetAside) -> str:
    turns = aside.row.get("messages") or aside.row.get("prompt") or []
    return "\n".join(turn["content"][:SHOWN_CHARACTERS] for turn in turns)
