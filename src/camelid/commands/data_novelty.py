"""`camelid data novelty` and `camelid data filter`: self-instruct's two sieves, on any file with instructions."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from camelid.collect.files import raw_rows, write_rows
from camelid.commands import print_json, say
from camelid.curate.instructions import Instruction, distinct, instruction_of
from camelid.functional.instruction_filters import count_reasons, unfit
from camelid.functional.near_copies import NearCopy, near_copies
from camelid.functional.rouge import rouge_words
from camelid.progress import progress
from camelid.table import print_table

SHOWN = 20


def novelty(arguments: argparse.Namespace) -> int:
    """Print the pairs of instructions that are nearly the same."""
    rows, repeats, unread = _read(arguments.files)
    words = [rouge_words(row.text) for row in rows]
    wordless = sum(not w for w in words)
    started = time.monotonic()
    with progress("novelty: instructions", len(rows) - wordless, 0) as tick:
        pairs = near_copies(words, arguments.threshold, tick)
    seconds = time.monotonic() - started
    later = sorted({pair.second for pair in pairs})
    if arguments.json:
        counts = {
            "n": len(rows),
            "repeated_rows": repeats,
            "rows_without_instruction": unread,
            "without_words": wordless,
            "threshold": arguments.threshold,
            "near_copies": len(pairs),
            "not_novel": len(later),
            "seconds": round(seconds, 1),
        }
        print_json(counts | {"pairs": [_as_json(rows, pair) for pair in pairs]})
        return 0
    shown = sorted(pairs, key=lambda pair: -pair.score)[: None if arguments.all else SHOWN]
    if shown:
        table = [
            [f"{p.score:.3f}", *(cell for i in (p.first, p.second) for cell in (_place(rows[i]), rows[i].text[:60]))]
            for p in shown
        ]
        print_table(["ROUGE-L", "row", "instruction", "row", "instruction"], table, right=["ROUGE-L"])
        if len(shown) < len(pairs):
            say(f"{len(pairs) - len(shown)} more pairs; --all or --json prints them")
    _say_counts(len(rows), repeats, unread)
    if wordless:
        say(f"{wordless} have no word in a-z and 0-9 and are compared with none")
    print(f"{len(pairs)} pairs above ROUGE-L {arguments.threshold:g}; {len(later)} repeat an earlier instruction")
    return 0


def filter_rows(arguments: argparse.Namespace) -> int:
    """Print how many instructions each rule filters; write the rows that are kept."""
    rows, repeats, unread = _read(arguments.files)
    reasons = [unfit(row.text, arguments.rules) for row in rows]
    counts = count_reasons(reasons)
    flagged = sum(bool(reason) for reason in reasons)
    if arguments.output:
        write_rows(arguments.output, [dict(row.row) for row, reason in zip(rows, reasons, strict=True) if not reason])
        say(f"{len(rows) - flagged} rows written to {arguments.output}")
    if arguments.json:
        totals = {"n": len(rows), "repeated_rows": repeats, "rows_without_instruction": unread, "flagged": flagged}
        print_json(totals | {"reasons": counts, "rules": arguments.rules})
        return 0
    if counts:
        first = {reason.partition(":")[0]: row for row, reason in reversed(list(zip(rows, reasons, strict=True)))}
        table = [
            [reason, str(count), _place(first[reason]), first[reason].text[:80]] for reason, count in counts.items()
        ]
        print_table(["reason", "rows", "first", "instruction"], table, right=["rows"])
    _say_counts(len(rows), repeats, unread)
    print(f"{flagged} of {len(rows)} instructions are filtered by {arguments.rules}'s rules")
    return 0


def _read(files: Sequence[str]) -> tuple[list[Instruction], int, int]:
    """The distinct rows with their instructions, how many rows repeat another, how many hold no instruction."""
    unread: list[str] = []
    rows, repeats = distinct(_instructions(files, unread))
    if not rows:
        raise ValueError(
            f"no instruction in {', '.join(files)}; a row has instruction, messages, conversations or prompt"
        )
    for problem in unread[:3]:
        say(f"not read: {problem}")
    return rows, repeats, len(unread)


def _instructions(files: Sequence[str], unread: list[str]) -> Iterator[Instruction]:
    for file in files:
        for number, raw in enumerate(raw_rows(file), 1):
            text = None if raw.problem or not isinstance(raw.value, dict) else instruction_of(raw.value)
            if text is None or not text.strip():
                unread.append(f"{file}, row {number}: {raw.problem or 'no instruction'}")
            else:
                yield Instruction(text, file, number, raw.value)


def _say_counts(num_rows: int, repeats: int, unread: int) -> None:
    say(f"{num_rows:,} distinct rows; {repeats:,} repeat another; {unread:,} hold no instruction")


def _place(row: Instruction) -> str:
    return f"{Path(row.file).name}:{row.number}"


def _as_json(rows: Sequence[Instruction], pair: NearCopy) -> dict[str, Any]:
    first, second = (
        {"file": rows[i].file, "row": rows[i].number, "instruction": rows[i].text} for i in (pair.first, pair.second)
    )
    return {"rouge_l": pair.score, "first": first, "second": second}
