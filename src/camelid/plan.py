"""What stages will do and cost, before they do anything: `camelid estimate`, and `camelid run RECIPE --dry-run`.

Rows are counted in the files, or follow from the settings of the stages that will leave them; completions are taken to
be as long as they may be. Here, time is operations over what this machine does a second, rehearsed for some seconds
when the first model is met; for a device that is not here, over its peak times a utilisation. Left out: downloads, and
the work that a checkpoint will save.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from camelid.costs import Cost
from camelid.estimates import TABLE
from camelid.expected import Known, Reads, Rows, UnknownError
from camelid.models.devices import STAYS_BYTES, Device
from camelid.plan_shown import plan_json, print_lines
from camelid.runs import Stage, finished_stages, function_name

if TYPE_CHECKING:
    from camelid.models.probe import Speed
    from camelid.models.shape import Shape

UNMET = Device("none", True, 0, None, None)
"""For stages without a model."""

Probe = Callable[["Shape", Any], "Speed"]
"""(model, precision) -> how fast this machine is."""


@dataclass(frozen=True)
class Line:
    """One stage of the plan."""

    stage: Stage
    state: Literal["done", "to do", "unknown"]
    """`unknown`: nothing can be said, for the reason in `why`."""
    cost: Cost
    seconds: float
    why: str = ""


class Devices:
    """The device of each stage: the one asked for, or this machine, measured once for each precision."""

    def __init__(self, probe: Probe, device: Device | None = None):
        self.probe = probe
        self.device = device
        self.speeds: dict[str, Speed] = {}

    def of(self, reads: Reads) -> Device:
        """`UNMET` for a stage without a model."""
        settings = reads.stage.settings
        model = next((name for name in ("model", "reward_model", "teacher") if name in reads), "")
        holder = getattr(settings, "teacher" if model == "teacher" else "model", settings)
        precision = getattr(holder, "precision", None)
        if precision is None or not model:
            return UNMET
        if self.device is not None:
            return self.device.in_precision(precision)
        if precision not in self.speeds:
            self.speeds[precision] = self.probe(reads.shape(model), precision)
        s = self.speeds[precision]
        return Device("here", s.device == "cpu", s.number_bytes, s.memory_bytes, s.operations_per_second, rates=s.rates)


def make_plan(
    stages: Sequence[Stage], root: Path, probe: Probe, *, device: Device | None = None, in_place: Rows | None = None
) -> tuple[list[Line], list[Speed]]:
    """A line a stage, and the speeds that were measured. Raises FileNotFoundError where an input file is missing.

    On a `device` that is not here nothing is done yet. `in_place`: what inputs are that a stage was not given.
    """
    known = Known(finished_stages(stages, root) if device is None and in_place is None else {}, in_place=in_place)
    devices = Devices(probe, device)
    lines: list[Line] = []
    for stage in stages:
        # One process runs them all: what the first model's stage leaves in it is there from the next on.
        used = any(line.cost.device.on_cpu and line.cost.memory_bytes for line in lines)
        lines.append(estimate_stage(stage, known, devices, stays_bytes=STAYS_BYTES if used else 0.0))
    return lines, list(devices.speeds.values())


def estimate_stage(stage: Stage, known: Known, devices: Devices, *, stays_bytes: float = 0.0) -> Line:
    """What one stage costs; what it will leave is noted in `known`. `stays_bytes`: left in the process by others."""
    if stage.name in known.finished:
        return Line(stage, "done", Cost(UNMET), 0.0)
    estimate = TABLE.get(function_name(stage))
    try:
        if estimate is None:
            raise UnknownError(f"no estimate of stages like {stage.name}")
        reads = Reads(stage, known)
        cost = Cost(devices.of(reads), stays_bytes=stays_bytes)
        known.left[stage.name] = estimate(stage.settings, reads, cost)
    except UnknownError as reason:
        return Line(stage, "unknown", Cost(UNMET), 0.0, str(reason))
    return Line(stage, "to do", cost, cost.total_seconds)


def print_plan(stages: Sequence[Stage], root: Path, *, as_json: bool = False, **asked: Any) -> None:
    """Print the plan of running `stages` under `root`, as a table or as JSON; `asked` as `make_plan` takes it."""
    lines, speeds = make_plan(stages, root, this_machine, **asked)
    if as_json:
        print(json.dumps(plan_json(lines, speeds)))
    else:
        print_lines(lines, speeds)


def this_machine(shape: Shape, precision: Any) -> Speed:
    """Measure it."""
    from camelid.models.probe import probe

    return probe(shape, precision)
