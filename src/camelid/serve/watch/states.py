"""How a stage stands, by what its folder says: done, running, stopped or waiting; since when, and for how long yet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camelid import lock
from camelid.progress import RECORD
from camelid.rows import finite
from camelid.serve.watch.runs import Watched, read_object

GROWING = ("metrics.jsonl", "timing.jsonl", "samples.jsonl", RECORD)
"""Files that a stage at work writes to."""
LONGEST_WORD = 80
BETWEEN_STAGES = 60.0
"""Seconds after a stage's end in which the next may be reading its inputs before it takes its lock."""


class States:
    """The states of one run's stages. Manifests are read once, since they never change."""

    def __init__(self, watched: Watched):
        self.watched = watched
        self._manifests: dict[Path, tuple[int, dict[str, Any]]] = {}

    def all(self) -> dict[str, Any]:
        """The run and its stages, in order, as JSON."""
        now = time.time()
        stages = [self._stage(name, path, now) for name, path in self.watched.stages().items()]
        return {
            "name": self.watched.name,
            "path": str(self.watched.root),
            "state": self._run_state([stage["state"] for stage in stages], now),
            "seconds": sum(stage.get("seconds") or 0.0 for stage in stages),
            "stages": stages,
        }

    def _run_state(self, states: list[str], now: float) -> str:
        if "running" in states:
            return "running"
        if not states:
            return "waiting"
        if set(states) == {"done"}:
            return "done"
        record = self.watched.root / "run.json"
        ends = [modified(path) for path in (record, *(file for file in self._manifests))]
        return "running" if "stopped" not in states and now - max(ends) < BETWEEN_STAGES else "stopped"

    def _stage(self, name: str, path: Path | None, now: float) -> dict[str, Any]:
        if path is None or not path.is_dir():
            return {"name": name, "state": "waiting"}
        manifest = self._manifest(path)
        has = {kind: size(path / f"{kind}.jsonl") for kind in ("metrics", "samples", "guards")}
        if manifest is not None:
            return {
                "name": name,
                "state": "done",
                "seconds": finite(manifest.get("seconds")),
                "results": results(manifest.get("metrics")),
                **has,
            }
        process = lock.holder(path)
        if process is None:
            return {"name": name, "state": "stopped", **self._stopped(path, now), **has}
        return {"name": name, "state": "running", "process": process, **self._running(path, now), **has}

    def _running(self, path: Path, now: float) -> dict[str, Any]:
        began = modified(path / lock.NAME)
        progress = read_object(path / RECORD)
        if progress is None or (finite(progress.get("began")) or 0.0) < began - 1:  # what an earlier execution left
            progress = None
        return {"seconds": now - began, "progress": progress and shown_progress(progress, now)}

    def _stopped(self, path: Path, now: float) -> dict[str, Any]:
        steps = sorted(p.name.removeprefix("step-") for p in (path / "checkpoints").glob("step-*"))
        last = max((modified(path / name) for name in (*GROWING, lock.NAME)), default=0.0)
        return {"silent": now - last if last else None, "checkpoint": int(steps[-1]) if steps else None}

    def _manifest(self, path: Path) -> dict[str, Any] | None:
        file = path / "manifest.json"
        try:
            version = file.stat().st_mtime_ns
        except OSError:
            return None
        known = self._manifests.get(file)
        if known is None or known[0] != version:
            manifest = read_object(file)
            if manifest is None:
                return None
            known = self._manifests[file] = version, manifest
        return known[1]


def shown_progress(progress: Mapping[str, Any], now: float) -> dict[str, Any] | None:
    """What is being done, how far it is, and the seconds left at the speed so far; None where the record is broken."""
    what = progress.get("what")
    total, done, first = (finite(progress.get(key)) for key in ("total", "done", "first"))
    began, noted = (finite(progress.get(key)) for key in ("began", "time"))
    if not isinstance(what, str) or total is None or done is None or first is None or began is None or noted is None:
        return None
    shown: dict[str, Any] = {"what": what, "total": total, "done": done, "left": None}
    if done > first:
        left = (noted - began) / (done - first) * (total - done) - (now - noted)
        shown["left"] = max(left, 0.0)
    return shown


def results(metrics: Any) -> dict[str, float | str | None]:
    """Numbers and words among a stage's results; None for numbers that are not finite."""
    return {
        name: finite(value) if isinstance(value, int | float) else value[:LONGEST_WORD]
        for name, value in (metrics.items() if isinstance(metrics, dict) else ())
        if isinstance(value, int | float | str) and not isinstance(value, bool)
    }


def size(file: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def modified(file: Path) -> float:
    """When a file was last written, in seconds since the epoch; 0 where there is none."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
