"""What the formulas may import: nothing of ours, and no torch where no tensor is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import camelid.functional

FOLDER = Path(camelid.functional.__file__).parent


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
        elif isinstance(node, ast.ImportFrom) and node.level > 1:
            names.add("camelid")
    return names


def test_formulas_import_nothing_of_ours_from_outside_their_folder():
    for path in FOLDER.glob("*.py"):
        assert not {name for name in imported_modules(path) if name.split(".")[0] == "camelid"}, path.name


def test_modules_without_tensors_do_not_load_torch():
    modules = ["statistics", "best_of_n", "schedules", "packing", "diversity", "tfidf", "words", "rouge"]
    modules += ["pair_accuracy", "calibration", "drift", "near_copies", "contamination"]
    code = "; ".join(f"import camelid.functional.{name}" for name in modules)
    subprocess.run([sys.executable, "-c", f"{code}; import sys; assert 'torch' not in sys.modules"], check=True)
