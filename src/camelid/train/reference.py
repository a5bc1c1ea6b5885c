"""Log-probabilities of the reference: taken once, before the first step, and kept on disk until the stage is done.

Before anything has trained, the policy is the reference: one pass over the rows and no second model in memory, with
full weights as with adapters. A pass over many rows takes long, so a kill must not cost it: chunks of rows are appended
to a file beside the checkpoints, each with its checksum, and go with them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from camelid.durable import append_json_lines, read_whole_lines
from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.runs import Run

CHUNK = 32
"""Rows looked at between two writes: what a kill can cost."""


def with_reference(run: Run, policy: Policy, rows: Sequence[Row]) -> list[Row]:
    """The rows with `ref_logprobs`, (T,): those of the policy as it is now, or as it was when the stage began.

    Call it before `run.resume`, once a stage and with all rows: what a policy has learnt must not be in its reference.
    """
    file = run.checkpoints.folder / "reference.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    stored = [_unpack(line) for line in read_whole_lines(file)]
    found = []
    with run.progress("reference", len(rows)) as tick:
        for number, start in enumerate(range(0, len(rows), CHUNK)):
            chunk = rows[start : start + CHUNK]
            logprobs = stored[number] if number < len(stored) else None
            if logprobs is None:  # not there yet, or damaged
                logprobs = torch.cat([of_row.cpu() for of_row in policy.logprobs(chunk)])
            if number >= len(stored):
                append_json_lines(file, [_packed(logprobs)])
            parts = logprobs.split([len(row.ids) for row in chunk])
            values = ({"ref_logprobs": part} for part in parts)
            found += [Row(row.ids, row.loss_mask, row.values | more) for row, more in zip(chunk, values, strict=True)]
            tick(len(chunk))
    return found


def summed(policy: Policy, rows: Sequence[Row]) -> Tensor:
    """Log-probability of each row's completion now, (N,)."""
    return torch.stack([logprobs.sum().cpu() for logprobs in policy.logprobs(rows)])


def summed_reference(rows: Sequence[Row]) -> Tensor:
    """Log-probability of each row's completion under the reference, (N,)."""
    return torch.stack([row.values["ref_logprobs"].sum() for row in rows])


def _packed(logprobs: Tensor) -> dict[str, str]:
    content = logprobs.numpy().astype("<f4").tobytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "float32": base64.b64encode(content).decode()}


def _unpack(line: str) -> Tensor | None:
    """What `_packed` wrote, to the bit; None where the line is damaged."""
    try:
        stored = json.loads(line)
        content = base64.b64decode(stored["float32"])
    except (ValueError, KeyError, TypeError):
        return None
    if hashlib.sha256(content).hexdigest() != stored.get("sha256"):
        return None
    return torch.from_numpy(np.frombuffer(content, "<f4").astype(np.float32))
