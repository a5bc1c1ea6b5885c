"""What a model's tokens cost. No price is known here; the user brings a table. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Dollars for so many tokens."""
        return (self.input * prompt_tokens + self.output * completion_tokens) / 1e6


def read_price(path: Path, model: str) -> Price:
    """A model's price from a table, {"MODEL": {"input": USD, "output": USD}} a million tokens. Raises ValueError."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        row = table[model]
        price = Price(float(row["input"]), float(row["output"]))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: no JSON ({error.msg})") from None
    except KeyError as error:
        has = ", ".join(map(str, table)) or "nothing"
        raise ValueError(f"{path}: no {error} for model {model!r}; the table has {has}") from None
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        raise ValueError(
            f'{path}: wanted is {{"MODEL": {{"input": USD, "output": USD}}}}, each for a million tokens'
        ) from None
    if not (0 <= price.input < float("inf") and 0 <= price.output < float("inf")):
        raise ValueError(f"{path}: the prices of {model!r} must be numbers from 0 up")
    return price
