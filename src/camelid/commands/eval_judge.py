"""`camelid eval judge`: answers compared or rated by a model, its biases and its cost with every result."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from camelid import settings_text
from camelid.commands import print_json, say
from camelid.commands.judge_table import print_expected_cost, print_judged
from camelid.evaluate.judged import JudgedSettings, cost_before, judge_answers, what_to_ask
from camelid.judges.cost import Cost, Count, estimate_tokens
from camelid.models.prices import read_price
from camelid.models.server_cost import ServerCost
from camelid.runs import Stage, execute
from camelid.types import Messages

FILES = ("questions", "references", "prompt")
SHARES = ("win_rate", "length_controlled_win_rate", "consistency", "position_bias", "length_bias")


def judge(arguments: argparse.Namespace) -> int:
    """Judge answers, or say what that would cost."""
    if arguments.settings:
        print(settings_text.describe(JudgedSettings()))
        return 0
    s = settings_text.change(JudgedSettings(), [*([f"way={arguments.way}"] * bool(arguments.way)), *arguments.set])
    inputs = _inputs(arguments)
    prices = arguments.prices or s.remote.prices
    if arguments.dry_run:
        priced = s.model_copy(update={"remote": s.remote.model_copy(update={"prices": prices})})
        cost = cost_before(priced, inputs, _counter(arguments.tokenizer))
        counted = f"counted with {arguments.tokenizer}" if arguments.tokenizer else "estimated as characters / 4"
        _show_cost_before(cost, counted, as_json=arguments.json)
        return 0
    price = read_price(Path(prices), s.remote.model) if prices else None
    what_to_ask(s, inputs)  # before a folder is made
    path = execute([Stage("judged", judge_answers, s, inputs)], Path(arguments.out), announce=say)["judged"]
    numbers = json.loads((path / "results.json").read_text(encoding="utf-8"))
    numbers["cost"]["usd"] = Cost(**numbers["cost"]).usd(price)
    if arguments.json:
        print_json(in_percent(numbers) | {"folder": str(path)})
        return 0
    print_judged(numbers)
    say(f"replies, judgements and numbers: {path}")
    return 0


def _inputs(arguments: argparse.Namespace) -> dict[str, Path]:
    """The stage's inputs. Raises ValueError where a file is missing."""
    if not 1 <= len(arguments.answers) <= 2:
        raise ValueError(f"{len(arguments.answers)} files of answers: give one to rate, or two to compare")
    named = dict(zip(("first", "second"), arguments.answers, strict=False))
    named |= {name: getattr(arguments, name) for name in FILES if getattr(arguments, name)}
    missing = [file for file in named.values() if not Path(file).is_file()]
    if missing:
        raise ValueError(f"{missing[0]}: no such file")
    return {name: Path(file) for name, file in named.items()}


def _counter(model: str) -> Count:
    """How tokens of a prompt are counted; the chat format's own tokens are not."""
    if not model:
        return estimate_tokens
    from transformers import AutoTokenizer

    from camelid.models.loading import resolve_model, tokenizer_folder

    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder(resolve_model(model)), trust_remote_code=False)

    def count(messages: Messages) -> int:
        return sum(len(tokenizer(m.content, add_special_tokens=False)["input_ids"]) for m in messages)

    return count


def _show_cost_before(cost: ServerCost, counted: str, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(cost) | {"prompt_tokens_are": counted, "completion_tokens_are": "the most there can be"})
        return
    print_expected_cost(cost)
    say(f"prompt tokens are {counted}; completion tokens are the most that replies may have. Nothing was asked.")
    if math.isnan(cost.usd):
        say("the cost is unknown without a table of prices (--prices FILE) and a limit on replies")
    if math.isnan(cost.seconds):
        say("the time is unknown without the server's limit: --set remote.requests_per_minute=N")


def in_percent(numbers: dict[str, Any]) -> dict[str, Any]:
    """Shares as plain keys in percent, each with interval, standard error and n; the win rate's own have no prefix."""
    flat = {name: value for name, value in numbers.items() if name not in (*SHARES, "win_rate_by_category")}
    for name in SHARES:
        if name in numbers:
            flat |= _flat(name, numbers[name])
    if "win_rate" in numbers:
        by_category = numbers["win_rate_by_category"].items()
        flat |= {"standard_error": flat["win_rate_standard_error"], "n": flat["win_rate_n"]}
        flat["win_rate_by_category"] = {category: _flat("win_rate", e) for category, e in by_category}
    return flat


def _flat(name: str, estimate: dict[str, Any] | None) -> dict[str, Any]:
    """An estimate as four plain keys; None for a number that there is not."""
    if estimate is None:
        return {name: None, f"{name}_interval": None, f"{name}_standard_error": None, f"{name}_n": 0}
    value, low, high, error = (
        None if estimate[part] is None else 100 * estimate[part] for part in ("value", "low", "high", "standard_error")
    )
    interval = None if low is None else [low, high]
    return {name: value, f"{name}_interval": interval, f"{name}_standard_error": error, f"{name}_n": estimate["n"]}
