"""Reading a file of any known format into records. A row that does not fit is set aside with a reason, never repaired.

    result = read("lima.json", want=Conversation, licence="CC-BY-NC-SA-4.0")
    print(summary(result))

A row that repeats another is set aside as well, but is no bad row: `strict` lets it pass.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from camelid.collect.drafts import Unfit, natural, to_record
from camelid.collect.files import raw_rows
from camelid.collect.formats import detect, parser
from camelid.collect.json_text import RawRow
from camelid.collect.own import own_kind, parse_own
from camelid.types import Conversation, Preference, Ranking, Record, write_records

R = TypeVar("R", bound=Record)

SAMPLED_ROWS = 200
"""Rows from whose keys the format is told."""
REPEATS = "repeats row with the same content"


class SetAside(BaseModel):
    """A row that was not taken, and why: `category: detail; mend`."""

    model_config = ConfigDict(frozen=True)

    file: str
    line: int
    reason: str
    raw: Any

    @property
    def category(self) -> str:
        return self.reason.partition(":")[0]


@dataclass(frozen=True)
class ReadResult(Generic[R]):
    """What `read` found: `lines[i]` is the line of `rows[i]`."""

    path: str
    format: str
    """The format that was told or given; `unknown` for a file without rows."""
    rows: list[R]
    lines: list[int]
    set_aside: list[SetAside]

    @property
    def counts(self) -> dict[str, int]:
        """Rows read, kept and set aside."""
        kept, aside = len(self.rows), len(self.set_aside)
        return {"read": kept + aside, "kept": kept, "set_aside": aside}

    @property
    def by_reason(self) -> dict[str, int]:
        """Number of rows set aside by category, most frequent first."""
        return dict(Counter(row.category for row in self.set_aside).most_common())


def read(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    want: type[R] = Conversation,  # type: ignore[assignment]
    strict: bool = False,
    source: str = "",
    licence: str = "",
) -> ReadResult[R]:
    """All records of type `want` in a file, and the rows that are none.

    `source` defaults to the file's name. Rows in camelid's own format keep the source and licence that they name.
    Raises ValueError where the format cannot be told, where the file is no container that we read, and, if `strict`,
    at the first row that does not fit.
    """
    path = Path(path)
    name, raws = _open(path, format)
    rows: list[R] = []
    lines: list[int] = []
    aside: list[SetAside] = []
    seen: dict[str, int] = {}
    for raw in raws:
        try:
            records = _records(raw, name, want, source or path.name, licence)
        except Unfit as reason:
            if strict:
                raise ValueError(f"{path}, line {raw.line}: {reason}") from None
            aside.append(SetAside(file=str(path), line=raw.line, reason=str(reason), raw=raw.value))
            continue
        for record in records:
            earlier = seen.setdefault(record.id, len(rows))
            if earlier < len(rows):
                reason_text = repeats(record, rows[earlier], f"line {lines[earlier]}")
                aside.append(SetAside(file=str(path), line=raw.line, reason=reason_text, raw=raw.value))
                continue
            rows.append(record)
            lines.append(raw.line)
    return ReadResult(str(path), name, rows, lines, aside)


def look(path: str | os.PathLike[str], *, format: str = "auto") -> tuple[str, type[Record]]:
    """The format of a file, and the record that most of its first rows are by themselves."""
    name, raws = _open(Path(path), format)
    kinds: Counter[type[Record]] = Counter()
    for raw in islice(raws, SAMPLED_ROWS):
        if not raw.problem and name == "camelid":
            kinds[own_kind(raw.value)] += 1
        elif not raw.problem:
            try:
                kinds[natural(parser(name).parse(raw.value))] += 1
            except Unfit:
                continue
    return name, kinds.most_common(1)[0][0] if kinds else Conversation


def _open(path: Path, format: str) -> tuple[str, Iterator[RawRow]]:
    """The format's name and all rows of a file."""
    if format not in ("auto", "camelid"):
        parser(format)
    raws = raw_rows(path)
    head: list[RawRow] = []
    values: list[Any] = []
    while len(values) < SAMPLED_ROWS and (raw := next(raws, None)):
        head.append(raw)
        if not raw.problem:
            values.append(raw.value)
    name = detect(values) if format == "auto" else format
    if name is None and values:
        raise ValueError(
            f"{path}: cannot tell the format from the keys {', '.join(values[0])!r}; name it, or rename the keys to "
            f"messages, conversations, instruction and output, prompt and completion, or prompt, chosen and rejected"
        )
    return name or "unknown", chain(head, raws)


def _records(raw: RawRow, format: str, want: type[R], source: str, licence: str) -> Sequence[R]:
    """The record in a row; of a ranking, where preferences are wanted, all its pairs."""
    if raw.problem:
        raise Unfit(raw.problem)
    draft = None if format == "camelid" else parser(format).parse(raw.value)
    is_ranking = (own_kind(raw.value) if draft is None else natural(draft)) is Ranking
    kind: Any = Ranking if is_ranking and want is Preference else want
    if draft is None:
        found = parse_own(raw.value, kind, source=source, licence=licence)
    else:
        found = to_record(draft, kind, source=source, licence=licence)
    return [found] if kind is want else found.preferences()


def repeats(record: Record, earlier: Record, place: str) -> str:
    """The reason for which a row with the id of an earlier one is set aside."""
    labels = {"source", "licence", "tags"}
    if record.model_dump(exclude=labels) == earlier.model_dump(exclude=labels):
        return f"{REPEATS}: {place}"
    return f"repeats an id: {place} has the id {record.id!r} and other content; give each row an id of its own"


def write_set_aside(path: str | os.PathLike[str], rows: Iterable[SetAside]) -> int:
    """Write rows that were set aside as JSON Lines of file, line, reason and raw row. Returns their number."""
    return write_records(path, (_writable(row) for row in rows))


def _writable(row: SetAside) -> SetAside:
    """The same row with a raw value that UTF-8 JSON can hold: dates as text, half a surrogate pair as `?`."""
    try:
        raw = json.loads(json.dumps(row.raw, default=str, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raw = repr(type(row.raw))
    return row.model_copy(update={"raw": raw})


def summary(result: ReadResult[Any]) -> str:
    """What was read and what was set aside, for people: a line of counts, then a line for each reason."""
    counts = result.counts
    text = [
        f"{result.path} ({result.format}): {counts['read']:,} rows read, {counts['kept']:,} kept, "
        f"{counts['set_aside']:,} set aside"
    ]
    for category, number in result.by_reason.items():
        first = next(row for row in result.set_aside if row.category == category)
        text.append(f"  {number:>7,}  {category}; first on line {first.line}:{first.reason.removeprefix(category)[1:]}")
    return "\n".join(text)
