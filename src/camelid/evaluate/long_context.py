"""How well a model predicts, by position in a long window: does it hold beyond the context that it was trained in?

Two numbers a window. Negative log-likelihood by position says whether the model breaks down out there, not whether it
uses what is far back. For that the window's beginning may stand again at its end: a passage that is recalled costs next
to nothing, one that is out of sight costs as much as at first. The windows are the independent units of all intervals.

    camelid positions --model smollm2-135m --documents texts.jsonl --set window_tokens=9216 --set edges=[8192]
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic import Field

from camelid.documents import read_documents
from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.functional.perplexity import nats_a_unit
from camelid.functional.statistics import Estimate
from camelid.functional.windows import Layout
from camelid.models.batch import Row
from camelid.models.document_rows import document_rows
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rope import RopeScaling
from camelid.runs import Run, Settings
from camelid.types import content_hash

Window = dict[str, Any]
"""A row of windows.jsonl: `sha256` of its tokens and `parts`, by name the sum of `nats` and the number of `tokens`."""


class PositionSettings(Settings):
    """Likelihood by position."""

    model: ModelSettings = ModelSettings()
    """How the model is held in memory."""
    chat_format: str = "model"
    """Needed to load a model, not used here."""
    rope_scaling: RopeScaling = RopeScaling()
    """Measure the model as if its context were scaled; none measures it as it is."""
    window_tokens: int = Field(default=2048, ge=8)
    """Tokens of a window, what is repeated included."""
    edges: tuple[int, ...] = ()
    """Positions at which a new part begins, such as the context that the model was trained in."""
    repeat_tokens: int = Field(default=0, ge=0)
    """So many tokens of a window's beginning stand again at its end, and are counted apart."""
    layout: Layout = "joined"
    """How windows are cut from documents. Windows that are not full are left out."""
    separator: str = ""
    """The token between joined documents; empty takes the tokenizer's end of sequence."""
    max_windows: int = Field(default=0, ge=0)
    """The first so many windows; 0 takes all."""


def measure_positions(run: Run) -> dict[str, Any]:
    """Stage: `model`, `documents` (files of JSON Lines with `text`) -> windows.jsonl, results.json."""
    s: PositionSettings = run.settings
    parts = _parts(s)
    files = run.inputs["documents"] if isinstance(run.inputs["documents"], list) else [run.inputs["documents"]]
    texts = read_documents(files)
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format, rope_scaling=s.rope_scaling)
    length = s.window_tokens - s.repeat_tokens
    full = [r for r in document_rows(policy.tokenizer, texts, length, s.layout, s.separator) if len(r.ids) == length]
    if not full:
        raise ValueError(f"no document fills a window of {length} tokens; set layout=joined or shorten window_tokens")
    rows = [_repeated(row, s.repeat_tokens) for row in full[: s.max_windows or len(full)]]
    file = run.path / "windows.jsonl"
    done = keep_whole_chunks(file, 1, len(rows))
    with run.progress("windows", len(rows), done) as tick:
        for row in rows[done:]:
            nats = (-policy.logprobs([row])[0]).tolist()
            append_json_lines(file, [_window(row, nats, parts)])
            tick(1)
    windows: list[Window] = [json.loads(line) for line in read_whole_lines(file)]
    results = {"context": policy.model.config.max_position_embeddings, "n": len(windows), "nll": likelihoods(windows)}
    write_json(run.path / "results.json", results)
    return {name: estimate["value"] for name, estimate in results["nll"].items()}


def _parts(s: PositionSettings) -> dict[str, tuple[int, int]]:
    """First and last position (exclusive) of every part, by name. Raises ValueError for edges that do not rise."""
    end = s.window_tokens - s.repeat_tokens
    edges = (0, *s.edges, end)
    if any(a >= b for a, b in pairwise(edges)) or s.repeat_tokens > edges[1]:
        raise ValueError(
            f"edges={list(s.edges)} must rise between 0 and {end} (window_tokens less repeat_tokens), and what is "
            f"repeated must lie before the first of them"
        )
    parts = {f"{a}-{b}": (a, b) for a, b in pairwise(edges)}
    if s.repeat_tokens:
        parts |= {"first_time": (1, s.repeat_tokens), "repeated": (end + 1, s.window_tokens)}  # the same tokens
    return parts


def _repeated(row: Row, tokens: int) -> Row:
    ids = [*row.ids, *row.ids[:tokens]]
    return Row(ids, [False] + [True] * (len(ids) - 1))


def _window(row: Row, nats: Sequence[float], parts: Mapping[str, tuple[int, int]]) -> Window:
    spans = {name: (max(start, 1), end) for name, (start, end) in parts.items()}  # nothing predicts the first token
    return {
        "sha256": content_hash(list(row.ids))[:16],
        "parts": {name: {"nats": sum(nats[a:b]), "tokens": b - a} for name, (a, b) in spans.items()},
    }


def likelihoods(windows: Sequence[Window]) -> dict[str, dict[str, float | None]]:
    """Nats a token with their interval over windows, by part."""
    by_part = {name: [window["parts"][name] for window in windows] for name in windows[0]["parts"]}
    return {
        name: as_json(nats_a_unit([p["nats"] for p in parts], [p["tokens"] for p in parts]))
        for name, parts in by_part.items()
    }


def as_json(estimate: Estimate) -> dict[str, float | None]:
    """An estimate whose unknown bounds, of a single window, are null."""
    return {name: value if math.isfinite(value) else None for name, value in estimate._asdict().items()}
