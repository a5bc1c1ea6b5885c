"""Recorded judgements of pairs of models, counted."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
    winrate = command(verbs, "winrate", "eval_winrate:winrate", "win rates from files of judgements", json=True)
    winrate.add_argument("files", nargs="+", metavar="FILE", help="AlpacaEval annotations, or JSON Lines of judgements")
    winrate.add_argument(
        "--difficulty", default="", metavar="FILE", help="CSV: difficulty of each instruction, for the length control"
    )
    winrate.epilog = (
        "Length-controlled win rates are estimates: AlpacaEval's own rest on difficulties that its files do not hold."
    )
    rank = command(verbs, "rank", "eval_rank:rank", "many models on one scale (Bradley-Terry, Elo)", json=True)
    rank.add_argument("files", nargs="+", metavar="FILE", help="judgements of pairs; together they join all models")
    rank.add_argument(
        "--anchor", default="", metavar="MODEL", help="model with a fixed rating (default: none, the mean)"
    )
    rank.add_argument("--anchor-rating", type=float, default=1000.0, metavar="RATING", help="its rating, or the mean's")
