"""The words of `camelid eval`: a file a group of verbs; what they do is in the modules that they name.

Imports nothing else of ours, so that `camelid --help` stays quick.
"""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words import (
    benchmarks,
    bold,
    contamination,
    judged,
    judges,
    people,
    published,
    rewards,
    safety,
    truth,
)
from camelid.commands.eval_words.kinds import Command

GROUPS = (benchmarks, published, judged, judges, people, rewards, safety, bold, truth, contamination)


def add(verbs: Any, command: Command) -> None:
    """All verbs of `camelid eval`."""
    for group in GROUPS:
        group.add(verbs, command)
