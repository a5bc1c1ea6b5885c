"""The stage that cleans ShareGPT's conversations as Vicuna's authors did, with a count for every rule.

    camelid clean-sharegpt --data sharegpt.json --model smollm2-135m --set licence=CC0-1.0

Sources: FastChat's `clean_sharegpt.py`, `optional_clean.py`, `split_long_conversation.py`, `filter_wrong_format.py`, in
that order. Left out: the split into training and test rows (`hold-out`) and the identity questions (rows of their own,
beside these). Departures are named where they are: `markup.py`, `split.py`, and the language, which py3langid tells in
place of polyglot.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from camelid.collect.drafts import Unfit
from camelid.collect.files import raw_rows
from camelid.collect.json_text import RawRow
from camelid.collect.readers import SetAside, write_set_aside
from camelid.collect.sharegpt.markup import Html
from camelid.collect.sharegpt.split import Split, fastchat_segments, whole_segments
from camelid.collect.sharegpt.turns import clean
from camelid.languages import language_of
from camelid.runs import Run, Settings
from camelid.types import Conversation, Message, as_text, content_hash, write_records

REPEATED_DIGITS = re.compile(r"(\d)\1{8}")
WRONG_NUMBERING = re.compile(r"\n1\. [^2]*\n1\. ")


class ShareGptSettings(Settings):
    """Cleaning ShareGPT; the defaults are Vicuna's."""

    licence: str = ""
    """SPDX name of the data's licence, written into every row."""
    html: Html = "auto"
    """Which conversations are HTML and become Markdown: those whose answers all open a block, or always, or never."""
    blocked_words: tuple[str, ...] = ("openai", "chatgpt")
    """A conversation with one of these in any turn is dropped; compared in lower case."""
    keep_languages: tuple[str, ...] = ()
    """Keep these only, as ISO 639-1 codes; none for all. `unknown` is one of them."""
    skip_languages: tuple[str, ...] = ("ko",)
    """Drop these; none for none."""
    drop_repeated_digits: bool = False
    """Drop conversations in which a digit stands nine times on end; the original warns that this costs addresses."""
    max_tokens: int = Field(default=2048, ge=0)
    """Longest segment, by the tokenizer of the input `model`; 0 splits nothing. Vicuna 1.5: 4096."""
    turn_tokens: int = Field(default=7, ge=0)
    """Counted for each turn beside its text: the original's 6, and the token that LLaMA's tokenizer starts with."""
    split: Literal["whole", "fastchat"] = "whole"
    """whole loses nothing that fits; fastchat loses the last pair where it overflows, as the original does."""

    @model_validator(mode="after")
    def _blocked_words_are_in_lower_case(self) -> ShareGptSettings:
        upper = [word for word in self.blocked_words if word != word.lower() or not word.strip()]
        if upper:
            raise ValueError(f"blocked_words: {upper[0]!r} would never be found as meant; write words in lower case")
        if self.keep_languages and set(self.keep_languages) & set(self.skip_languages):
            raise ValueError("a language is both in keep_languages and in skip_languages; take it out of one")
        return self


class Kept(NamedTuple):
    """A cleaned conversation and where it stood."""

    file: Path
    raw: RawRow
    name: str
    turns: tuple[Message, ...]


class Sieve:
    """Counts and reasons as rows go through."""

    def __init__(self) -> None:
        self.aside: list[SetAside] = []
        self.changes: Counter[str] = Counter()
        self.num_read = 0

    def set_aside(self, file: Path, raw: RawRow, reason: str) -> None:
        self.aside.append(SetAside(file=str(file), line=raw.line, reason=reason, raw=raw.value))

    @property
    def by_reason(self) -> dict[str, int]:
        return dict(Counter(row.category for row in self.aside).most_common())


def clean_sharegpt(run: Run) -> dict[str, Any]:
    """Stage: `data` (ShareGPT's rows), `model` (whose tokenizer counts) -> rows.jsonl, set_aside.jsonl, counts.

    `model` is not needed where max_tokens is 0. Raises ValueError where nothing is left.
    """
    s: ShareGptSettings = run.settings
    data = run.inputs["data"]
    sieve = Sieve()
    cleaned = list(_cleaned(run, data if isinstance(data, list) else [data], s, sieve))
    split = _split(run, cleaned, s)
    rows = list(_segments(cleaned, split, s, sieve))
    write_set_aside(run.path / "set_aside.jsonl", sieve.aside)
    if not rows:
        raise ValueError(f"no conversation is left of {sieve.num_read} rows: {sieve.by_reason}")
    write_records(run.path / "rows.jsonl", rows)
    return {
        "read": sieve.num_read,
        "conversations": len(cleaned),
        "segments": len(rows),
        "set_aside_by_reason": sieve.by_reason,
        "changes": dict(sieve.changes.most_common()),
    }


def _cleaned(run: Run, files: Sequence[Path], s: ShareGptSettings, sieve: Sieve) -> Iterator[Kept]:
    seen: dict[Any, str] = {}
    for file in files:
        with run.progress(f"{file.name}, bytes", file.stat().st_size) as tick:
            for raw in raw_rows(file):
                sieve.num_read += 1
                if raw.problem:
                    print(f"warning: {file}, line {raw.line}: {raw.problem}", file=sys.stderr)
                    sieve.set_aside(file, raw, raw.problem)
                    continue
                try:
                    found = clean(raw.value, s.blocked_words, s.html)
                    name = str(raw.value.get("id") or content_hash(raw.value)[:16])
                    _refuse_repeats(name, raw.value, found.turns, seen)
                    _refuse_language(found.turns, s)
                except Unfit as reason:
                    sieve.set_aside(file, raw, str(reason))
                    continue
                sieve.changes.update(found.changes)
                yield Kept(file, raw, name, found.turns)
                tick(sum(len(turn.content) for turn in found.turns))


def _refuse_repeats(name: str, row: dict[str, Any], turns: tuple[Message, ...], seen: dict[Any, str]) -> None:
    """The original's order: the id, plugins, the first two turns. Only what is kept is remembered."""
    beginning = (turns[0].content, turns[1].content)
    if name in seen:
        raise Unfit(f"repeats an id: {name!r}, which begins {seen[name][:40]!r}")
    if row.get("plugins") is not None:
        raise Unfit("plugins: the answers stand on what the page does not show")
    if beginning in seen:
        raise Unfit(f"repeats the first two turns: those of {seen[beginning]!r}")
    seen[name] = turns[0].content
    seen[beginning] = name


def _refuse_language(turns: tuple[Message, ...], s: ShareGptSettings) -> None:
    if s.keep_languages or s.skip_languages:
        language = language_of("\n".join(turn.content for turn in turns))
        if language in s.skip_languages or (s.keep_languages and language not in s.keep_languages):
            raise Unfit(f"language {language}: not wanted")
    if s.drop_repeated_digits:
        found = next((hit for turn in turns if (hit := REPEATED_DIGITS.search(turn.content))), None)
        if found:
            raise Unfit(f"repeated digits: {found[0]}")


def _split(run: Run, cleaned: Sequence[Kept], s: ShareGptSettings) -> list[Split]:
    if not s.max_tokens:
        return [Split([(0, len(row.turns) // 2)], []) for row in cleaned]
    if "model" not in run.inputs:
        raise ValueError("max_tokens counts tokens of a model: give the input `model`, or set max_tokens=0")
    from camelid.models.token_counts import TokenCounts  # transformers; not for those who do not split

    counts = iter(TokenCounts(run.inputs["model"]).of([turn.content for row in cleaned for turn in row.turns]))
    segments = whole_segments if s.split == "whole" else fastchat_segments
    found = []
    for row in cleaned:
        tokens = [next(counts) + s.turn_tokens for _ in row.turns]
        found.append(segments([a + b for a, b in zip(tokens[::2], tokens[1::2], strict=True)], s.max_tokens))
    return found


def _segments(
    cleaned: Sequence[Kept], split: Sequence[Split], s: ShareGptSettings, sieve: Sieve
) -> Iterator[Conversation]:
    for row, parts in zip(cleaned, split, strict=True):
        sieve.changes["pairs left out by the split"] += len(parts.left_out)
        if not parts.segments:
            sieve.set_aside(row.file, row.raw, f"too long: no pair of turns within {s.max_tokens} tokens")
        for start, end in parts.segments:
            turns = row.turns[2 * start : 2 * end]
            if any(WRONG_NUMBERING.search(turn.content) for turn in turns):
                reason = f"wrong numbering: a list goes from 1. to 1., in turns {2 * start + 1} to {2 * end}"
                raw = RawRow(row.raw.line, as_text(turns))
                sieve.set_aside(row.file, raw, reason)
                continue
            name = f"{row.name}_{2 * start}"
            yield Conversation(id=name, messages=turns, source=row.file.name, licence=s.licence)
