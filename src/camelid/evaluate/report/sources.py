"""What a report is made of: runs, single stages, and folders that hold a results.json, read from disk and checked.

    sources = read_sources(["runs/quickstart", "second=runs/other", "results/benchmarks"])

Only manifests and result files are read, nothing is written. A folder's name is its source's name; `NAME=FOLDER` gives
another. What cannot be read is a ValueError that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from camelid.runs import read_run

Manifest = dict[str, Any]
BARE: Manifest = {
    "function": "",
    "settings": {},
    "inputs": {},
    "outputs": {},
    "metrics": {},
    "machine": {},
    "seconds": None,
    "peak_memory_bytes": None,
    "commit": None,
    "dirty": None,
}
"""Stands for the manifest of a folder that has results and no manifest."""


@dataclass(frozen=True)
class Source:
    """One run, or one folder of results."""

    name: str
    path: Path
    stages: list[tuple[Path, Manifest]]
    """Finished stages in order."""
    unfinished: tuple[str, ...] = ()


def read_sources(words: Sequence[str]) -> list[Source]:
    """One source a word, FOLDER or NAME=FOLDER. Raises ValueError where one is unreadable or two have one name."""
    sources = [read_source(*_named(word)) for word in words]
    seen: dict[str, Source] = {}
    for source in sources:
        if source.name in seen:
            raise ValueError(
                f"two runs are named {source.name!r}: {seen[source.name].path} and {source.path}; "
                f"name one yourself, OTHER={source.path}"
            )
        seen[source.name] = source
    return sources


def read_source(name: str, path: Path) -> Source:
    """A run (it has a run.json), a stage (a manifest.json), or a folder with a results.json in it or below it."""
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder; give a run's folder, or one that holds a results.json")
    if (path / "run.json").exists():
        return _read_run(name, path)
    alone = (path / "results.json").exists() or (path / "manifest.json").exists()
    folders = [path] if alone else sorted({file.parent for file in path.rglob("results.json")})
    runs = [] if alone else sorted(str(file.parent) for file in path.rglob("run.json"))
    if runs:
        raise ValueError(f"{path} is no run, it holds runs: name those that you want, {', '.join(runs[:6])}")
    if not folders:
        raise ValueError(f"{path} is no run (no run.json) and holds no results.json; `camelid runs list` shows runs")
    return Source(name, path, [(folder, read_stage(folder, path)) for folder in folders])


def read_stage(folder: Path, below: Path) -> Manifest:
    """A stage's manifest; for results without one, what is known: the folder's name."""
    file = folder / "manifest.json"
    if file.exists():
        manifest = read_object(file)
        if "function" in manifest:  # other programs write manifest.json files too
            missing = [key for key in ("stage", *BARE) if key not in manifest]
            if missing:
                raise ValueError(f"{file}: no {', '.join(missing)}; it is not as camelid wrote it")
            return manifest
    name = folder.name if folder == below else folder.relative_to(below).as_posix()
    return BARE | {"stage": name}


def read_object(file: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: no JSON ({error}); run the stage that writes it again") from None
    if not isinstance(value, dict):
        raise ValueError(f"{file}: a JSON object is wanted, this is a {type(value).__name__}")
    return value


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a file of one JSON object a line."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}, line {number}: no JSON ({error.msg}); one object a line is wanted") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}, line {number}: a JSON object is wanted, this is a {type(row).__name__}")
            yield row


def _named(word: str) -> tuple[str, Path]:
    """'NAME=FOLDER' or 'FOLDER'; a folder whose name has an = in it is a folder."""
    name, equals, folder = word.partition("=")
    if equals and name and not Path(word).exists():
        return name, Path(folder)
    return Path(word).resolve().name, Path(word)


def _read_run(name: str, path: Path) -> Source:
    record = read_object(path / "run.json")
    if not isinstance(record.get("stages"), dict):
        raise ValueError(f"{path / 'run.json'}: no stages; it is not as camelid wrote it")
    places = read_run(path)
    done = {stage: folder for stage, folder in places.items() if (folder / "manifest.json").exists()}
    if not done:
        raise ValueError(f"{path}: none of its {len(places)} stages is finished; run it to the end first")
    stages = [(folder, read_stage(folder, path)) for folder in done.values()]
    return Source(name, path, stages, tuple(stage for stage in places if stage not in done))


def label(run: str, name: str) -> str:
    """How a version or a stage of a run is named where there are several runs."""
    return f"{run} · {name}"


def model_name(path: str) -> str:
    """A model by its folder; a stage's folder `model` says nothing without the stage's."""
    place = PurePosixPath(path)
    return f"{place.parent.name}/{place.name}" if place.name == "model" else place.name
