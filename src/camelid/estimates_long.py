"""What going on with pretraining and measuring long contexts will cost; as `estimates`, whose table takes this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camelid.costs import Cost
from camelid.expected import BYTES_A_TOKEN, Left, Reads, Rows
from camelid.runs import Output

DATA_SECONDS = 0.2
"""Reading, checking and writing some hundred documents."""


def split_documents(s: Any, reads: Reads, cost: Cost) -> Left:
    """A document is a row without an answer; how long the held-out ones are is not known before the run."""
    cost.seconds += DATA_SECONDS
    files = [Path(str(file)) for file in reads.sources("documents")]
    number = sum(len(file.read_bytes().splitlines()) for file in files)
    tokens = sum(file.stat().st_size for file in files) / BYTES_A_TOKEN
    everything = Rows(number, tokens / max(number, 1))
    held_out = everything._replace(number=number * s.held_out_share)
    return {"train.jsonl": everything._replace(number=number - held_out.number), "held-out.jsonl": held_out}


def uptrain(s: Any, reads: Reads, cost: Cost) -> Left:
    shape = reads.shape("model")
    windows = _windows(reads, s.window_tokens, s.max_windows)
    trained = max(windows - s.held_out, 0) * s.epochs
    tokens = trained * s.window_tokens
    cost.load_for_training(shape, s.model)
    cost.train(shape, s.model, tokens, with_head=tokens)
    cost.attend(shape, 3 * trained + 2 * s.held_out, s.window_tokens)  # a backward pass is two forward ones
    held_out = 2 * s.held_out * s.window_tokens
    cost.score(shape, held_out, with_head=held_out)
    return {"model": shape}


def measure_positions(s: Any, reads: Reads, cost: Cost) -> Left:
    shape = reads.shape("model")
    windows = _windows(reads, s.window_tokens - s.repeat_tokens, s.max_windows)
    tokens = windows * s.window_tokens
    cost.load(shape)
    cost.score(shape, tokens, with_head=tokens, at_once=s.window_tokens)
    cost.attend(shape, windows, s.window_tokens)
    return {}


def compare_positions(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += DATA_SECONDS
    return {}


def _windows(reads: Reads, length: int, most: int) -> float:
    """Windows that the documents fill, joined: apart they give more and shorter ones."""
    tokens = 0.0
    for source in reads.sources("documents"):
        if isinstance(source, Output) and source.stage not in reads.known.finished:
            rows = reads.known.rows(source)
            tokens += rows.number * rows.tokens
            continue
        file = reads.known.finished[source.stage] / source.file if isinstance(source, Output) else source
        tokens += file.stat().st_size / BYTES_A_TOKEN
    windows = max(tokens // length, 1)
    return min(windows, most or windows)


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.collect.split_documents.split_documents": split_documents,
    "camelid.train.uptrain.uptrain": uptrain,
    "camelid.evaluate.long_context.measure_positions": measure_positions,
    "camelid.evaluate.long_context_compare.compare_positions": compare_positions,
}
"""By module and name of the stage's function."""
