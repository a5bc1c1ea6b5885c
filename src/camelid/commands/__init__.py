"""What the commands do, a module a noun; each function takes the parsed words and returns the exit code.

Answers go to stdout through `print` and `table`, talk to stderr through `say`.
"""

from __future__ import annotations

import json
import math
import sys

LOG_TO = "write metrics to tensorboard, trackio or wandb too, by commas (default: those in CAMELID_LOG_TO)"
"""Help of --log-to."""


def say(text: str) -> None:
    """Talk: to stderr, so that stdout holds answers only."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """The answer as one JSON object. What has no finite value, such as the interval of a single unit, is null there."""
    print(json.dumps(_finite(value), ensure_ascii=False))


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
