"""Benchmarks against training files."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
    text = "items of a benchmark that stand in training files, by LLaMA-2's and GPT-3's measures"
    dirty = command(verbs, "contamination", "eval_contamination:contamination", text, json=True)
    dirty.add_argument("files", nargs="+", metavar="BENCHMARK_FILE", help="a row an item, in any container")
    dirty.add_argument("--train", required=True, nargs="+", metavar="FILE", help="training rows, in any container")
    dirty.add_argument(
        "--fields", default=[], nargs="+", metavar="KEY", help="keys of an item's text (default: all text)"
    )
    dirty.add_argument("--tokenizer", default="", metavar="MODEL", help="compare this model's tokens instead of words")
    dirty.add_argument("--all", action="store_true", help="print all contaminated items, not the worst only")
