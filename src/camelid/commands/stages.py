"""`camelid sft`, `camelid ppo` ...: one stage by itself, its inputs and settings given as words."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from camelid import settings_text
from camelid.commands import LOG_TO, say
from camelid.runs import Stage, execute


def run_stage(name: str, place: str, words: Sequence[str]) -> int:
    """`camelid sft --model M --demonstrations FILE --set learning_rate=1e-4 --out runs/mine`."""
    module, function_name = place.split(":")
    function = getattr(importlib.import_module(module), function_name)
    defaults = settings_text.starting_settings(importlib.import_module(module))
    presets = ", ".join(settings_text.presets(importlib.import_module(module))) or "none here"
    parser = argparse.ArgumentParser(
        prog=f"camelid {name}",
        description=function.__doc__,
        epilog="settings (--set NAME=VALUE):\n" + settings_text.describe(defaults),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=f"camelid {name} --INPUT PATH [PATH ...] ... "
        "[--preset NAME] [--set NAME=VALUE] [--out FOLDER] [--log-to NAMES]",
        allow_abbrev=False,  # an input's name may begin like an option's
    )
    parser.add_argument("--preset", default="", metavar="NAME", help=f"begin with a paper's settings: {presets}")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    parser.add_argument("--out", default="runs/single", metavar="FOLDER", help="folder of the run")
    parser.add_argument("--log-to", metavar="NAMES", help=LOG_TO)
    known, rest = parser.parse_known_args(words)
    if not rest:
        parser.error("no input given; `--help` names those that this stage reads")
    inputs = stage_inputs(rest)
    settings = settings_text.starting_settings(importlib.import_module(module), known.preset)
    stage = Stage(name, function, settings_text.change(settings, known.set), inputs)
    print(execute([stage], Path(known.out), announce=say, log_to=known.log_to)[name])
    return 0


def stage_inputs(words: Sequence[str]) -> dict[str, Any]:
    """`--model M --preferences a.jsonl b.jsonl` as inputs: one path, or a list of them. Models may be named.

    An adapter's base model becomes an input of its own, so that the run's name depends on its content.
    """
    inputs: dict[str, Any] = {}
    name = ""
    for word in _parted(words):
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
            inputs.setdefault(name, [])
        elif not name:
            raise ValueError(f"{word!r} belongs to no input; write --NAME {word}")
        else:
            inputs[name].append(_path(name, word))
    empty = [name for name, paths in inputs.items() if not paths]
    if empty:
        raise ValueError(f"--{empty[0]} names no file")
    bases = {name: _base(paths[0]) for name, paths in inputs.items() if name.endswith("model")}
    inputs |= {f"{name}_base": [base] for name, base in bases.items() if base}
    return {name: paths[0] if len(paths) == 1 else paths for name, paths in inputs.items()}


def _base(model: Path) -> Path | None:
    """The base model of an adapter, which is as much an input as the adapter is; None for a whole model."""
    from camelid.models.loading import weights_folder

    base = weights_folder(model)
    return None if base == model else base


def _parted(words: Sequence[str]) -> Iterator[str]:
    """The words, with `--name=value` as two."""
    for word in words:
        option, equals, value = word.partition("=")
        yield from (option, value) if equals and word.startswith("--") else (word,)


def _path(name: str, word: str) -> Path:
    if name.endswith("model"):
        from camelid.models.loading import resolve_model

        return resolve_model(word)
    return Path(word)
