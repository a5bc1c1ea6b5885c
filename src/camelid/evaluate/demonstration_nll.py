"""Likelihood of demonstrations under a model: nats of the assistant's turns, conversation by conversation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.models.render_many import render_many
from camelid.models.too_long import Lengths
from camelid.types import Conversation


def demonstration_rows(policy: Policy, conversations: Sequence[Conversation], lengths: Lengths) -> list[Row]:
    """Those that `lengths` lets through, all answers of each counted."""
    made = render_many(policy.chat, [c.messages for c in conversations])
    rows = []
    for c, row in zip(conversations, made, strict=True):
        tokens = len(row.ids)
        if tokens <= lengths.limit.tokens:
            rows.append(row)
        else:
            lengths.too_long(f"demonstration {c.id} ({c.source})", tokens, lambda: None)
    return rows


def likelihoods(policy: Policy, rows: Sequence[Row]) -> tuple[list[float], list[int]]:
    """Nats, and tokens, of the assistant's turns of each conversation."""
    nats = [-float(logprobs.sum()) for logprobs in policy.logprobs(rows)]
    return nats, [int(np.count_nonzero(row.loss_mask)) for row in rows]
