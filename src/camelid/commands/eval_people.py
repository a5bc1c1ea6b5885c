"""`camelid eval people`: comparisons to people and back, blind, on LLaMA-2's seven degrees."""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path
from typing import Any

from camelid.commands import say
from camelid.commands.eval_agreement import shown, shown_interval
from camelid.evaluate.people.answers import Paired, pair_up, read_answers, read_comparisons
from camelid.evaluate.people.sheets import make_key, named_in_answers, too_long, write_sheets
from camelid.evaluate.people.study import Study, preferences, read_study, verdict_rows
from camelid.evaluate.people.study_figures import study_figures
from camelid.table import print_table
from camelid.types import write_records

SHARES = {"win_percent": "wins", "tie_percent": "ties", "loss_percent": "losses"}


def export(arguments: argparse.Namespace) -> int:
    """A sheet a rater, and the key."""
    key = make_key(
        _paired(arguments),
        raters=arguments.raters,
        secret=arguments.secret or secrets.token_hex(16),
        limit=arguments.limit,
        kind=arguments.kind,
    )
    for sheet in write_sheets(key, arguments.out, arguments.format):
        print(sheet)
    say(f"{len(key.pairs)} pairs, {key.a} against {key.b}; send {arguments.out}/raters, keep {arguments.out}/key.json")
    cut = too_long(key) if arguments.format == "csv" else 0
    warnings = {
        "prompts have the same answer twice and are left out": key.identical,
        "prompts have an answer by one model only and are left out": key.unmatched,
        "pairs have an answer that names one of the models, which may give it away": named_in_answers(key),
        "pairs have a text that spreadsheets cut; use --format jsonl": cut,
    }
    for text, number in warnings.items():
        if number:
            say(f"{number} {text}")
    return 0


def _paired(arguments: argparse.Namespace) -> Paired:
    if not arguments.answers_b:
        if arguments.name_a or arguments.name_b:
            raise ValueError("--name-a and --name-b are for files of answers; comparisons name their models themselves")
        return read_comparisons(arguments.answers_a)
    a, b = read_answers(arguments.answers_a, arguments.name_a), read_answers(arguments.answers_b, arguments.name_b)
    return pair_up(a, b)


def import_(arguments: argparse.Namespace) -> int:
    """Figures of the filled sheets; the verdicts are written as preferences."""
    study = read_study(arguments.files, arguments.key)
    found = study_figures(study, weighting=arguments.weights)
    records = preferences(study)
    out = Path(arguments.preferences) if arguments.preferences else study.folder / "preferences.jsonl"
    write_records(out, records)
    verdicts = out.with_name("verdicts.jsonl")
    verdicts.write_text("".join(json.dumps(row) + "\n" for row in verdict_rows(study)), encoding="utf-8")
    found |= {"preferences": str(out), "num_preferences": len(records), "verdicts_file": str(verdicts)}
    if arguments.json:
        print(json.dumps(found))
    else:
        _print(found)
    say(f"{len(records)} preferences (ties are none) in {out}; every verdict, for judge-vs-people, in {verdicts}")
    _say_problems(study)
    return 0


def _print(found: dict[str, Any]) -> None:
    a, b = found["models"]
    rows = [[f"{a}: {text}", str(found[text]), _percent(found, name)] for name, text in SHARES.items()]
    rows.append(["win rate, a tie counting one half", "", _percent(found, "win_rate")])
    columns = (f"{a} against {b}, by majority", f"of {found['n']}", "percent, with 95% interval")
    print_table(columns, rows, right=columns[1:2])
    print()
    print_table(
        ("agreement of raters", "value", "95% interval"),
        [
            [text, shown(found[name]), shown_interval(found.get(f"{name}_interval"))]
            for name, text in (("gwet_ac2", "Gwet's AC2, seven degrees"), ("gwet_ac1", "Gwet's AC1, win, tie or loss"))
        ],
        right=("value",),
    )
    print()
    raters = [
        [name, *(str(one[count]) for count in ("n", "wins", "ties", "losses")), shown(one["position_bias"])]
        for name, one in found["by_rater"].items()
    ]
    print_table(("rater", "n", "wins", "ties", "losses", "takes the answer shown first (.5: no taste)"), raters)


def _say_problems(study: Study) -> None:
    missing = len(study.key.pairs) * len(study.key.raters) - len(study.steps)
    if missing:
        say(f"{missing} of {len(study.key.pairs) * len(study.key.raters)} verdicts are missing")
    for name, place in study.first_problems.items():
        say(f"{study.problems[name]} rows invalid: {name.replace('_', ' ')}, first in {place}")


def _percent(found: dict[str, Any], name: str) -> str:
    low, high = found[f"{name}_interval"]
    return f"{found[name]:.1f} [{low:.1f}, {high:.1f}]"
