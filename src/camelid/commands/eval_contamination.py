"""`camelid eval contamination`: which items of a benchmark stand in training files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from camelid.collect.files import raw_rows
from camelid.commands import print_json, say
from camelid.commands.shown import in_percent
from camelid.evaluate.contamination import Contamination, contaminated
from camelid.functional.words import words_of
from camelid.rows import examples_of, text_of
from camelid.table import print_table

SHOWN = 20


class Row(NamedTuple):
    """A text and where it stands."""

    text: str
    place: str


def contamination(arguments: argparse.Namespace) -> int:
    """Shares of dirty items by both measures, the worst items, and the training rows that hold them."""
    items = _texts(arguments.files, arguments.fields)
    training = _texts(arguments.train, ())
    tokens = _tokens(arguments.tokenizer)
    report = contaminated([row.text for row in items], [row.text for row in training], tokens=tokens)
    if arguments.json:
        print_json(_as_json(report, items, training))
        return 0
    rows = [
        [
            f"{100 * found.overlap.share:.0f}",
            "yes" if found.overlap.has_exact_run else "no",
            items[found.item].place,
            ", ".join(training[i].place for i in found.overlap.rows[:2]),
            " ".join(items[found.item].text.split())[:60],
        ]
        for found in report.found[: None if arguments.all else SHOWN]
    ]
    if rows:
        print_table(["tokens, %", "13 equal", "item", "training rows", "text"], rows, right=["tokens, %"])
        if len(rows) < len(report.found):
            say(f"{len(report.found) - len(rows)} more items; --all or --json prints them")
    say(f"{report.num_items} items, {report.too_short} too short to be measured; {len(training)} training rows")
    shares = {"dirty": report.dirty, "not clean": report.not_clean, "13 equal tokens": report.exact_13}
    print(
        "in %: "
        + "; ".join(f"{name} {in_percent(share, 2)}" for name, share in shares.items())
        + f"; n = {report.dirty.n}"
    )
    return 0


def _texts(files: Sequence[str], fields: Sequence[str]) -> list[Row]:
    """A text a row, or a row's example; rows without text are left out, with a word."""
    rows: list[Row] = []
    for file in files:
        before = len(rows)
        for number, raw in enumerate(raw_rows(file), 1):
            if raw.problem:
                say(f"not read: {file}, row {number}: {raw.problem}")
                continue
            for example in examples_of(raw.value):
                text = text_of(example, fields)
                if text.strip():
                    rows.append(Row(text, f"{Path(file).name}:{number}"))
        if len(rows) == before:
            wanted = f"under {', '.join(fields)}" if fields else "in its rows"
            raise ValueError(f"{file} holds no text {wanted}")
    return rows


def _tokens(model: str) -> Callable[[str], Sequence[Hashable]]:
    if not model:
        return words_of
    from camelid.models.loading import resolve_model
    from camelid.models.token_counts import token_ids  # heavy; words need none

    return token_ids(resolve_model(model))


def _as_json(report: Contamination, items: Sequence[Row], training: Sequence[Row]) -> dict[str, Any]:
    return {
        "n": report.dirty.n,
        "too_short": report.too_short,
        **{
            name: {"percent": share.percent.value, "interval": share.percent.interval, "n": share.n}
            for name, share in (("dirty", report.dirty), ("not_clean", report.not_clean), ("exact_13", report.exact_13))
        },
        "items": [
            {
                "item": items[found.item].place,
                "tokens": found.overlap.num_tokens,
                "contaminated_percent": 100 * found.overlap.share,
                "exact_13": found.overlap.has_exact_run,
                "training_rows": [training[i].place for i in found.overlap.rows],
            }
            for found in report.found
        ],
    }
