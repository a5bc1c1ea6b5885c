"""The words of `camelid data` and `camelid teacher`; imports nothing heavy, so that `--help` is quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def add_data(data: Any, command: Callable[..., Any]) -> None:
    """`check`, `convert`, `report`, `novelty` and `filter`."""
    check = command(data, "check", "data:check", "what is in a file, and what is wrong with it", json=True)
    check.epilog = "exit code: 0 good, 1 usable (some rows do not fit), 2 unusable"
    check.add_argument("file")
    convert = command(data, "convert", "data:convert", "from any known format to another")
    convert.add_argument("file")
    convert.add_argument("output")
    convert.add_argument("--to", default="camelid", help="camelid, openai, sharegpt, alpaca, hh, trl or ranked")
    convert.add_argument("--kind", default="", choices=["conversations", "preferences", "prompts", "rankings"])
    convert.add_argument("--strict", action="store_true", help="stop at the first row that does not fit")
    report = command(data, "report", "data_report:report", "a page: sources, lengths, topics, near copies", json=True)
    report.add_argument("files", nargs="+", metavar="FILE", help="conversations in any known format")
    report.add_argument("--out", default="data-report", metavar="FOLDER", help="where the page goes")
    report.add_argument("--topics", type=int, default=12, help="clusters of the map (default: 12)")
    novelty = command(data, "novelty", "data_novelty:novelty", "instructions that nearly repeat another", json=True)
    novelty.add_argument("files", nargs="+", metavar="FILE", help="rows with instructions, in any container")
    novelty.add_argument("--threshold", type=float, default=0.7, help="ROUGE-L above which two are near copies")
    novelty.add_argument("--all", action="store_true", help="print all pairs, not the nearest only")
    sieve = command(data, "filter", "data_novelty:filter_rows", "instructions that self-instruct drops", json=True)
    sieve.add_argument("files", nargs="+", metavar="FILE", help="rows with instructions, in any container")
    sieve.add_argument("--rules", default="self-instruct", choices=["self-instruct", "alpaca"])
    sieve.add_argument("--output", default="", metavar="FILE", help="write the rows that are kept")


def add_teacher(teacher: Any, command: Callable[..., Any]) -> None:
    """`replay` and `journal`."""
    replay = command(teacher, "replay", "teacher:replay", "serve recorded answers on loopback, as OpenAI's API does")
    replay.add_argument("file", help="rows with instruction, input and output, or conversations")
    replay.add_argument("--port", type=int, default=0, help="port on this machine (default: any that is free)")
    replay.add_argument("--faults", type=float, default=0.0, help="share of requests that meet a fault (default: 0)")
    replay.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="from request to answer")
    replay.add_argument("--requests-per-minute", type=float, default=0.0, help="refuse what is above (default: none)")
    replay.add_argument("--seed", type=int, default=0, help="of the faults")
    text = "what was asked, answered and used, by a journal of requests"
    command(teacher, "journal", "teacher:journal", text, json=True).add_argument("file")
