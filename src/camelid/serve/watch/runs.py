"""What is watched: runs, begun or not, and single stages; where their stages are, and never a file outside of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGE_FILES = ("run.lock", "metrics.jsonl", "manifest.json")
"""Any of them makes a folder a stage's."""


@dataclass(frozen=True)
class Watched:
    """A run, or a stage alone."""

    name: str
    root: Path

    def begun(self) -> bool:
        return (self.root / "run.json").exists() or _is_stage(self.root)

    def stages(self) -> dict[str, Path | None]:
        """Every stage that is known of, in order, with its folder; None where it has not come to it.

        A folder that is not inside the run's counts as none: names stand in a file, which others may have written.
        """
        record = read_object(self.root / "run.json")
        if record is None:
            return {self.root.resolve().name.rsplit("-", 1)[0]: self.root} if _is_stage(self.root) else {}
        places = record.get("stages")
        places = places if isinstance(places, dict) else {}
        planned = record.get("planned")
        names = [*places, *(name for name in (planned if isinstance(planned, list) else []) if name not in places)]
        return {str(name): inside(self.root, places.get(name)) for name in names}


def read_watched(words: Sequence[str]) -> list[Watched]:
    """The folders, each with a name of its own. Raises ValueError where one is neither a run nor a stage.

    A folder that does not exist is a run that has not begun.
    """
    roots = list({Path(word).resolve(): Path(word) for word in words}.values())
    for root in roots:
        _check(root)
    return [Watched(name, root) for name, root in zip(_names([root.resolve() for root in roots]), roots, strict=True)]


def _names(paths: Sequence[Path]) -> list[str]:
    """The ends of the paths that tell them apart: `quickstart`, or `first/quickstart` and `second/quickstart`."""
    ends: list[str] = []
    for path in paths:
        others = [other for other in paths if other != path]
        lengths = range(1, len(path.parts) + 1)
        length = next(n for n in lengths if all(other.parts[-n:] != path.parts[-n:] for other in others))
        ends.append("/".join(path.parts[-length:]))
    return ends


def _check(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file; give the folder of a run or of a stage")
    if (root / "run.json").exists() or _is_stage(root) or not root.exists() or not any(root.iterdir()):
        return
    runs = sorted(str(file.parent) for file in root.glob("*/run.json"))
    if runs:
        raise ValueError(f"{root} is no run, it holds runs: name those that you want, {', '.join(runs[:6])}")
    raise ValueError(f"{root} is no run (no run.json) and no stage; `camelid runs list` shows the runs")


def _is_stage(path: Path) -> bool:
    return any((path / name).exists() for name in STAGE_FILES)


def inside(root: Path, place: Any) -> Path | None:
    """`root / place`, or None where that leads, by dots or links, to elsewhere."""
    if not isinstance(place, str):
        return None
    path = root / place
    return path if path.resolve().is_relative_to(root.resolve()) else None


def read_object(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none, or none that is whole."""
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
