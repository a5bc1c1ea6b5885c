"""The tables of `camelid eval judge`."""

from __future__ import annotations

from math import isnan
from typing import Any

from camelid.commands import say
from camelid.models.server_cost import ServerCost
from camelid.table import print_table, shown_seconds

Numbers = dict[str, Any]
COLUMNS = ("measure", "value", "95% interval", "n")


def print_judged(numbers: Numbers) -> None:
    """Every number with its interval and n; then what the judge did and what it cost."""
    models = numbers["models"]
    pair = len(models) == 2
    length = _row(
        f"judge: rank correlation of length and {'wins' if pair else 'score'}", numbers["length_correlation"], 1
    )
    rows = [*(_pair_rows(numbers) if pair else []), length, *_score_rows(numbers)]
    print_table(COLUMNS, rows, right=COLUMNS[1:])
    valid = numbers["judgements"] - numbers["invalid"]
    print(f"\n{numbers['questions']} questions, {numbers['judgements']} judgements: {_counts(numbers)}")
    print_actual_cost(numbers["cost"])
    if not valid:
        say("no judgement could be read, so there is no number; look at replies.jsonl")
    if numbers.get("without_reference"):
        say(f"{numbers['without_reference']} judgements had no correct answer to go by; --references FILE gives them")
    if numbers.get("replies_without_logprobs"):
        say(f"{numbers['replies_without_logprobs']} replies came without log-probabilities; their letter was read")


def print_expected_cost(cost: ServerCost) -> None:
    """Before: an estimate of the prompts, a bound on the replies."""
    most = "without a limit" if isnan(cost.completion_tokens) else f"at most {cost.completion_tokens}"
    money = "unknown" if isnan(cost.usd) else f"about {cost.usd:.4f} USD if every reply is that long"
    time = "unknown" if isnan(cost.seconds) else f"{shown_seconds(cost.seconds)} at the server's limit"
    print(
        f"{cost.requests} requests; prompt tokens: {cost.prompt_tokens}; completion tokens: {most}; cost: {money}; "
        f"time: {time}"
    )


def print_actual_cost(cost: Numbers) -> None:
    """After: what the server counted."""
    uncounted = cost["replies_without_count"]
    least = "at least " if uncounted else ""
    prompt, completion = (
        "unknown" if cost[part] is None else f"{least}{cost[part]}" for part in ("prompt_tokens", "completion_tokens")
    )
    money = "unknown" if cost["usd"] is None else f"{least}{cost['usd']:.4f} USD"
    print(f"{cost['requests']} requests; prompt tokens: {prompt}; completion tokens: {completion}; cost: {money}")
    if uncounted:
        say(f"{uncounted} replies came without a count of tokens")


def _pair_rows(numbers: Numbers) -> list[list[str]]:
    first, second = numbers["models"]
    named = [
        (f"win rate of {first} over {second}", "win_rate"),
        ("  if both were equally long", "length_controlled_win_rate"),
        ("judge: consistent over both orders", "consistency"),
        ("judge: prefers what is shown first (50: no bias)", "position_bias"),
        ("judge: prefers the longer answer", "length_bias"),
    ]
    rows = [_row(text, numbers[name], 100) for text, name in named]
    rows[2:2] = [_row(f"  in {c or 'no category'}", e, 100) for c, e in numbers["win_rate_by_category"].items()]
    return rows


def _score_rows(numbers: Numbers) -> list[list[str]]:
    scores = numbers["scores"] or {}
    rows = [
        _row(f"score {name}" if part == "all" else f"  in {part or 'no category'}", estimate, 1)
        for name, parts in scores.items()
        for part, estimate in parts.items()
    ]
    return [*rows, *([_row("score, first less second", numbers["score_difference"], 1)] if len(scores) == 2 else [])]


def _row(text: str, estimate: Numbers | None, factor: int) -> list[str]:
    if estimate is None:
        return [text, "-", "-", "0"]
    value, low, high = (None if estimate[k] is None else factor * estimate[k] for k in ("value", "low", "high"))
    digits = 1 if factor == 100 else 2
    interval = "-" if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"
    return [text, f"{value:.{digits}f}" + ("%" if factor == 100 else ""), interval, str(estimate["n"])]


def _counts(numbers: Numbers) -> str:
    counts = [f"{numbers[name]} {name}" for name in ("wins", "ties", "losses") if name in numbers]
    if "inconsistent" in numbers:
        counts[1] += f" ({numbers['inconsistent']} of them because the orders disagree)"
    return ", ".join(
        [*counts, f"{numbers['invalid']} invalid ({numbers['invalid_replies']} of {numbers['replies']} replies)"]
    )
