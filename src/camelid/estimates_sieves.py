"""What choosing among rows costs; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camelid.costs import Cost
from camelid.estimates_traces import ask_teacher
from camelid.expected import Left, Reads, Rows

READ_TOKENS_A_SECOND = 1.5e6
"""Rows read, checked and written."""
HASHED_TOKENS_A_SECOND = 4e5
"""Of 23,692 rows of Alpaca's, LIMA's and Dolly's on one core: shingles, 128 hashes, bands and comparisons."""
COMPARED_TOKENS_A_SECOND = 5e5
"""With evaluation sets, by words."""
SIFTED_TOKENS_A_SECOND = 3e5
GRADING_TOKENS = 90
"""What a teacher is told before it grades."""
LANGUAGE_SECONDS = 1.5e-3
"""A row's language."""


def deduplicate(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every row is taken to be new."""
    rows = reads.rows("rows")
    cost.seconds += rows.number * _tokens(rows) / HASHED_TOKENS_A_SECOND
    return {"rows.jsonl": rows}


def sift(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every row is taken to pass."""
    rows = reads.rows("rows")
    cost.seconds += rows.number * _tokens(rows) / SIFTED_TOKENS_A_SECOND
    cost.seconds += rows.number * LANGUAGE_SECONDS if s.keep_languages else 0.0
    return {"rows.jsonl": rows}


def decontaminate(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every row is taken to be clean, and the evaluation files to be small beside the rows."""
    rows = reads.rows("rows")
    cost.seconds += rows.number * _tokens(rows) / COMPARED_TOKENS_A_SECOND
    return {"rows.jsonl": rows}


def cluster_rows(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every row is taken to be kept."""
    rows = reads.rows("rows")
    _points(s.points, reads, cost, rows)
    return {"rows.jsonl": rows}


def select_rows(s: Any, reads: Reads, cost: Cost) -> Left:
    rows = reads.rows("rows")
    if s.diversity != "none":
        _points(s.points, reads, cost, rows._replace(number=rows.number * s.best_share))
    return {"rows.jsonl": rows.first(s.number)}


def grade_rows(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every row is taken to be graded."""
    rows = reads.rows("rows")
    if "model" in reads:
        shape, answers = reads.shape("model"), rows.number * rows.answer_tokens
        cost.load(shape)
        at_once = s.model.micro_batch_tokens
        cost.score(shape, rows.number * _tokens(rows) + answers, with_head=2 * answers, at_once=at_once)
    if "reward_model" in reads:
        judge = reads.shape("reward_model")
        cost.load(judge)
        cost.score(judge, rows.number * _tokens(rows), at_once=s.model.micro_batch_tokens)
    if s.by_teacher:
        ask_teacher(
            s, reads, cost, rows._replace(prompt_tokens=_tokens(rows) + GRADING_TOKENS, answer_tokens=0.0), s.decoding
        )
    return {"rows.jsonl": rows, "grades.jsonl": rows}


def _points(s: Any, reads: Reads, cost: Cost, rows: Rows) -> None:
    """By words, or by the first layers of a model."""
    if "model" in reads:
        shape = reads.shape("model")
        cost.load(shape)
        tokens = rows.number * min(_tokens(rows), s.max_tokens)
        cost.score(shape._replace(layers=min(s.num_layers, shape.layers)), tokens)
    else:
        cost.seconds += rows.number * _tokens(rows) / COMPARED_TOKENS_A_SECOND


def _tokens(rows: Rows) -> float:
    """Of a row with all its answers."""
    return rows.prompt_tokens + rows.answers * rows.answer_tokens


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.curate.near_duplicates.deduplicate": deduplicate,
    "camelid.curate.sift.sift": sift,
    "camelid.curate.decontaminate.decontaminate": decontaminate,
    "camelid.curate.clusters.cluster_rows": cluster_rows,
    "camelid.curate.select.select_rows": select_rows,
    "camelid.annotate.grade.grade_rows": grade_rows,
}
"""By module and name of the stage's function."""
