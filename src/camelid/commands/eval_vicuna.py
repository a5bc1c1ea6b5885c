"""`camelid eval vicuna`: finished reviews of Vicuna's 80 questions, summed up."""

from __future__ import annotations

import argparse
import math
from pathlib import PurePosixPath
from typing import Any

from camelid.commands import print_json, say
from camelid.evaluate.vicuna import PairScores, score_review_set
from camelid.table import print_table

COLUMNS = ("first", "second", "first total", "second total", "second in %", "wins", "ties", "losses", "invalid")


def vicuna(arguments: argparse.Namespace) -> int:
    """Totals, wins and ratios of every pair, from the side of the second model."""
    pairs = score_review_set(arguments.folder, arguments.questions or None, category=arguments.category or None)
    if arguments.json:
        print_json({"files": [_as_json(pair) for pair in pairs]})
        return 0
    rows = [
        [p.first, p.second, f"{p.first_total:g}", f"{p.second_total:g}"]
        + ["-" if math.isnan(p.relative) else f"{p.relative:.2f}"]
        + [str(count) for count in (p.wins, p.ties, p.losses, p.num_invalid)]
        for p in pairs
    ]
    folders = [str(PurePosixPath(p.file).parent) for p in pairs]
    if len(set(folders)) > 1:  # names of models may be the same in two review sets
        print_table(("set", *COLUMNS), [[f, *row] for f, row in zip(folders, rows, strict=True)], right=COLUMNS[2:])
    else:
        print_table(COLUMNS, rows, right=COLUMNS[2:])
    say("one order of display only, first answer first: this judge favours that place; compare new models in both")
    return 0


def _as_json(pair: PairScores) -> dict[str, Any]:
    return {
        "file": pair.file,
        "first": pair.first,
        "second": pair.second,
        "first_sum": pair.first_total,
        "second_sum": pair.second_total,
        "ratio": pair.relative / 100,
        "ratio_percent": pair.relative,
        "wins": pair.wins,
        "ties": pair.ties,
        "losses": pair.losses,
        "n": pair.win_rate.n,
        "invalid": pair.num_invalid,
        "not_read_from_text": pair.num_by_hand,
        "win_rate": pair.win_rate.percent.value,
        "win_rate_interval": pair.win_rate.percent.interval,
        "difference": pair.difference._asdict(),
    }
