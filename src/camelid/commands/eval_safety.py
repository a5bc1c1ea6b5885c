"""`camelid eval safety`: refusals of unsafe and of harmless prompts, violations where somebody judged them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from camelid.commands import say
from camelid.commands.eval_numbers import percent, shown
from camelid.evaluate.safety.prompts import read_prompts, with_kinds
from camelid.evaluate.safety.rates import Rate, Verdicts, rates, ratings_verdicts, reward_model_verdicts
from camelid.evaluate.safety.replies import Reply, read_replies
from camelid.table import print_table

NOT_REFUSED = (
    "nobody judged violations: `not refused` is not a violation rate, since an answer may help with no harm and refuse "
    "nothing. Give --ratings (people, 1 to 5) or --judge with --threshold (a reward model for safety)"
)


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
    return _print_rates(replies, _judge(arguments), arguments.json, num_read - len(replies))


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


def _print_rates(replies: Sequence[Reply], judge: tuple[str, Verdicts] | None, as_json: bool, left_out: int) -> int:
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
    unjudged = sum(rate.unjudged for rate in found if not rate.category)
    say(f"violations: {judge[0]}. {unjudged} of {len(replies)} answers unjudged" if judge else NOT_REFUSED)
    return 0


def _rate_json(rate: Rate) -> dict[str, Any]:
    violations = {} if rate.violations is None else percent("violation_rate", rate.violations)
    return (
        {"prompts": rate.kind or None, "category": rate.category or None, "n": rate.refused.n}
        | percent("refusal_rate", rate.refused)
        | {"not_refused_rate": 100 * rate.not_refused.value, "unjudged": rate.unjudged}
        | violations
    )
