"""`camelid estimate`: memory and time of a recipe or of one stage, here or on a GPU, before anything is loaded.

Nothing is fetched: of models, config.json is read, and well-known ones are known by name.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Sequence
from pathlib import Path

from camelid import settings_text
from camelid.commands import print_json, say
from camelid.expected import Known, Rows
from camelid.models.devices import Device, find_device
from camelid.runs import Stage


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="camelid estimate",
        description="memory and time of a recipe or a stage, before anything is loaded",
        usage="camelid estimate RECIPE|STAGE [--INPUT PATH ...] [--device DEVICE] [--set NAME=VALUE] [--json]",
        epilog="what is not known is said to be unknown: a stage without its files tells memory, and with --rows time",
        allow_abbrev=False,
    )
    result.add_argument("what", help="a recipe (`camelid recipes list`), a .py file, or a stage such as sft")
    result.add_argument("--preset", default="", metavar="NAME", help="begin with a paper's settings; of a stage only")
    result.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    result.add_argument(
        "--device", default="here", help="here, h100, a100-80gb ..., or memory=80GB,tflops=990,bandwidth=3.35TB/s"
    )
    result.add_argument("--utilisation", type=float, help="share of the device's peak (default: 0.4); not for `here`")
    result.add_argument("--out", default="", help="folder of the run, for what is done already")
    for name, text in (("rows", "rows"), ("prompt-tokens", "a row's prompt"), ("answer-tokens", "one answer")):
        result.add_argument(
            f"--{name}", type=_amount, default=math.nan, metavar="N", help=f"{text}, if no file is given"
        )
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


def estimate(words: Sequence[str], stages: dict[str, str]) -> int:
    """`stages`: the commands that are stages, name -> module:function."""
    from camelid.models.loading import sizes_only

    arguments, rest = parser().parse_known_args(words)
    device = _device(arguments)
    with sizes_only():
        if arguments.what in stages:
            return _stage(arguments, rest, stages[arguments.what], device)
        if arguments.preset:
            raise ValueError(f"--preset {arguments.preset}: a recipe has none; change it with --set NAME=VALUE")
        if rest:
            raise ValueError(f"{' '.join(rest)}: a recipe names its inputs itself; change them with --set NAME=VALUE")
        return _recipe(arguments, device)


def _recipe(arguments: argparse.Namespace, device: Device | None) -> int:
    from camelid.commands.recipes import planned
    from camelid.plan import print_plan

    stages, root = planned(arguments.what, arguments.set, arguments.out)
    print_plan(stages, root, as_json=arguments.json, device=device)
    return 0


def _stage(arguments: argparse.Namespace, words: Sequence[str], place: str, device: Device | None) -> int:
    from camelid.commands.stages import stage_inputs
    from camelid.fitting import print_ways, ways
    from camelid.plan import Devices, estimate_stage, this_machine
    from camelid.plan_shown import plan_json, print_lines

    module, name = place.split(":")
    begin = settings_text.starting_settings(importlib.import_module(module), arguments.preset)
    settings = settings_text.change(begin, arguments.set)
    stage = Stage(arguments.what, getattr(importlib.import_module(module), name), settings, stage_inputs(words))
    _check_files(stage)
    known = Known({}, in_place=Rows(arguments.rows, arguments.prompt_tokens, arguments.answer_tokens))
    devices = Devices(this_machine, device)
    line = estimate_stage(stage, known, devices)
    others = ways(stage, known, devices) if line.state == "to do" else []
    if arguments.json:
        plan = plan_json([line], list(devices.speeds.values()))
        plan["ways"] = [change | plan_json([other], [])["stages"][0] for change, other in others]
        print_json(plan)
        return 0
    print_lines([line], list(devices.speeds.values()))
    if others:
        print_ways(others)
    return 0


def _check_files(stage: Stage) -> None:
    for name, value in stage.inputs.items():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path) and not path.exists():
                raise ValueError(f"--{name} {path}: no such file")


def _device(arguments: argparse.Namespace) -> Device | None:
    """None for this machine."""
    if arguments.device != "here":
        return find_device(arguments.device, arguments.utilisation)
    if arguments.utilisation is not None:
        raise ValueError("--utilisation is for a --device that is not here; this machine is measured")
    say("measuring this machine for some seconds ...")
    return None


def _amount(text: str) -> float:
    number = float(text)
    if not (number > 0 and math.isfinite(number)):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number
