"""Runs the stages of `killable.py` here and on the stand-in for a device: a program, read by tests/test_stand_in.py.

    python tests/on_stand_in.py FOLDER FAULT     prints a JSON line: what each stage measured in both places

FAULT: `none`, or a fault to be planted, by which the test shows that it would see one.
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import stand_in
from camelid.models import batch, losses, residual_dropout
from camelid.models.batch import Row
from camelid.models.compute import Compute
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.runs import Stage, execute, read_manifest
from camelid.train.sft import loss
from killable import stage
from stage_inputs import STAGES

SHORT = {"epochs": 0.5, "num_iterations": 2, "checkpoint_every": 5, "held_out": 4}
"""Of stages that have such a setting: a few steps are enough."""


def short(name: str, inputs: Path) -> Stage:
    made = stage(name, inputs)
    change = {key: value for key, value in SHORT.items() if key in type(made.settings).model_fields}
    return replace(made, settings=made.settings.model_copy(update=change))


def waits_of_a_step(folder: Path, micro_batch_tokens: int) -> int:
    """How often the host waits in a forward and backward pass over some rows, and in the step after it."""
    settings = ModelSettings(lora_rank=0, micro_batch_tokens=micro_batch_tokens, checkpointing="never")
    policy = Policy.load_for_training(folder / "inputs" / "model", settings, OptimizerSettings(), seed=0)
    rows = [Row(list(range(start, start + 30)), [False] + [True] * 29) for start in range(10, 210, 25)]
    with stand_in.watched() as (waits, _):
        metrics = policy.forward_backward(rows, loss)
        policy.step(1e-3, metrics["count"])
    return sum(waits.values())


def run(name: str, inputs: Path, root: Path) -> dict[str, Any]:
    """Metrics of a stage and the first rows that it logged, what made the host wait and what was sent, by line."""
    with stand_in.watched() as (waits, uploads):
        try:
            path = execute([short(name, inputs)], root)[name]
        except Exception:
            return {"error": traceback.format_exc()}
    manifest = read_manifest(path)
    assert manifest is not None
    logged = path / "metrics.jsonl"
    rows = [json.loads(line) for line in logged.read_text().splitlines()] if logged.exists() else []
    return {"metrics": manifest["metrics"], "rows": rows, "waits": dict(waits), "uploads": dict(uploads)}


def compute_on(device: torch.device) -> None:
    """Make all of camelid choose the device."""
    chosen = Compute(device, torch.float32)
    for name, module in list(sys.modules.items()):
        if name.startswith("camelid") and hasattr(module, "choose_compute"):
            module.choose_compute = lambda precision="auto": chosen  # type: ignore[attr-defined]
    # torch has no generator for the device: its bits are drawn here.
    draw = residual_dropout.random_bits
    residual_dropout.random_bits = lambda seed, shape, _: draw(seed, shape, torch.device("cpu")).to(device)  # type: ignore


def plant(fault: str) -> None:
    """One of the faults that a GPU shows and a CPU does not."""
    if fault == "left behind":  # a tensor of a batch stays on the CPU
        send = batch.send
        batch.send = lambda x, device: x if x.dtype == torch.bool else send(x, device)  # type: ignore[attr-defined]
    elif fault == "numpy":
        losses.Sums.__init__ = _with_numpy  # type: ignore[method-assign]
    elif fault == "waits":
        losses.Sums.__init__ = _with_item  # type: ignore[method-assign]


def _with_numpy(self: Any, rows: Any, values: Any) -> None:
    self.rows, self.values = rows, {name: torch.tensor(float(x.detach().numpy())) for name, x in values.items()}


def _with_item(self: Any, rows: Any, values: Any) -> None:
    self.rows, self.values = rows, {name: torch.tensor(x.item()) for name, x in values.items()}


def main() -> None:
    folder, fault = Path(sys.argv[1]), sys.argv[2]
    stages = STAGES if fault == "none" else ("sft",)
    answers = partial(run, inputs=folder / "inputs")
    device = stand_in.install()  # before the first backward pass, which looks once what devices there are
    here = {name: answers(name, root=folder / "here") for name in stages} if fault == "none" else {}
    compute_on(device)
    plant(fault)
    there = {name: answers(name, root=folder / f"there {fault}") for name in stages}
    steps = {tokens: waits_of_a_step(folder, tokens) for tokens in (512, 40)} if fault in ("none", "waits") else {}
    print(json.dumps({"here": here, "there": there, "waits of a step": list(steps.values())}))


if __name__ == "__main__":
    main()
