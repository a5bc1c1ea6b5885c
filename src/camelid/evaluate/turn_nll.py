"""How likely a model finds conversations' answers: nats a token of the first answers, and of the later ones.

What is learnt from whole conversations shows in the later turns, which rest on what was said before. `before` is
another model's folder of this stage over the same conversations: differences are taken conversation by conversation.

    camelid turn-nll --model MODEL --demonstrations held_out.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from camelid.durable import write_json
from camelid.evaluate.demonstration_nll import demonstration_rows
from camelid.functional.perplexity import nats_a_unit
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.too_long import Lengths, Reader, row_limit
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, draw, read_records

NATS = "nats.json"
PARTS = {"all": slice(None), "first": slice(0, 1), "later": slice(1, None)}
"""Which answers of a conversation count."""


class TurnSettings(Settings):
    """Likelihood by turn."""

    model: ModelSettings = ModelSettings()
    """How the model is held in memory."""
    chat_format: str = "model"
    """Chat format."""
    max_tokens: int = Field(default=2048, ge=8)
    """Longer conversations are set aside."""
    max_rows: int = Field(default=0, ge=0)
    """Use so many conversations, drawn at random; 0 for all."""


class Turns(NamedTuple):
    """Nats, and tokens, of the answers of one conversation, in order."""

    nats: list[float]
    tokens: list[int]


def turn_nll(run: Run) -> dict[str, Any]:
    """Stage: `model`, `demonstrations` (files), optional `before` (a folder of this stage) -> results.json."""
    s: TurnSettings = run.settings
    given = run.inputs["demonstrations"]
    files = given if isinstance(given, list) else [given]
    there = [c for file in files for c in read_records(file, Conversation)]
    conversations = draw(there, s.max_rows, derived_seed(s.seed, "demonstrations"))
    reader = Reader.of(run.inputs["model"], s.chat_format)
    lengths = Lengths("demonstrations", "set_aside", row_limit(s.max_tokens, reader.context))
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    rows = demonstration_rows(policy, conversations, lengths)
    too_long = lengths.finish(run, len(conversations))
    turns = [
        by_turn(logprobs.double().numpy(), np.asarray(row.loss_mask) > 0)
        for row, logprobs in zip(rows, policy.logprobs(rows), strict=True)
    ]
    write_json(run.path / NATS, [turn._asdict() for turn in turns])
    results: dict[str, Any] = {"n": len(turns)} | _by_part(turns, turns)
    if "before" in run.inputs:
        results["change"] = changes(turns, run.inputs["before"])
    write_json(run.path / "results.json", results)
    return {"num_demonstrations": len(turns)} | {p: results[p]["value"] for p in PARTS if p in results} | too_long


def by_turn(logprobs: NDArray[np.float64], trained: NDArray[np.bool_]) -> Turns:
    """`logprobs`, `trained`: (T,); an answer is a run of trained tokens, since a user's turn stands between two."""
    begins = trained & ~np.concatenate(([False], trained[:-1]))
    answer = np.cumsum(begins)[trained] - 1
    nats = np.zeros(int(begins.sum()))
    np.subtract.at(nats, answer, logprobs[trained])
    return Turns(nats.tolist(), np.bincount(answer, minlength=len(nats)).tolist())


def changes(turns: Sequence[Turns], before: Path) -> dict[str, Any]:
    """Nats a token less those of another model. Raises ValueError where it answered other conversations."""
    then = [Turns(**row) for row in json.loads((before / NATS).read_text())]
    if [turn.tokens for turn in turns] != [turn.tokens for turn in then]:
        raise ValueError(f"{before}: other conversations; evaluate both models on the same")
    less = [
        Turns([a - b for a, b in zip(now.nats, old.nats, strict=True)], now.tokens)
        for now, old in zip(turns, then, strict=True)
    ]
    return _by_part(less, turns)


def _by_part(nats: Sequence[Turns], turns: Sequence[Turns]) -> dict[str, Any]:
    """Estimates over conversations; a part that none has is left out."""
    found = {}
    for name, part in PARTS.items():
        pairs = [(sum(n.nats[part]), sum(t.tokens[part])) for n, t in zip(nats, turns, strict=True) if t.tokens[part]]
        if pairs:
            found[name] = nats_a_unit(*zip(*pairs, strict=True))._asdict()
    return found
