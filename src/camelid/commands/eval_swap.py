"""`camelid eval swap`: judgements in both orders of display, and what is left of them."""

from __future__ import annotations

import argparse
import json

from camelid.commands import say
from camelid.evaluate.people.swap import read_both_orders, swap_figures
from camelid.table import print_table


def swap(arguments: argparse.Namespace) -> int:
    """Consistency, wins with inconsistent pairs as ties, bias to places and lengths."""
    found = swap_figures(read_both_orders(arguments.file))
    if arguments.json:
        print(json.dumps(found))
        return 0
    rows = [
        ["same verdict in both orders", _percent(found, "consistency"), str(found["n"])],
        ["win rate of the first answer, inconsistent pairs as ties", _win_rate(found), str(found["n"])],
        ["preference for the place shown first (50: none)", _percent(found, "position_bias"), str(found["n"])],
    ]
    if found["longer_wins"] is not None:
        rows.append(["longer answer wins, decided pairs", _percent(found, "longer_wins"), str(found["longer_wins_n"])])
    print_table(("in percent, with 95% interval", "", "n"), rows, right=("n",))
    print()
    orders = {"both orders": found, "given order only": found["one_order"]["given"]}
    orders["swapped order only"] = found["one_order"]["swapped"]
    print_table(
        ("first answer", "wins", "ties", "losses"),
        [[name, *(str(counts[key]) for key in ("wins", "ties", "losses"))] for name, counts in orders.items()],
        right=("wins", "ties", "losses"),
    )
    if found["invalid"]:
        say(f"{found['invalid']} pairs without a verdict in one of the orders: invalid, in no figure")
    return 0


def _win_rate(found: dict) -> str:
    low, high = found["win_rate_interval"]
    return f"{found['win_rate']:.1f} [{low:.1f}, {high:.1f}]"


def _percent(found: dict, name: str) -> str:
    low, high = found[f"{name}_interval"]
    return f"{100 * found[name]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
