"""`camelid eval judge-vs-people`: a judge's verdicts beside people's on the same items."""

from __future__ import annotations

import argparse
import json

from camelid.commands import say
from camelid.commands.eval_agreement import shown, shown_interval
from camelid.evaluate.people.judge_vs_people import SIDES, judge_against_people
from camelid.evaluate.people.verdicts import read_verdicts
from camelid.table import print_table

FIGURES = {
    "exact": "same verdict",
    "tie_discounted": "LIMA's tie-discounted agreement",
    "cohen_kappa": "Cohen's kappa",
    "gwet_ac1": "Gwet's AC1",
}


def judge_vs_people(arguments: argparse.Namespace) -> int:
    """Agreement with its floor and, where several people judged, their agreement among themselves."""
    judge = read_verdicts(arguments.reviews, raters=[arguments.judge_column] if arguments.judge_column else [])
    first, second = judge.names or ("", "")
    names = (arguments.first or first, arguments.second or second)
    people = read_verdicts(arguments.human, names=names, raters=arguments.raters)
    found = judge_against_people(judge, people)
    if arguments.json:
        print(json.dumps(found))
        return 0
    others = found["people_among_themselves"] or {}
    rows = [
        [text, shown(found[name]), shown_interval(found["intervals"][name])]
        + [shown(beside.get(name)) for beside in (found["floor"], others)]
        for name, text in FIGURES.items()
    ]
    columns = ("agreement", "value", "95% interval", "constant judge", "people among themselves")
    print_table(columns, rows, right=("value", *columns[3:]))
    print()
    sides = {"first": names[0] or "first", "tie": "tie", "second": names[1] or "second"}
    table = [[f"judge: {sides[a]}", *(str(found["confusion"][a][b]) for b in SIDES)] for a in SIDES]
    print_table(("", *(f"people: {sides[b]}" for b in SIDES)), table, right=[f"people: {sides[b]}" for b in SIDES])
    say(f"{found['n']} items; {found['invalid']} without a verdict on both sides are in no figure")
    if found["decided_only"]:
        say("preference files hold no ties: only pairs that both sides decided are compared")
    for side, number in found["unmatched"].items():
        if number:
            say(f"{number} items of the {side}'s file are not in the other")
    return 0
