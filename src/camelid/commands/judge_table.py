"""The tables of `camelid eval judge`."""

from __future__ import annotations

from typing import Any

from camelid.commands import say
from camelid.table import print_table

Numbers = dict[str, Any]
COLUMNS = ("measure", "value", "95% interval", "n")


def print_judged(numbers: Numbers) -> None:
    """Every number with its interval and n; then what the judge did and what it cost."""
    models = numbers["models"]
    rows = _pair_rows(numbers) if len(models) == 2 else []
    print_table(COLUMNS, [*rows, *_score_rows(numbers)], right=COLUMNS[1:])
    valid = numbers["judgements"] - numbers["invalid"]
    print(f"\n{numbers['questions']} questions, {numbers['judgements']} judgements: {_counts(numbers)}")
    print_cost(numbers["cost"], at_most=False)
    if not valid:
        say("no judgement could be read, so there is no number; look at replies.jsonl")
    if numbers.get("without_reference"):
        say(f"{numbers['without_reference']} judgements had no correct answer to go by; --references FILE gives them")
    if numbers.get("replies_without_logprobs"):
        say(f"{numbers['replies_without_logprobs']} replies came without log-probabilities; their letter was read")


def print_cost(cost: Numbers, *, at_most: bool) -> None:
    """Requests, tokens, money."""
    money = "unknown (no --prices FILE)" if cost["usd"] is None else f"{cost['usd']:.4f} USD"
    most = "at most " if at_most else ""
    print(
        f"{cost['requests']} requests, {cost['prompt_tokens']} prompt tokens, "
        f"{most}{cost['completion_tokens']} completion tokens, cost: {most if cost['usd'] is not None else ''}{money}"
    )
    if cost.get("replies_without_count"):
        say(f"{cost['replies_without_count']} replies came without a count of tokens; the sums lack them")


def _pair_rows(numbers: Numbers) -> list[list[str]]:
    first, second = numbers["models"]
    named = [
        (f"win rate of {first} over {second}", "win_rate"),
        ("  if both were equally long", "win_rate_length_controlled"),
        ("judge: consistent over both orders", "consistency"),
        ("judge: prefers what is shown first (50: no bias)", "position_bias"),
        ("judge: prefers the longer answer", "length_bias"),
    ]
    rows = [_row(text, numbers[name], 100) for text, name in named]
    rows[2:2] = [_row(f"  {c or 'no category'}", e, 100) for c, e in numbers["win_rate_by_category"].items()]
    return [*rows, _row("judge: rank correlation of length and wins", numbers["length_correlation"], 1)]


def _score_rows(numbers: Numbers) -> list[list[str]]:
    scores = numbers["scores"] or {}
    return [
        _row(f"score {name}" if part == "all" else f"  {part or 'no category'}", estimate, 1)
        for name, parts in scores.items()
        for part, estimate in parts.items()
    ]


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
