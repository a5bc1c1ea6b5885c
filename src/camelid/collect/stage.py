"""The stage that brings data in: files of any known format become rows.jsonl, and what was not taken set_aside.jsonl.

    Stage("data", import_data, ImportSettings(licence="CC-BY-NC-SA-4.0"),
          {"data": Path("lima.json"), "exclude": [Path("lima_test_300.jsonl")]})

Rows are dropped in this order: those that do not fit or repeat another, those that repeat an evaluation prompt, those
that are too long, and last, by a seeded draw, those beyond `max_rows`. A row that was not drawn is not set aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import model_validator

from camelid.collect.formats import FormatName
from camelid.collect.overlap import Overlap
from camelid.collect.readers import REPEATS, ReadResult, SetAside, read, repeats, write_set_aside
from camelid.parts import messages_of, words_in
from camelid.runs import Run, Settings, derived_seed
from camelid.types import KINDS, Kind, Prompt, Record, draw, write_records


class ImportSettings(Settings):
    format: FormatName | Literal["auto"] = "auto"
    """Format of the data's rows; auto tells it from the rows of each file."""
    kind: Literal["conversations", "preferences", "prompts", "rankings"] = "conversations"
    """What to make of the rows. All of them also give prompts, and rankings the preferences in them."""
    licence: str = ""
    """SPDX name of the data's licence, written into every row that does not name its own."""
    tags: tuple[str, ...] = ()
    """Tags that every row gets besides its own: `unsafe` for a file of prompts that ask for harm."""
    about: Kind | None = None
    """What verdicts are on, helpfulness or safety, where their file does not say so and all are on one."""
    max_rows: int = 0
    """Draw at most so many rows, at random by the seed; 0 takes all. A larger draw contains the smaller ones."""
    max_words: int = 0
    """Set aside rows of more words than this in all turns and answers together; 0 sets no limit."""
    strict: bool = False
    """Stop at the first row that does not fit instead of setting it aside."""

    @model_validator(mode="after")
    def _verdicts(self) -> ImportSettings:
        if self.about and self.kind not in ("preferences", "rankings"):
            raise ValueError(
                f"about = {self.about!r} says what verdicts are on, and {self.kind} are none; leave it out"
            )
        return self


class Row(NamedTuple):
    """A row and where it was read."""

    record: Record
    file: str
    line: int

    def set_aside(self, reason: str) -> SetAside:
        return SetAside(file=self.file, line=self.line, reason=reason, raw=self.record.model_dump(mode="json"))


def import_data(run: Run) -> dict[str, Any]:
    """Read `run.inputs["data"]`, leave rows.jsonl and set_aside.jsonl, return counts.

    Every input is a path or a list of paths. A row with a user turn that repeats a prompt in `run.inputs["exclude"]` is
    set aside. Raises ValueError where no row is left, or where an `exclude` file holds no prompt.
    """
    settings: ImportSettings = run.settings
    results = [_read(path, settings) for path in _paths(run.inputs["data"])]
    aside = [row for result in results for row in result.set_aside]
    excluded, unread = _excluded(_paths(run.inputs.get("exclude", [])))
    rows = list(_taken(results, excluded, settings.max_words, aside))
    drawn = draw(rows, settings.max_rows, derived_seed(settings.seed, "import_data"))
    reasons = Counter(row.category for row in aside)
    write_set_aside(run.path / "set_aside.jsonl", [*aside, *unread])
    if not drawn:
        found = "; ".join(f"{number} {category}" for category, number in reasons.most_common()) or "the files are empty"
        raise ValueError(f"no {settings.kind} are left of {run.inputs['data']}: {found}")
    write_records(run.path / "rows.jsonl", (labelled(row.record, settings) for row in drawn))
    return {
        "read": len(rows) + len(aside),
        "kept": len(drawn),
        "set_aside": len(aside),
        "not_drawn": len(rows) - len(drawn),
        "set_aside_by_reason": dict(reasons.most_common()),
        "formats": {Path(result.path).name: result.format for result in results},
        "excluded_prompts": len(excluded),
        "excluded_prompts_not_read": len(unread),
    }


def labelled(record: Record, settings: ImportSettings) -> Record:
    """The record with the settings' tags and, of a verdict, what it is on. Its id stays."""
    tags = tuple(dict.fromkeys((*record.tags, *settings.tags)))
    about = {"kind": settings.about} if settings.about and hasattr(record, "kind") else {}
    return record.model_copy(update={"tags": tags} | about)


def _paths(value: Any) -> list[Path]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _read(path: Path, settings: ImportSettings) -> ReadResult[Record]:
    kind = KINDS[settings.kind]
    return read(path, format=settings.format, want=kind, strict=settings.strict, licence=settings.licence)


def _excluded(paths: list[Path]) -> tuple[Overlap, list[SetAside]]:
    """The evaluation prompts, by their last user turn, and the rows of their files that could not be read."""
    prompts: list[str] = []
    unread: list[SetAside] = []
    for path in paths:
        result = read(path, want=Prompt)
        if not result.rows:
            raise ValueError(f"{path}: holds no prompt, so that nothing would be excluded; give a file of prompts")
        prompts += [prompt.prompt[-1].content for prompt in result.rows]
        unread += [row for row in result.set_aside if row.category != REPEATS]
    return Overlap(prompts), unread


def _taken(
    results: list[ReadResult[Record]], excluded: Overlap, max_words: int, aside: list[SetAside]
) -> Iterator[Row]:
    """The rows to keep. Repeats of an earlier file's row or of a prompt, and rows too long, are added to `aside`."""
    seen: dict[str, Row] = {}
    for result in results:
        for record, line in zip(result.rows, result.lines, strict=True):
            row = Row(record, result.path, line)
            earlier = seen.setdefault(record.id, row)
            if earlier is not row:
                place = f"{Path(earlier.file).name}, line {earlier.line}"
                aside.append(row.set_aside(repeats(record, earlier.record, place)))
                continue
            reason = _overlapping(record, excluded) or _too_long(record, max_words)
            if reason:
                aside.append(row.set_aside(reason))
            else:
                yield row


def _overlapping(record: Record, excluded: Overlap) -> str:
    for message in messages_of(record):
        match = excluded.match(message.content) if message.role == "user" else None
        if match:
            return f"repeats an evaluation prompt: {match.share:.0%} of 5-grams shared with {match.prompt[:80]!r}"
    return ""


def _too_long(record: Record, max_words: int) -> str:
    words = words_in(record)
    return f"too long: {words} words, the limit is {max_words}" if max_words and words > max_words else ""
