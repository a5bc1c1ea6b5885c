"""`camelid eval rank`: many models on one scale, from files of judgements of pairs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from camelid.commands import say
from camelid.evaluate.ranking import NUM_RESAMPLES, Ranking, rank_files
from camelid.table import print_table

RANK_COLUMNS = ("rank", "model", "rating", "rank (95%)", "wins", "losses", "ties", "won %")


def rank(arguments: argparse.Namespace) -> int:
    """All models of all files on one scale, the strongest first."""
    ranking = rank_files(arguments.files, anchor=arguments.anchor, anchor_rating=arguments.anchor_rating)
    if arguments.json:
        print(json.dumps(_ranking_as_json(ranking, arguments.anchor)))
        return 0
    rows = [
        [str(place), m.model, f"{m.rating.value:.0f} [{m.rating.low:.0f}, {m.rating.high:.0f}]", _span(m.ranks)]
        + [str(count) for count in (m.wins, m.losses, m.ties)]
        + [f"{100 * m.share_won:.1f}"]
        for place, m in enumerate(ranking.models, 1)
    ]
    print_table(RANK_COLUMNS, rows, right=("rank", *RANK_COLUMNS[2:]))
    say(
        f"{ranking.num_judgements} judgements of {ranking.num_instructions} instructions, "
        f"{ranking.num_invalid} invalid; intervals from {NUM_RESAMPLES} resamples of instructions"
    )
    for note in _ranking_notes(ranking):
        say(note)
    return 0


def _span(ranks: tuple[int, int]) -> str:
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]} to {ranks[1]}"


def _ranking_notes(ranking: Ranking) -> list[str]:
    notes = []
    if len(ranking.annotators) > 1:
        notes.append(f"judges are mixed ({', '.join(ranking.annotators)}): their verdicts may not be comparable")
    beyond = [m.model for m in ranking.models if m.beyond_measure]
    if beyond:
        notes.append(
            f"won everything or nothing, so that only the direction of the rating is known: {', '.join(beyond)}"
        )
    return notes


def _ranking_as_json(ranking: Ranking, anchor: str) -> dict[str, Any]:
    return {
        "models": [
            {
                "rank": place,
                "model": m.model,
                "rating": m.rating.value,
                "rating_interval": [m.rating.low, m.rating.high],
                "standard_error": m.rating.standard_error,
                "rank_interval": list(m.ranks),
                "wins": m.wins,
                "losses": m.losses,
                "ties": m.ties,
                "share_won": 100 * m.share_won,
                "beyond_measure": m.beyond_measure,
            }
            for place, m in enumerate(ranking.models, 1)
        ],
        "anchor": anchor,
        "n": ranking.num_judgements,
        "invalid": ranking.num_invalid,
        "instructions": ranking.num_instructions,
        "annotators": list(ranking.annotators),
        "notes": _ranking_notes(ranking),
    }
