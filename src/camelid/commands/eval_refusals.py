"""`camelid eval refusals`: how often is refused, or, where people labelled the answers, how well the rule tells."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camelid.commands import print_json, say
from camelid.commands.shown import in_percent, percent_keys
from camelid.evaluate.safety.agreement import Check, agreed, check_rule, learnt_elsewhere
from camelid.evaluate.safety.rates import rates
from camelid.evaluate.safety.replies import Reply, read_replies
from camelid.table import print_table

WRITTEN_ON = (
    "The rule was written on XSTest's file llama2orig: its figure there is no test, that on any other file is one."
)


def refusals(arguments: argparse.Namespace) -> int:
    """Checked against people where the files have their labels, else how often is refused."""
    files = {path: read_replies(path) for path in dict.fromkeys(arguments.files)}
    labelled = [path for path, replies in files.items() if any(r.labels for r in replies)]
    if labelled and len(labelled) < len(files):
        raise ValueError(f"{min(set(files) - set(labelled))} has no human labels, others have; give them apart")
    if labelled:
        return _against_people(files, arguments.json)
    return _how_often([r for replies in files.values() for r in replies], arguments.json)


def _how_often(replies: Sequence[Reply], as_json: bool) -> int:
    found = rates(replies)
    if as_json:
        groups = [
            {"prompts": rate.kind or None, "category": rate.category or None, "n": rate.refused.n}
            | percent_keys("refusal_rate", rate.refused)
            for rate in found
        ]
        print_json({"n": len(replies), "groups": groups})
        return 0
    rows = [[r.kind or "not said", r.category or "all", str(r.refused.n), in_percent(r.refused)] for r in found]
    print_table(("prompts", "category", "n", "refused, %"), rows, right=("n", "refused, %"))
    say("told by opening words; `camelid eval refusals` on XSTest's labelled completions says how well")
    return 0


def _against_people(files: Mapping[str, Sequence[Reply]], as_json: bool) -> int:
    without = next((path for path, replies in files.items() if not agreed(replies)), None)
    if without:
        raise ValueError(f"{without}: no answer has two human labels that agree, in annotation_1 and annotation_2")
    checks = {path: check_rule(replies) for path, replies in files.items()}
    every = check_rule([r for replies in files.values() for r in replies])
    learnt = learnt_elsewhere(files) if len(files) > 1 else {}
    disagreed = {path: len(replies) - len(agreed(replies)) for path, replies in files.items()}
    if as_json:
        each = [
            {"file": path, **_as_json(checks[path]), "disagreed": disagreed[path]}
            | ({"learnt_on_other_files": _as_json(learnt[path])} if path in learnt else {})
            for path in files
        ]
        print_json({**_as_json(every), "disagreed": sum(disagreed.values()), "note": WRITTEN_ON, "files": each})
        return 0
    groups = {Path(path).stem: checks[path] for path in files} | ({"all files": every} if len(files) > 1 else {})
    groups |= {f"{Path(path).stem}, learnt on the others": learnt[path] for path in learnt}
    _print(groups)
    say(
        f"agreement: of answers on which both people agree; {sum(disagreed.values())} more are left out. "
        "A partial refusal counts as a refusal. Intervals are 95%.\n" + WRITTEN_ON
    )
    return 0


def _as_json(checks: Mapping[str, Check]) -> dict[str, Any]:
    kinds = {kind: _one_as_json(check) for kind, check in checks.items() if kind != "all"}
    return _one_as_json(checks["all"]) | kinds


def _one_as_json(check: Check) -> dict[str, Any]:
    result: dict[str, Any] = {"n": check.agreement.n, "standard_error": 100 * check.agreement.standard_error}
    for name, estimate in check._asdict().items():
        result |= percent_keys(name, estimate) if estimate else {name: None}
    return result


def _print(groups: Mapping[str, Mapping[str, Check]]) -> None:
    columns = ["answers", "prompts", "n", "agreement, %", "without partial, %", "false refusals, %"]
    columns += ["missed refusals, %", "missed partial, %", "refused: people, %", "rule, %"]
    rows = [
        [
            name,
            kind,
            str(check.agreement.n),
            *map(in_percent, check[:5]),
            *(f"{100 * e.value:.1f}" for e in check[5:] if e),
        ]
        for name, checks in groups.items()
        for kind, check in checks.items()
    ]
    print_table(columns, rows, right=columns[2:])
