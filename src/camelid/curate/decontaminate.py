"""The stage that drops or tags training rows which hold items of evaluation sets.

    camelid decontaminate --rows rows.jsonl --evaluation mmlu.csv truthfulqa.csv --set fields='["Question"]'

LLaMA-2's measure (Touvron et al. 2023, arXiv:2307.09288, appendix A.6; `functional/contamination.py`) turned round: a
row is contaminated where a single item has at least `least_share` of its tokens in runs that the row has too, runs of
more than ten tokens of which four may differ. LLaMA-2 calls an item clean below 20%. Tokens are words, or those of the
input `model`. Items of up to ten tokens, which no such run reaches, count where a user's turn is the item and no more.

Left out: paraphrases and translations.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field

from camelid.curate.pool import files_of, read_pool, text_of_row
from camelid.functional.contamination import SEED_TOKENS, shared
from camelid.functional.words import words_of
from camelid.parts import messages_of
from camelid.rows import examples_of, read_values, text_of
from camelid.runs import Run, Settings
from camelid.types import Record, write_records

TAG = "contaminated"
SHOWN_CHARACTERS = 300
Tokens = Sequence[Hashable]


class DecontaminateSettings(Settings):
    """Keeping evaluation sets out of training rows."""

    kind: Literal["conversations", "prompts", "preferences", "rankings"] = "conversations"
    """What the files of rows hold."""
    least_share: float = Field(default=0.2, ge=0, le=1)
    """Least share of an item's tokens that a row must hold in such runs; 0 for any run at all."""
    short_items: Literal["same", "ignore"] = "same"
    """What of items of up to ten tokens: rows with a user's turn of the same tokens, or nothing."""
    fields: tuple[str, ...] = ()
    """Fields of the evaluation files' rows that make an item, such as the question alone; none for all their text."""
    action: Literal["drop", "tag"] = "drop"
    """Leave contaminated rows out, or keep them with the tag `contaminated`."""


class Item(NamedTuple):
    """An item of an evaluation set."""

    file: str
    place: str
    tokens: Tokens
    text: str


class Contaminated(BaseModel):
    """A row and the item of which it holds the largest share."""

    id: str
    file: str
    item: str
    """Where the item stands."""
    share: float
    """Of the item's tokens."""
    num_items: int
    """Items that the row holds enough of."""
    text: str
    """The item's, as far as it is shown."""


def decontaminate(run: Run) -> dict[str, Any]:
    """Stage: `rows`, `evaluation` (a file or several each), and `model` where tokens are a model's -> rows.jsonl,
    contaminated.jsonl, counts by evaluation file.
    """
    s: DecontaminateSettings = run.settings
    rows = read_pool(run, s.kind)
    tokens = _tokens(run)
    items = [item for file in files_of(run.inputs["evaluation"]) for item in _items(file, s.fields, tokens)]
    with run.progress("comparing", 1) as tick:
        found = _found(rows, items, tokens, s)
        tick(1)
    by_row: dict[int, list[tuple[float, int]]] = {}
    for row, item, share in found:
        by_row.setdefault(row, []).append((share, item))
    write_records(
        run.path / "contaminated.jsonl", (_contaminated(rows[i], items, mine) for i, mine in sorted(by_row.items()))
    )
    kept = [row for i, row in enumerate(rows) if i not in by_row]
    if s.action == "tag":
        kept = [_tagged(row) if i in by_row else row for i, row in enumerate(rows)]
    write_records(run.path / "rows.jsonl", kept)
    return {
        "read": len(rows),
        "kept": len(kept),
        "contaminated": len(by_row),
        "by_evaluation_file": {
            file: {
                "items": len(mine),
                "short_items": sum(len(items[i].tokens) <= SEED_TOKENS for i in mine),
                "items_found": len({item for _, item, _ in found} & mine),
                "rows": len({row for row, item, _ in found if item in mine}),
            }
            for file in dict.fromkeys(item.file for item in items)
            for mine in ({i for i, item in enumerate(items) if item.file == file},)
        },
    }


def _found(
    rows: Sequence[Record], items: Sequence[Item], tokens: Callable[[str], Tokens], s: DecontaminateSettings
) -> list[tuple[int, int, float]]:
    """(row, item, share of the item's tokens) of all that is too much."""
    pairs = shared([item.tokens for item in items], [tokens(text_of_row(row)) for row in rows])
    shares = [(pair.row, pair.item, pair.tokens / len(items[pair.item].tokens)) for pair in pairs]
    found = [one for one in shares if one[2] >= s.least_share]
    if s.short_items == "same":
        short: dict[tuple[Hashable, ...], list[int]] = {}
        for i, item in enumerate(items):
            if len(item.tokens) <= SEED_TOKENS:
                short.setdefault(tuple(item.tokens), []).append(i)
        for number, row in enumerate(rows):
            turns = {tuple(tokens(m.content)) for m in messages_of(row) if m.role == "user"}
            found += [(number, item, 1.0) for turn in turns for item in short.get(turn, ())]
    return found


def _items(file: Path, fields: Sequence[str], tokens: Callable[[str], Tokens]) -> list[Item]:
    """The items of a file that have any token. Raises ValueError where there are none."""
    found = []
    for value in read_values(file):
        for example in examples_of(value.value):
            text = text_of(example, fields)
            if made := tokens(text):
                found.append(Item(str(file), value.place, made, text))
    if not found:
        wanted = f"under {', '.join(fields)}" if fields else "in its rows"
        raise ValueError(f"{file} holds no text {wanted}: nothing to compare with")
    return found


def _tokens(run: Run) -> Callable[[str], Tokens]:
    if "model" not in run.inputs:
        return words_of
    from camelid.models.token_counts import token_ids  # transformers; words need none

    return token_ids(run.inputs["model"])


def _contaminated(row: Record, items: Sequence[Item], found: Sequence[tuple[float, int]]) -> Contaminated:
    share, number = max(found, key=lambda one: (one[0], -one[1]))
    item = items[number]
    text = " ".join(item.text.split())[:SHOWN_CHARACTERS]
    return Contaminated(id=row.id, file=item.file, item=item.place, share=share, num_items=len(found), text=text)


def _tagged(row: Record) -> Record:
    return row.model_copy(update={"tags": (*row.tags, TAG)})
