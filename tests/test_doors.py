"""Which room may enter which: what every module imports, read from its source."""

from __future__ import annotations

import ast
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import camelid

ROOT = Path(camelid.__file__).parent
STAGE_PACKAGES = ("collect", "curate", "annotate", "train", "evaluate", "serve")
WITHOUT_TORCH = (
    "types",
    "rows",
    "rules",
    "documents",
    "runs",
    "durable",
    "checkpoints",
    "progress",
    "lock",
    "metrics_file",
    "writers",
    "provenance",
    "settings_text",
    "cli",
)
HEAVY = {"torch", "transformers", "safetensors", "tokenizers"}


def name_of(path: Path) -> str:
    """Dotted name of a module of ours."""
    parts = ("camelid", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in ROOT.rglob("*.py")}


def statements(node: ast.AST, *, at_import: bool) -> Iterator[ast.AST]:
    """All nodes below `node`; with `at_import` only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if at_import and (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or for_types(child)):
            continue
        yield child
        yield from statements(child, at_import=at_import)


def for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@cache
def imports(module: str, *, at_import: bool) -> frozenset[str]:
    """Dotted names that a module of ours imports: `from a import b` gives a.b where that is a module, else a."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8")), at_import=at_import):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found |= {name if (name := f"{source}.{alias.name}") in MODULES else source for alias in node.names}
    return frozenset(found)


def loaded_with(module: str) -> dict[str, str]:
    """Everything that importing a module of ours imports, and who imports it; packages on the way included."""
    reached = {module: ""}
    queue = [module]
    while queue:
        current = queue.pop()
        parents = [current.rpartition(".")[0]] if "." in current else []
        for name in (*parents, *imports(current, at_import=True)):
            if name and name not in reached:
                reached[name] = current
                queue += [name] if name in MODULES else []
    return reached


def room(module: str) -> str:
    """`camelid.train.sft` is in `train`; a module beside the packages is a room of its own."""
    return module.split(".")[1] if "." in module else ""


def test_the_reader_of_imports_sees_what_there_is():
    """The tests below would pass on a reader that sees nothing."""
    assert "camelid.models.policy" in imports("camelid.train.sft", at_import=True)
    assert "camelid.functional.masks" in imports("camelid.functional.ppo", at_import=True)  # from .masks import
    assert "torch" in loaded_with("camelid.train.sft")
    assert "camelid.commands.stages" in imports("camelid.cli", at_import=False)  # inside a function
    assert "camelid.commands.stages" not in imports("camelid.cli", at_import=True)
    assert {room(module) for module in MODULES} >= {*STAGE_PACKAGES, *WITHOUT_TORCH, "functional", "models", "rounds"}


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room(m) == "functional"))
def test_formulas_import_nothing_of_ours_from_outside_their_room(module):
    ours = {name for name in imports(module, at_import=False) if name.split(".")[0] == "camelid"}
    assert {room(name) for name in ours} <= {"functional"}


@pytest.mark.parametrize("name", (*WITHOUT_TORCH, "commands.watch", "commands.teacher", "models.teacher"))
def test_what_people_without_torch_need_loads_none(name):
    loaded = loaded_with(f"camelid.{name}")
    assert {heavy: loaded[heavy] for heavy in loaded if heavy.split(".")[0] in HEAVY} == {}


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room(m) in STAGE_PACKAGES))
def test_stage_packages_meet_in_files_not_in_imports(module):
    others = {room(name) for name in imports(module, at_import=False) if name.startswith("camelid.")}
    assert others & set(STAGE_PACKAGES) <= {room(module)}
    assert others.isdisjoint({"rounds", "recipes", "studies", "cli", "commands"})


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room(m) == "models"))
def test_models_know_no_stage(module):
    rooms = {room(name) for name in imports(module, at_import=False) if name.startswith("camelid.")}
    assert rooms <= {"models", "functional", "types", "rows", "runs", "durable", "process"}


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room(m) == "confined"))
def test_what_confines_programs_knows_nothing_of_ours(module):
    assert {room(name) for name in imports(module, at_import=False) if name.startswith("camelid.")} <= {"confined"}


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room(m) == "judges"))
def test_judges_know_no_stage_and_load_no_torch(module):
    rooms = {room(name) for name in imports(module, at_import=False) if name.startswith("camelid.")}
    assert rooms <= {"judges", "types", "rows", "durable", "models", "functional"}
    assert HEAVY.isdisjoint({name.split(".")[0] for name in loaded_with(module)})


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room(m) != "models"))
def test_devices_and_ranks_are_the_business_of_models(module):
    """In code; comments and docstrings may speak of them."""
    with MODULES[module].open("rb") as file:
        tokens = [t for t in tokenize.tokenize(file.readline) if t.type != tokenize.COMMENT]
    names = [t.string for t in tokens if t.type == tokenize.NAME]
    strings = [t.string.strip("rbfu\"'") for t in tokens if t.type == tokenize.STRING]
    assert "cuda" not in names
    assert "distributed" not in names
    assert not [s for s in strings if s == "cuda" or s.startswith("cuda:")]


def test_help_loads_no_torch():
    code = (
        "import sys\nfrom camelid.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: camelid" in result.stdout
    loaded = set(ast.literal_eval(result.stdout.splitlines()[-1]))
    assert "camelid" in loaded
    assert loaded.isdisjoint(HEAVY)
