"""What training on preferences shares: the files, the rows of a pair, accuracy beside its floors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from camelid.functional.pair_accuracy import longer_wins, shares, shares_by_label, wins
from camelid.functional.tfidf import tfidf_wins
from camelid.models.batch import Row
from camelid.models.chat import ChatFormat
from camelid.models.too_long import Lengths, cut_completions
from camelid.train.common import input_files
from camelid.types import RATINGS, Message, Messages, Preference, prompt_name, read_records


def read_preferences(files: Path | list[Path]) -> list[Preference]:
    """All preferences of one file or several. Raises ValueError where there is none."""
    found = [p for file in input_files(files) for p in read_records(file, Preference)]
    if not found:
        raise ValueError(f"no preferences in {', '.join(map(str, input_files(files)))}: the file is empty")
    return found


def completion_row(chat: ChatFormat, prompt: Messages, completion: str, max_tokens: int | None = None) -> Row:
    """A prompt with its completion, which alone trains, end of turn included."""
    whole = (*prompt, Message(role="assistant", content=completion))
    rendered = chat.render(whole, train_on="last", max_tokens=max_tokens)
    return Row(rendered.ids, rendered.loss_mask)


def completion_rows(
    chat: ChatFormat, prompt: Messages, completions: Sequence[str], name: str, lengths: Lengths
) -> tuple[Messages, Sequence[Row]] | None:
    """What is left of the prompt, and a row for each of its completions; None where `lengths` sets them aside.

    They go together or not at all. Raises ValueError, with the `name`, where one of them cannot be written.
    """

    def rows(prompt: Messages, max_tokens: int | None) -> Sequence[Row]:
        return [completion_row(chat, prompt, text, max_tokens) for text in completions]

    try:
        whole = rows(prompt, None)
    except ValueError as error:
        raise type(error)(f"{name}: {error}") from error
    longest, limit = max(len(row.ids) for row in whole), lengths.limit.tokens
    if longest <= limit:
        return prompt, whole
    return lengths.too_long(name, longest, partial(cut_completions, prompt, rows, limit))


def pair_rows(
    chat: ChatFormat, preferences: Sequence[Preference], lengths: Lengths
) -> list[tuple[Preference, tuple[Row, Row]]]:
    """Preferences with their rows, chosen and rejected, without those that `lengths` sets aside."""
    found = []
    for p in preferences:
        made = completion_rows(chat, p.prompt, (p.chosen, p.rejected), f"preference {p.id} ({p.source})", lengths)
        if made is not None:
            chosen, rejected = made[1]
            found.append((p, (chosen, rejected)))
    return found


def unzipped(found: Sequence[tuple[Preference, tuple[Row, Row]]]) -> tuple[list[Preference], list[tuple[Row, Row]]]:
    """The preferences, and their rows."""
    return [p for p, _ in found], [pair for _, pair in found]


def paired(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """(chosen, rejected) of rows that lie in turn."""
    return zip(rows[0::2], rows[1::2], strict=True)


def accuracy_beside_floors(
    chosen: ArrayLike, rejected: ArrayLike, train: Sequence[Preference], held_out: Sequence[Preference], **judges: Any
) -> dict[str, Any]:
    """Accuracy of scores of the held-out pairs, in all and by rating and kind, beside "the longer wins" and TF-IDF.

    `chosen`, `rejected`: (n,). `judges`: wins (n,) of others to stand beside them. Intervals are over prompts.
    """
    texts, prompts = [(p.chosen, p.rejected) for p in held_out], [prompt_name(p.prompt) for p in held_out]
    won = {
        "accuracy": wins(chosen, rejected),
        "longer_wins": longer_wins([a for a, _ in texts], [b for _, b in texts]),
        "tfidf": np.array(tfidf_wins([(p.chosen, p.rejected) for p in train], texts)),
    } | judges
    by_rating = shares_by_label(won, [p.rating for p in held_out], prompts)
    by_kind = shares_by_label(won, [p.kind for p in held_out], prompts)
    return shares(won, prompts) | {
        "by_rating": {rating: by_rating[rating] for rating in RATINGS if rating in by_rating},
        "by_kind": {kind: found["accuracy"] for kind, found in by_kind.items()},
    }
