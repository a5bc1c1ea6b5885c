"""`camelid eval judge`: answers compared or rated by a model, its biases and its cost with every result."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from camelid import settings_text
from camelid.commands import say
from camelid.commands.judge_table import print_cost, print_judged
from camelid.evaluate.judged import JudgedSettings, cost_before, judge_answers
from camelid.judges.cost import Cost, Count, Price, estimate_tokens, read_price
from camelid.runs import Stage, execute
from camelid.types import Messages

FILES = ("questions", "references", "prompt")


def judge(arguments: argparse.Namespace) -> int:
    """Judge answers, or say what that would cost."""
    if arguments.settings:
        print(settings_text.describe(JudgedSettings()))
        return 0
    s = settings_text.change(JudgedSettings(), [*([f"way={arguments.way}"] * bool(arguments.way)), *arguments.set])
    inputs = _inputs(arguments)
    price = read_price(Path(arguments.prices), s.remote.model) if arguments.prices else None
    if arguments.dry_run:
        cost = cost_before(s, inputs, _counter(arguments.tokenizer))
        counted = f"counted with {arguments.tokenizer}" if arguments.tokenizer else "estimated as characters / 4"
        _show_cost_before(cost, price, counted, as_json=arguments.json)
        return 0
    path = execute([Stage("judged", judge_answers, s, inputs)], Path(arguments.out), announce=say)["judged"]
    numbers = json.loads((path / "results.json").read_text(encoding="utf-8"))
    cost = Cost(*(numbers["cost"][name] for name in ("requests", "prompt_tokens", "completion_tokens")))
    numbers["cost"]["usd"] = cost.as_json(price)["usd"]
    if arguments.json:
        print(json.dumps(in_percent(numbers) | {"folder": str(path)}))
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

    from camelid.models.loading import resolve_model

    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model(model), trust_remote_code=False)

    def count(messages: Messages) -> int:
        return sum(len(tokenizer(m.content, add_special_tokens=False)["input_ids"]) for m in messages)

    return count


def _show_cost_before(cost: Cost, price: Price | None, counted: str, *, as_json: bool) -> None:
    numbers = cost.as_json(price) | {
        "prompt_tokens_are": counted,
        "completion_tokens_are": "the most that replies may have",
    }
    del numbers["replies_without_count"]
    if as_json:
        print(json.dumps(numbers))
        return
    print_cost(numbers, at_most=True)
    say(f"prompt tokens are {counted}; completion tokens are the most that replies may have. Nothing was asked.")


PERCENT = ("win_rate", "win_rate_length_controlled", "consistency", "position_bias", "length_bias")


def in_percent(numbers: dict[str, Any]) -> dict[str, Any]:
    """The shares as plain keys in percent, each with its interval, standard error and n in `intervals`."""
    shares = {name: numbers[name] for name in PERCENT if name in numbers}
    shares |= {f"win_rate_{c}": e for c, e in numbers.get("win_rate_by_category", {}).items()}
    rest = {name: value for name, value in numbers.items() if name not in (*PERCENT, "win_rate_by_category")}
    values = {name: e and 100 * e["value"] for name, e in shares.items()}
    intervals = {name: e and {k: _times(e[k], 1 if k == "n" else 100) for k in e} for name, e in shares.items()}
    return rest | values | {"intervals": intervals}


def _times(value: float | None, factor: int) -> float | None:
    return None if value is None else factor * value
