"""Where metrics are written too: TensorBoard, trackio, Weights & Biases, by `--log-to` or CAMELID_LOG_TO.

A writer gets the rows of metrics.jsonl, which holds all of them whatever becomes of the writer; no result depends on
it, and no stage's name. Samples and guards stay in files (`camelid watch`). Libraries are imported when asked for.
Imports no torch.

    camelid run quickstart --log-to tensorboard,wandb
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camelid.metrics_file import Observer
from camelid.writers.mirror import FOLDER, Log, Mirror

VARIABLE = "CAMELID_LOG_TO"
PACKAGES = {"tensorboard": "tensorboardX", "trackio": "trackio", "wandb": "wandb"}
"""What each writer imports; its name is that of its module here, and of the extra that installs it."""


def checked(names: str | None) -> list[str]:
    """The names of a list with commas, each once; None: the list in CAMELID_LOG_TO.

    Raises ValueError where one is unknown or not installed: before a run, not hours into it.
    """
    source = "--log-to" if names is not None else VARIABLE
    given = os.environ.get(VARIABLE, "") if names is None else names
    chosen = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    for name in chosen:
        if name not in PACKAGES:
            raise ValueError(f"{source}: no writer {name!r}; there are {', '.join(PACKAGES)}")
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise ValueError(f"{source} {name}: {PACKAGES[name]} is not installed: pip install 'camelid[{name}]'")
    return chosen


def observers(names: Sequence[str], root: Path, place: Path, settings: Mapping[str, Any]) -> list[Observer]:
    """Writers for the stage in `root / place`; nothing is opened before its first row."""
    return [
        Mirror(name, Log(root.resolve().name, place.as_posix(), root / FOLDER / name, dict(settings)), root / place)
        for name in names
    ]
