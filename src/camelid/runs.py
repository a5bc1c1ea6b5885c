"""Stages and runs: what was done with which settings to which inputs, found again, resumed, never half there.

A *stage* is a function of its settings and its input files. Its directory is named by the hash of both, so running it
again is a no-op and a changed setting gets a directory of its own. The manifest is renamed into place last: a directory
without one is unfinished work, which the next execution takes up at the newest checkpoint that is whole.

Left out: scheduling over machines (a launcher's job) and caches of anything but finished stages.
Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from camelid import __version__, lock, progress, writers
from camelid.checkpoints import Checkpoints
from camelid.durable import DiskFullError, directory_digest, file_digest, naming_full_disk, sync_file, write_json
from camelid.metrics_file import MetricsFile, Observer
from camelid.provenance import PeakMemory, provenance
from camelid.types import content_hash

WORKING_FILES = ("manifest.json", lock.NAME, progress.RECORD, "checkpoints", "timing.jsonl")
"""Files of a stage's directory that are not its outputs."""

LOGS = ("metrics.jsonl", "samples.jsonl", "guards.jsonl")
"""Files to which a stage with checkpoints appends rows as it goes; a resume cuts them back to its checkpoint."""


class Settings(BaseModel):
    """Base of every stage's settings: frozen, unknown keys are errors, the docstring under a field is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Seed of everything random in the stage."""


class Output(NamedTuple):
    """A file or folder that an earlier stage of the same recipe leaves."""

    stage: str
    file: str


Input = Path | Output


@dataclass(frozen=True)
class Stage:
    """One step of a recipe.

    `function(run)` reads `run.settings` and `run.inputs`, leaves files in `run.path` and returns metrics.
    """

    name: str
    """Place inside the recipe's run, such as `round-1/reward`."""
    function: Callable[[Run], Mapping[str, Any]]
    settings: Settings
    inputs: Mapping[str, Input | Sequence[Input]] = field(default_factory=dict)


def reseeded(stages: Sequence[Stage], seed: int) -> list[Stage]:
    """The stages with other random numbers throughout; those that shared a seed still do. Seed 0 changes nothing."""

    def settings(stage: Stage) -> Settings:
        return stage.settings.model_copy(update={"seed": derived_seed(seed, stage.settings.seed)})

    return [replace(stage, settings=settings(stage)) for stage in stages] if seed else list(stages)


class Inputs(dict[str, Any]):
    """Paths by name; a name that the stage was not given is an error that says so."""

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"the stage needs an input {name!r}; it was given {', '.join(self) or 'none'}")


@dataclass
class Run:
    """One execution of a stage, as the stage's function sees it."""

    path: Path
    settings: Any
    inputs: dict[str, Any]
    """Paths by name; a list of paths where the stage was given a list."""
    checkpoints: Checkpoints
    observers: Sequence[Observer] = ()
    """Who hears of the rows of metrics.jsonl."""

    def __post_init__(self) -> None:
        self._metrics = MetricsFile(self.path, self.observers)

    def log(self, step: int, **metrics: float) -> None:
        """Append a row to metrics.jsonl."""
        self._metrics.append(step, metrics)

    def append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows to one of `LOGS`, without clock times."""
        if name not in LOGS:
            raise ValueError(f"{name} would not be cut back by a resume; it cuts {', '.join(LOGS)}")
        path = self.path / name
        with naming_full_disk(path), path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def progress(self, what: str, total: int, done: int = 0) -> Any:
        """A progress bar with time left, on stderr; a context manager whose value advances it: `tick(1)`."""
        return progress.recorded_progress(self.label, what, total, done, self.path / progress.RECORD)

    @property
    def label(self) -> str:
        return self.path.name.rsplit("-", 1)[0]

    def resume(self, load: Callable[[Path], None]) -> int:
        """Load the newest whole checkpoint and return the step after it; 0 where there is none."""
        checkpoint = self.checkpoints.latest()
        sizes: dict[str, int] = {}
        step = 0
        if checkpoint is not None:
            load(checkpoint.path)
            sizes, step = checkpoint.notes["log_bytes"], checkpoint.step
        for path in self._logs():  # rows after the checkpoint will be written again
            os.truncate(path, sizes.get(path.name, 0))
        return step

    def checkpoint(self, step: int, save: Callable[[Path], None]) -> None:
        """Save the state after `step` steps: `save` writes files into the folder that it is given."""
        for path in self._logs():
            sync_file(path)
        sizes = {path.name: path.stat().st_size for path in self._logs()}
        self.checkpoints.save(step, save, notes={"log_bytes": sizes})

    def _logs(self) -> list[Path]:
        return [self.path / name for name in LOGS if (self.path / name).exists()]


def execute(
    stages: Sequence[Stage],
    root: Path,
    *,
    announce: Callable[[str], None] = lambda text: None,
    log_to: str | None = None,
) -> dict[str, Path]:
    """Run the stages in order under `root`, skipping those whose manifest exists. Returns each stage's directory.

    `log_to` names writers that get the metrics too, by commas; None: those that CAMELID_LOG_TO names. No result depends
    on them, so they are no setting of a stage.
    Raises whatever a stage raises; what its last checkpoint holds is kept, and executing again goes on from there.
    """
    finished: dict[str, Path] = {}
    log_to_names = writers.checked(log_to)
    for number, stage in enumerate(stages, 1):
        path, inputs, digests = _place(stage, finished, root)
        finished[stage.name] = path
        _record_progress(root, finished, stages)
        done = read_manifest(path) is not None
        announce(f"[{number}/{len(stages)}] {stage.name} {'is done' if done else f'-> {path}'}")
        if done:
            Checkpoints(path / "checkpoints").clear()  # a kill may have come after the manifest and before this
        else:
            observers = writers.observers(
                log_to_names, root, path.relative_to(root), stage.settings.model_dump(mode="json")
            )
            _execute_one(stage, path, inputs, digests, observers)
    return finished


def finished_stages(stages: Sequence[Stage], root: Path) -> dict[str, Path]:
    """Directories of the stages that `execute` would skip, by name. Runs and writes nothing.

    Raises FileNotFoundError where an input file is missing, as `execute` would.
    """
    finished: dict[str, Path] = {}
    for stage in stages:
        if all(source.stage in finished for source in sources(stage) if isinstance(source, Output)):
            path, _, _ = _place(stage, finished, root)
            if read_manifest(path) is not None:
                finished[stage.name] = path
    return finished


def sources(stage: Stage) -> list[Input]:
    """All that a stage reads, in order."""
    return [v for value in stage.inputs.values() for v in ([value] if isinstance(value, Input) else value)]


def _execute_one(
    stage: Stage, path: Path, inputs: dict[str, Any], digests: dict[str, str], observers: Sequence[Observer]
) -> None:
    path.mkdir(parents=True, exist_ok=True)
    with lock.only_process(path), ExitStack() as ends:
        if read_manifest(path) is not None:
            return  # another process finished it a moment ago
        for observer in observers:
            ends.enter_context(closing(observer))
        started = time.time()
        run = Run(path, stage.settings, Inputs(inputs), Checkpoints(path / "checkpoints"), observers)
        with PeakMemory() as memory:
            try:
                with naming_full_disk(path):
                    metrics = dict(stage.function(run))
            except DiskFullError as error:
                raise DiskFullError(f"{error}. {_kept(run)}") from error
        earlier = run.checkpoints.seconds_before
        manifest = {
            "stage": stage.name,
            "function": function_name(stage),
            "settings": stage.settings.model_dump(mode="json"),
            "inputs": {name: {"path": _show(inputs[name]), "sha256": digests[name]} for name in inputs},
            "outputs": _outputs(path),
            "metrics": metrics,
            "seconds": round(earlier + time.time() - started, 2),
            "peak_memory_bytes": memory.peak_bytes,
            **provenance(),
        }
        write_json(path / "manifest.json", manifest)
        run.checkpoints.clear()


def _kept(run: Run) -> str:
    """What a stage that a full disk ended can go on from."""
    step = run.checkpoints.newest_step()
    kept = f"the checkpoint of step {step} in {run.checkpoints.folder}" if step else "no checkpoint of this stage"
    return f"Kept: finished stages, {kept}. Make room and give the same command again, which goes on from there"


def stage_hash(stage: Stage, digests: Mapping[str, str]) -> str:
    """Eight hexadecimal digits that name the stage's directory: function, settings, contents of the inputs."""
    key = {
        "version": __version__,
        "function": function_name(stage),
        "settings": stage.settings.model_dump(mode="json"),
        "inputs": dict(digests),
    }
    return content_hash(key)[:8]


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage, or None where the stage is not finished."""
    try:
        return json.loads((path / "manifest.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_run(root: Path) -> dict[str, Path]:
    """Each stage of the recipe's newest execution under `root`, with its directory, in order."""
    try:
        stages = json.loads((root / "run.json").read_text())["stages"]
    except (FileNotFoundError, KeyError, TypeError, json.JSONDecodeError) as error:
        wrong = "has no run.json" if isinstance(error, FileNotFoundError) else "has a run.json that names no stages"
        raise ValueError(f"{root} is not a run: it {wrong}. `camelid runs list` shows the runs.") from None
    return {name: root / place for name, place in stages.items()}


def _record_progress(root: Path, finished: Mapping[str, Path], planned: Sequence[Stage]) -> None:
    """The directories of the stages so far, and the names of all: a directory's name depends on those before it."""
    stages = {name: str(path.relative_to(root)) for name, path in finished.items()}
    write_json(root / "run.json", {"stages": stages, "planned": [stage.name for stage in planned]})


def function_name(stage: Stage) -> str:
    """Module and name of a stage's function: what kind of stage it is."""
    return f"{stage.function.__module__}.{stage.function.__qualname__}"


def _place(stage: Stage, finished: Mapping[str, Path], root: Path) -> tuple[Path, dict[str, Any], dict[str, str]]:
    """(directory, inputs as paths, digests of the inputs) of a stage; what it reads of others must be finished."""
    inputs = {name: _resolve(value, finished, stage) for name, value in stage.inputs.items()}
    digests = {name: _digest(value) for name, value in inputs.items()}
    return root / f"{stage.name}-{stage_hash(stage, digests)}", inputs, digests


def _resolve(value: Input | Sequence[Input], finished: Mapping[str, Path], stage: Stage) -> Any:
    if isinstance(value, Output):
        if value.stage not in finished:
            raise ValueError(f"stage {stage.name!r} reads from {value.stage!r}, which does not run before it")
        return finished[value.stage] / value.file
    if isinstance(value, Path):
        if not value.exists():
            raise FileNotFoundError(f"stage {stage.name!r}: input {value} does not exist")
        return value
    return [_resolve(item, finished, stage) for item in value]


def _digest(value: Any) -> str:
    """SHA-256 of an input's content. A finished stage's output is known by its manifest, anything else is read."""
    if isinstance(value, list):
        return content_hash([_digest(item) for item in value])
    for parent in (value, *value.parents):
        manifest = read_manifest(parent)
        if manifest is not None and "outputs" in manifest:  # other programs write manifest.json files too
            outputs = manifest["outputs"]
            name = value.relative_to(parent).as_posix()
            if name == "manifest.json":  # what the stage says of itself: its metrics and how long it took
                return file_digest(value)
            if name in outputs:
                return outputs[name]
            inside = {file: digest for file, digest in outputs.items() if name == "." or file.startswith(name + "/")}
            if not inside:
                raise FileNotFoundError(f"{parent} left no output {name!r}; it has {sorted(outputs)}")
            return content_hash(inside)
        if (parent / "run.json").exists():
            break
    return directory_digest(value) if value.is_dir() else file_digest(value)


def _outputs(path: Path) -> dict[str, str]:
    """SHA-256 of every file that the stage left; hidden ones are what a kill left of a file written aside."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    names = {p.relative_to(path).as_posix(): p for p in files}
    return {name: file_digest(p) for name, p in names.items() if name.split("/")[0] not in WORKING_FILES}


def _show(value: Any) -> Any:
    return [str(item) for item in value] if isinstance(value, list) else str(value)


def list_runs(folder: Path) -> list[Path]:
    """Folders below `folder` that hold a run, newest first."""
    found = [p.parent for p in folder.glob("*/run.json")]
    return sorted(found, key=lambda p: (p / "run.json").stat().st_mtime, reverse=True)


def derived_seed(seed: int, *names: object) -> int:
    """A seed of 63 bits for one purpose: the same names give the same stream, whatever was drawn before.

    Random states need no saving at a checkpoint, since every step draws from a stream named by the step.
    """
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
