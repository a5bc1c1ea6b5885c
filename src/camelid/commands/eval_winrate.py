"""`camelid eval winrate`: how often one model was preferred to another, from files of judgements."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from camelid.commands import say
from camelid.evaluate.alpaca_eval import read_difficulty
from camelid.evaluate.winrate import WinRate, win_rate_of_file
from camelid.functional.statistics import Estimate
from camelid.table import print_table

WINRATE_COLUMNS = ("model", "baseline", "win rate", "s.e.", "length-controlled", "n", "invalid", "length")
BIAS_COLUMNS = ("model", "longer preferred", "correlation with length", "shown first preferred")


def winrate(arguments: argparse.Namespace) -> int:
    """Win rates of each file's second model over its first."""
    difficulty = read_difficulty(arguments.difficulty) if arguments.difficulty else None
    results = [win_rate_of_file(file, difficulty) for file in arguments.files]
    if arguments.json:
        objects = [_as_json(result) for result in results]
        print(json.dumps(objects[0] if len(objects) == 1 else {"files": objects}))
        return 0
    print_table(WINRATE_COLUMNS, [_row(r) for r in results], right=WINRATE_COLUMNS[2:])
    print()
    print_table(BIAS_COLUMNS, [_bias_row(r) for r in results], right=BIAS_COLUMNS[1:])
    for note in dict.fromkeys(note for r in results for note in r.notes):
        say(note)
    return 0


def _row(r: WinRate) -> list[str]:
    return [
        r.model,
        r.baseline,
        _percent(r.rate),
        "" if math.isnan(r.standard_error) else f"{100 * r.standard_error:.2f}",
        _percent(r.length_controlled),
        str(r.rate.n),
        str(r.num_invalid),
        "" if r.average_length is None else f"{r.average_length:.0f}",
    ]


def _bias_row(r: WinRate) -> list[str]:
    correlation = r.biases.length_correlation
    return [
        r.model,
        _percent(r.biases.longer_preferred),
        "" if correlation is None else f"{correlation.value:.2f} [{correlation.low:.2f}, {correlation.high:.2f}]",
        _percent(r.biases.first_shown_preferred),
    ]


def _percent(estimate: Estimate | None) -> str:
    return (
        "" if estimate is None else f"{100 * estimate.value:.2f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    )


def _as_json(r: WinRate) -> dict[str, Any]:
    controlled, correlation = r.length_controlled, r.biases.length_correlation
    return {
        "file": r.file,
        "model": r.model,
        "baseline": r.baseline,
        "win_rate": 100 * r.rate.value,
        "standard_error": None if math.isnan(r.standard_error) else 100 * r.standard_error,
        "win_rate_interval": _interval(r.rate),
        "n": r.rate.n,
        "invalid": r.num_invalid,
        "wins": r.wins,
        "losses": r.losses,
        "ties": r.ties,
        "length_controlled_win_rate": controlled and 100 * controlled.value,
        "length_controlled_standard_error": controlled and 100 * controlled.standard_error,
        "length_controlled_interval": _interval(controlled),
        "average_length": r.average_length,
        "longer_preferred": _share(r.biases.longer_preferred),
        "length_correlation": correlation
        and {"value": correlation.value, "interval": [correlation.low, correlation.high], "n": correlation.n},
        "first_shown_preferred": _share(r.biases.first_shown_preferred),
        "notes": list(r.notes),
    }


def _share(estimate: Estimate | None) -> dict[str, Any] | None:
    """A share in percent."""
    return estimate and {"value": 100 * estimate.value, "interval": _interval(estimate), "n": estimate.n}


def _interval(estimate: Estimate | None) -> list[float] | None:
    """In percent; None where there is none, as of one judgement."""
    if estimate is None or not math.isfinite(estimate.low):
        return None
    return [100 * estimate.low, 100 * estimate.high]
