"""`camelid run`, `camelid study` and `camelid recipes`: recipes and studies found, shown, copied, planned and run."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import shutil
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from camelid import settings_text
from camelid.commands import print_json, say
from camelid.commands.runs import newest_model
from camelid.runs import Stage, execute
from camelid.table import print_table

ROOMS = {"recipe": Path(__file__).parent.parent / "recipes", "study": Path(__file__).parent.parent / "studies"}
"""A study is a recipe that ends in a conclusion, and lives in a folder of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Run a recipe or, with --dry-run, print its plan."""
    if arguments.dry_run:
        from camelid.models.loading import sizes_only
        from camelid.plan import print_plan

        with sizes_only():
            print_plan(*planned(arguments.recipe, arguments.set, arguments.out, arguments.kind), as_json=arguments.json)
        return 0
    stages, root = planned(arguments.recipe, arguments.set, arguments.out, arguments.kind)
    finished = execute(stages, root, announce=say, log_to=arguments.log_to)
    report = finished[stages[-1].name] / "report.html"
    if arguments.json:
        places = {name: str(path) for name, path in finished.items()}
        print_json({"run": str(root), "report": str(report) if report.exists() else None, "stages": places})
    else:
        print(report if report.exists() else root)
    if arguments.kind == "recipe" and newest_model(root):
        say(f"chat with the result: camelid chat {root}")
    return 0


def study(arguments: argparse.Namespace) -> int:
    """Run a study, or list what there is."""
    if not arguments.recipe:
        return _print_headers("study", as_json=arguments.json)
    arguments.out = arguments.out or f"runs/study-{Path(arguments.recipe).stem}"
    return run(arguments)


def planned(name: str, changes: Sequence[str], out: str, kind: str = "recipe") -> tuple[Sequence[Stage], Path]:
    """The stages of a recipe with changed settings, and the folder of its run."""
    recipe = load_recipe(name, kind)
    stages: Sequence[Stage] = recipe.stages(settings_text.change(recipe_settings(recipe)(), changes))
    if not stages:
        raise ValueError(f"recipe {name} has no stage with these settings")
    return stages, Path(out or f"runs/{Path(name).stem}")


def list_recipes(arguments: argparse.Namespace) -> int:
    """Names and first lines; nothing of a recipe is executed."""
    return _print_headers("recipe", as_json=arguments.json)


def _print_headers(kind: str, *, as_json: bool) -> int:
    headers = {_name(file): ast.get_docstring(ast.parse(file.read_text())) or "" for file in _files(kind)}
    rows = [{kind: name, "about": text.partition("\n")[0]} for name, text in headers.items()]
    if as_json:
        print_json(rows)
    else:
        print_table((kind, "about"), [list(row.values()) for row in rows])
    return 0


def show(arguments: argparse.Namespace) -> int:
    """A recipe's header and all its settings."""
    recipe = load_recipe(arguments.recipe)
    print((recipe.__doc__ or "").strip() + "\n")
    print(settings_text.describe(recipe_settings(recipe)()))
    return 0


def copy(arguments: argparse.Namespace) -> int:
    """A recipe of the package as a file of the user's own."""
    target = Path(arguments.file)
    if target.suffix != ".py":
        raise ValueError(f"{target}: name it .py, so that `camelid run {target}` can tell a file from a recipe's name")
    if target.exists():
        raise ValueError(f"{target} exists; choose another name")
    shutil.copyfile(_file(arguments.recipe), target)
    say(f"change it and run `camelid run {target}`")
    print(target)
    return 0


def load_recipe(name: str, kind: str = "recipe") -> ModuleType:
    """A recipe or study of the package by name, or a file of the user's own. Raises ValueError where it is none."""
    recipe = _load_file(Path(name)) if name.endswith(".py") else importlib.import_module(_module_name(name, kind))
    if not callable(getattr(recipe, "stages", None)):
        raise ValueError(f"{name} is no recipe: it has no function `stages(s: Settings) -> list[Stage]`")
    return recipe


def recipe_settings(recipe: ModuleType) -> Any:
    """The settings class of a recipe: the annotation of its `stages` function's argument."""
    hints = typing.get_type_hints(recipe.stages)
    hints.pop("return", None)
    if len(hints) != 1:
        raise ValueError(f"{recipe.__name__}: write `stages(s: Settings)`, one argument annotated with its settings")
    return next(iter(hints.values()))


def _load_file(file: Path) -> ModuleType:
    if not file.exists():
        raise ValueError(f"no recipe file {file}")
    spec = importlib.util.spec_from_file_location(f"recipe_{file.stem}", file)
    assert spec is not None and spec.loader is not None  # given for every name that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks up a class's annotations in its module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{file}, line {error.lineno}: {error.msg}") from None
    return module


def _module_name(name: str, kind: str) -> str:
    file = _file(name, kind)
    return f"camelid.{file.parent.name}.{file.stem}"


def _file(name: str, kind: str = "recipe") -> Path:
    files = {_name(file): file for file in _files(kind)}
    if name.replace("_", "-") not in files:
        raise ValueError(f"no {kind} {name!r}; there are: {', '.join(files)}; a file of your own ends in .py")
    return files[name.replace("_", "-")]


def _name(file: Path) -> str:
    """A recipe's name as people write it: `false-promise` for false_promise.py."""
    return file.stem.replace("_", "-")


def _files(kind: str = "recipe") -> list[Path]:
    return sorted(ROOMS[kind].glob("[!_]*.py"))
