"""`camelid eval swap`: judgements in both orders of display, and what is left of them."""

from __future__ import annotations

import argparse

from camelid.commands import print_json, say
from camelid.commands.shown import from_keys
from camelid.evaluate.people.swap import read_both_orders, swap_figures
from camelid.table import print_table


def swap(arguments: argparse.Namespace) -> int:
    """Consistency, wins with inconsistent pairs as ties, bias to places and lengths."""
    found = swap_figures(read_both_orders(arguments.file))
    if arguments.json:
        print_json(found)
        return 0
    rows = [
        ["same verdict in both orders", from_keys(found, "consistency", 100), str(found["n"])],
        ["win rate of the first answer, inconsistent pairs as ties", from_keys(found, "win_rate"), str(found["n"])],
        ["preference for the place shown first (50: none)", from_keys(found, "position_bias", 100), str(found["n"])],
    ]
    if found["longer_wins"] is not None:
        rows.append(
            ["longer answer wins, decided pairs", from_keys(found, "longer_wins", 100), str(found["longer_wins_n"])]
        )
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
