"""`camelid eval harness`: tasks of the lm-evaluation-harness on our engine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from camelid.commands import say
from camelid.table import print_table


def harness(arguments: argparse.Namespace) -> int:
    """The harness' measures, by its names."""
    from camelid.evaluate.harness import run_harness
    from camelid.models.answering import Answerer
    from camelid.models.loading import resolve_model
    from camelid.models.model_settings import ModelSettings
    from camelid.models.policy import Policy

    tasks = [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    if not tasks:
        raise ValueError("--tasks names no task")
    policy = Policy.load(resolve_model(arguments.model), ModelSettings(precision=arguments.precision))
    include = Path(arguments.include) if arguments.include else None
    found = run_harness(Answerer(policy), tasks, include=include, shots=arguments.shots, limit=arguments.limit or None)
    if arguments.json:
        print(json.dumps({"model": arguments.model, **found}, default=str))
        return 0
    rows = [
        [task, name.partition(",")[0], f"{value:.4f}", str(found["n_samples"].get(task, {}).get("effective", ""))]
        for task, measures in found["results"].items()
        for name, value in measures.items()
        if isinstance(value, float) and "_stderr" not in name
    ]
    print_table(["task", "measure", "value", "n"], rows, right=["value", "n"])
    if found["cut"]:
        say(f"{found['cut']} prompts were longer than the model's context and lost their beginning")
    return 0
