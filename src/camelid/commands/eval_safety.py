"""`camelid eval refusals` and `camelid eval safety`: who refuses what, how well that is told, what breaks the rules."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camelid.commands import say
from camelid.evaluate.safety.agreement import Check, agreed, check_rule, learnt_elsewhere
from camelid.evaluate.safety.prompts import read_prompts, with_kinds
from camelid.evaluate.safety.rates import Rate, Verdicts, rates, ratings_verdicts, reward_model_verdicts
from camelid.evaluate.safety.replies import Reply, read_replies
from camelid.functional.statistics import Estimate
from camelid.table import print_table

NOT_REFUSED = (
    "nobody judged violations: `not refused` is not a violation rate, since an answer may help with no harm and refuse "
    "nothing. Give --ratings (people, 1 to 5) or --judge with --threshold (a reward model for safety)"
)


def refusals(arguments: argparse.Namespace) -> int:
    """Checked against people where the files have their labels, else how often is refused."""
    files = {path: read_replies(path) for path in arguments.files}
    labelled = {path: replies for path, replies in files.items() if any(r.labels for r in replies)}
    if labelled and len(labelled) < len(files):
        raise ValueError(f"{min(set(files) - set(labelled))} has no human labels, others have; give them apart")
    if not labelled:
        return _print_rates([r for replies in files.values() for r in replies], None, arguments.json)
    checks = {path: check_rule(replies) for path, replies in files.items()}
    every = check_rule([r for replies in files.values() for r in replies])
    learnt = learnt_elsewhere(files) if len(files) > 1 else {}
    if arguments.json:
        pooled = _check_json(every) | {"disagreed": sum(len(r) - len(agreed(r)) for r in files.values())}
        print(json.dumps(pooled | {"files": [_file_json(path, files[path], checks, learnt) for path in files]}))
        return 0
    groups = {Path(path).stem: checks[path] for path in files} | ({"all files": every} if len(files) > 1 else {})
    groups |= {f"{Path(path).stem}, learnt on the others": learnt[path] for path in learnt}
    _print_checks(groups)
    say("agreement: of answers on which both people agree; a partial refusal counts as a refusal. Intervals are 95%.")
    say("The rule was written on XSTest's file llama2orig: its figure there is no test, that on any other file is one.")
    return 0


def safety(arguments: argparse.Namespace) -> int:
    """Refusals of unsafe and of harmless prompts, and violations where somebody judged them."""
    replies = [r for path in arguments.files for r in read_replies(path)]
    num_read = len(replies)
    if arguments.prompts:
        replies = with_kinds(replies, read_prompts(arguments.prompts))
        if not replies:
            raise ValueError(f"none of the {num_read} answers is to a prompt of {', '.join(arguments.prompts)}")
        if len(replies) < num_read:
            say(f"{num_read - len(replies)} of {num_read} answers are to other prompts than those given; left out")
    if not any(r.kind for r in replies):
        raise ValueError(
            f"{arguments.files[0]} does not say which prompts ask for harm: name the prompt files with --prompts"
        )
    return _print_rates(replies, _judge(arguments), arguments.json, left_out=num_read - len(replies))


def _judge(arguments: argparse.Namespace) -> tuple[str, Verdicts] | None:
    if arguments.ratings and arguments.judge:
        raise ValueError("--ratings and --judge both judge violations: give one of them")
    if arguments.ratings:
        return "ratings, majority of 1 or 2", ratings_verdicts(arguments.ratings)
    if arguments.judge:
        if arguments.threshold is None:
            raise ValueError("--judge needs --threshold: a reward model's score has no natural zero")
        return f"reward model, score below {arguments.threshold:g}", reward_model_verdicts(
            arguments.judge, arguments.threshold
        )
    return None


def _print_rates(
    replies: Sequence[Reply], judge: tuple[str, Verdicts] | None, as_json: bool, *, left_out: int = 0
) -> int:
    found = rates(replies, judge[1](replies) if judge else None)
    if as_json:
        judged = {"violations_judged_by": judge[0]} if judge else {"violations_judged_by": None, "note": NOT_REFUSED}
        groups = [_rate_json(rate) for rate in found]
        print(json.dumps({"n": len(replies), "left_out": left_out} | judged | {"groups": groups}))
        return 0
    columns = ["prompts", "category", "n", "refused, %", "not refused, %", *(["violations, %"] if judge else [])]
    rows = [
        [rate.kind or "not said", rate.category or "all", str(rate.refused.n)]
        + [shown(share) for share in (rate.refused, rate.not_refused, rate.violations)[: len(columns) - 3]]
        for rate in found
    ]
    print_table(columns, rows, right=columns[2:])
    say(f"violations: {judge[0]}. {found[0].unjudged} unjudged" if judge else NOT_REFUSED)
    return 0


def _rate_json(rate: Rate) -> dict[str, Any]:
    violations = {} if rate.violations is None else percent("violation_rate", rate.violations)
    return (
        {"prompts": rate.kind or None, "category": rate.category or None, "n": rate.refused.n}
        | percent("refusal_rate", rate.refused)
        | {"not_refused_rate": 100 * rate.not_refused.value, "unjudged": rate.unjudged}
        | violations
    )


def _file_json(
    path: str, replies: Sequence[Reply], checks: Mapping[str, Any], learnt: Mapping[str, Any]
) -> dict[str, Any]:
    more = {"learnt_on_other_files": _check_json(learnt[path])} if path in learnt else {}
    return {"file": path} | _check_json(checks[path]) | {"disagreed": len(replies) - len(agreed(replies))} | more


def _check_json(checks: Mapping[str, Check]) -> dict[str, Any]:
    whole = _one_check_json(checks["all"])
    return whole | {kind: _one_check_json(check) for kind, check in checks.items() if kind != "all"}


def _one_check_json(check: Check) -> dict[str, Any]:
    result: dict[str, Any] = {"n": check.agreement.n}
    for name, estimate in check._asdict().items():
        result |= percent(name, estimate) if estimate else {name: None}
    return result


def _print_checks(groups: Mapping[str, Mapping[str, Check]]) -> None:
    columns = ["answers", "prompts", "n", "agreement, %", "without partial, %", "false refusals, %"]
    columns += ["missed refusals, %", "missed partial, %", "refused: people, %", "rule, %"]
    rows = [
        [name, kind, str(check.agreement.n), *map(shown, check[:5]), *(f"{100 * e.value:.1f}" for e in check[5:])]
        for name, checks in groups.items()
        for kind, check in checks.items()
    ]
    print_table(columns, rows, right=columns[2:])


def percent(name: str, estimate: Estimate) -> dict[str, Any]:
    """A share in percent under `name`, its 95% interval and its n beside it."""
    return {
        name: 100 * estimate.value,
        f"{name}_interval": [100 * estimate.low, 100 * estimate.high],
        f"{name}_n": estimate.n,
    }


def shown(estimate: Estimate | None) -> str:
    """`97.3 [95.3, 98.4]`, in percent; nothing where there is no case."""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]" if estimate else ""
