"""Where a version comes from: the stages behind its model, found by following the inputs that manifests record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from camelid.evaluate.report.sources import Manifest, Source, read_lines

Finished = tuple[Path, Manifest]


@dataclass(frozen=True)
class Lineage:
    """What a version was made from."""

    base: dict[str, Any] | None
    """The model that no stage of the run has made: path and sha256; None where no manifest names one."""
    stages: list[Finished]
    """Every stage that the model depends on, in the order of the run."""
    model: dict[str, Any] | None
    """The version's own model: path and sha256."""


def lineage(source: Source, evaluation: Manifest) -> Lineage:
    """The lineage of the model that a stage has evaluated."""
    model = evaluation["inputs"].get("model")
    reached: dict[Path, Finished] = {}
    queue = [made_by(source, path) for path in paths(model)]
    while queue:
        stage = queue.pop()
        if stage is not None and stage[0] not in reached:
            reached[stage[0]] = stage
            queue += [made_by(source, path) for value in stage[1]["inputs"].values() for path in paths(value)]
    base = model
    while base is not None and (maker := made_by(source, base["path"])) is not None:
        base = maker[1]["inputs"].get("model")
    return Lineage(base, [stage for stage in source.stages if stage[0] in reached], model)


def paths(value: dict[str, Any] | None) -> list[str]:
    """The paths of an input: a manifest has one, or a list."""
    path = (value or {}).get("path", [])
    return path if isinstance(path, list) else [path]


def made_by(source: Source, path: str) -> Finished | None:
    """The stage that left a file, by the stage's folder inside its path; None for what came from outside.

    A folder's name holds a hash, so this finds it wherever the run was moved since.
    """
    for folder, manifest in source.stages:
        place = PurePosixPath(manifest["stage"]).parent / folder.name
        if f"/{place}/" in f"/{path}/":
            return folder, manifest
    return None


def data_stages(stages: list[Finished]) -> Iterator[Finished]:
    """Those that took data in from outside."""
    return (stage for stage in stages if stage[1]["function"].endswith("import_data"))


def licences(stage: Finished) -> list[tuple[str, int]]:
    """(licence, rows) of imported data, most rows first; a licence that nobody stated is empty."""
    folder, manifest = stage
    file = folder / "rows.jsonl"
    if not file.exists():
        return [(manifest["settings"].get("licence") or "", manifest["metrics"].get("kept", 0))]
    return Counter(str(row.get("licence") or "") for row in read_lines(file)).most_common()
