"""`camelid eval agreement`: how far raters agree, from a table of their labels."""

from __future__ import annotations

import argparse
import json
from typing import Any

from camelid.commands import say
from camelid.evaluate.people.agreement import agreement
from camelid.evaluate.people.rating_tables import read_ratings
from camelid.table import print_table

FIGURES = {
    "exact": "same label (share of pairs of ratings)",
    "tie_discounted": "LIMA's tie-discounted agreement",
    "gwet_ac1": "Gwet's AC1",
    "gwet_ac2": "Gwet's AC2",
    "fleiss_kappa": "Fleiss' kappa",
    "krippendorff_alpha": "Krippendorff's alpha, nominal",
    "krippendorff_alpha_ordinal": "Krippendorff's alpha, ordinal",
    "krippendorff_alpha_interval": "Krippendorff's alpha, interval",
}
MOST_PAIRS = 15
"""Pairs of raters in the table; --json has all."""


def agreement_of(arguments: argparse.Namespace) -> int:
    """Figures with their intervals, then every pair of raters."""
    ratings = read_ratings(
        arguments.file, raters=arguments.raters, scale=_words(arguments.scale), tie=arguments.tie.strip()
    )
    found = agreement(ratings, weighting=arguments.weights)
    if arguments.json:
        print(json.dumps(found))
        return 0
    print_figures(found)
    order = "in this order" if found["ordered"] else "without order (--scale says one)"
    say(f"{found['n']} items with two ratings or more, {found['raters']} raters")
    say(f"labels {order}: {', '.join(ratings.scale)}")
    if found["missing"] or found["invalid"]:
        say(f"{found['missing']} ratings missing, {found['invalid']} not on the scale; neither is in any figure")
    return 0


def print_figures(found: dict[str, Any]) -> None:
    """The figures of `agreement` as two tables."""
    rows = []
    for name, text in FIGURES.items():
        title = f"{text}, {found['gwet_ac2_weights']} weights" if name == "gwet_ac2" else text
        rows.append([title, shown(found[name]), shown_interval(found["intervals"].get(name))])
        if name in found["undefined"]:
            rows[-1][2] = found["undefined"][name]
    print_table(("agreement", "value", "95% interval"), rows, right=("value",))
    pairs = [
        [" and ".join(pair["raters"]), str(pair["n"]), shown(pair["exact"]), shown(pair["tie_discounted"])]
        for pair in found["pairs"].values()
    ]
    if 1 < len(pairs) <= MOST_PAIRS:
        print()
        print_table(("raters", "items", "exact", "tie-discounted"), pairs, right=("items", "exact", "tie-discounted"))


def shown(value: float | None) -> str:
    """Four digits; a dash for what is not defined."""
    return "-" if value is None else f"{value:.4f}"


def shown_interval(interval: list[float] | None) -> str:
    """`[0.8671, 0.9056]`."""
    return "-" if interval is None else f"[{interval[0]:.4f}, {interval[1]:.4f}]"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
