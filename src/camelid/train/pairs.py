"""What training on preferences shares: their rows, the reference's log-probabilities, accuracy beside its floors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from camelid.functional.pair_accuracy import longer_wins, shares, shares_by_label, wins
from camelid.functional.tfidf import tfidf_wins
from camelid.models.batch import Row
from camelid.models.chat import ChatFormat
from camelid.models.policy import Policy
from camelid.runs import Run
from camelid.train.common import input_files
from camelid.types import RATINGS, Message, Messages, Preference, read_records

ROWS_AT_ONCE = 32
"""Rows looked at between two moves of the progress bar."""


def read_preferences(files: Path | list[Path]) -> list[Preference]:
    """All preferences of one file or several. Raises ValueError where there is none."""
    found = [p for file in input_files(files) for p in read_records(file, Preference)]
    if not found:
        raise ValueError(f"no preferences in {', '.join(map(str, input_files(files)))}: the file is empty")
    return found


def completion_row(chat: ChatFormat, prompt: Messages, completion: str, max_tokens: int) -> Row:
    """A prompt with its completion, which alone trains, end of turn included."""
    whole = (*prompt, Message(role="assistant", content=completion))
    rendered = chat.render(whole, train_on="last", max_tokens=max_tokens)
    return Row(rendered.ids, rendered.loss_mask)


def pair_rows(chat: ChatFormat, preference: Preference, max_tokens: int) -> tuple[Row, Row]:
    """(chosen, rejected). Raises ValueError, with the preference's name, where one of them cannot be written."""
    texts = (preference.chosen, preference.rejected)
    try:
        chosen, rejected = (completion_row(chat, preference.prompt, text, max_tokens) for text in texts)
    except ValueError as error:
        raise type(error)(f"preference {preference.id} ({preference.source}): {error}") from error
    return chosen, rejected


def with_reference(run: Run, policy: Policy, rows: Sequence[Row]) -> list[Row]:
    """The rows with `ref_logprobs`, (T,): those of the policy as it is now.

    Called before anything has trained or was resumed, the policy is the reference: one pass over the rows, and no
    second model in memory, with full weights as with adapters.
    """
    found = []
    with run.progress("reference", len(rows)) as tick:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            for row, logprobs in zip(part, policy.logprobs(part), strict=True):
                found.append(Row(row.ids, row.loss_mask, row.values | {"ref_logprobs": logprobs.cpu()}))
            tick(len(part))
    return found


def summed(policy: Policy, rows: Sequence[Row]) -> Tensor:
    """Log-probability of each row's completion now, (N,)."""
    return torch.stack([logprobs.sum().cpu() for logprobs in policy.logprobs(rows)])


def summed_reference(rows: Sequence[Row]) -> Tensor:
    """Log-probability of each row's completion under the reference, (N,)."""
    return torch.stack([row.values["ref_logprobs"].sum() for row in rows])


def paired(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """(chosen, rejected) of rows that lie in turn."""
    return zip(rows[0::2], rows[1::2], strict=True)


def accuracy_beside_floors(
    chosen: ArrayLike, rejected: ArrayLike, train: Sequence[Preference], held_out: Sequence[Preference], **judges: Any
) -> dict[str, Any]:
    """Accuracy of scores of the held-out pairs, in all and by rating and kind, beside "the longer wins" and TF-IDF.

    `chosen`, `rejected`: (n,). `judges`: wins (n,) of others to stand beside them.
    """
    texts = [(p.chosen, p.rejected) for p in held_out]
    won = {
        "accuracy": wins(chosen, rejected),
        "longer_wins": longer_wins([a for a, _ in texts], [b for _, b in texts]),
        "tfidf": np.array(tfidf_wins([(p.chosen, p.rejected) for p in train], texts)),
    } | judges
    by_rating = shares_by_label(won, [p.rating for p in held_out])
    by_kind = shares_by_label(won, [p.kind for p in held_out])
    return shares(won) | {
        "by_rating": {rating: by_rating[rating] for rating in RATINGS if rating in by_rating},
        "by_kind": {kind: found["accuracy"] for kind, found in by_kind.items()},
    }
