"""Checkpoints that a kill, a full disk or a flipped bit cannot turn into a lost run.

Written aside, every file fsynced and its SHA-256 noted, renamed last; the newest two are kept. On loading, the newest
is verified; a broken one is moved away with a warning and the one before it is taken.
(transformers 5.23's Trainer raises on a truncated newest checkpoint and stops there.)
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from camelid.durable import file_digest, naming_full_disk, sync_directory, sync_file, write_json
from camelid.types import content_hash

KEEP = 2
INDEX = "checkpoint.json"


class Checkpoint(NamedTuple):
    path: Path
    step: int
    notes: dict[str, Any]


class Checkpoints:
    """The checkpoints of one stage, in folders `step-00000040`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.started = time.time()
        self.seconds_before = 0.0
        """Seconds that earlier executions spent on what the loaded checkpoint holds."""

    def save(self, step: int, write: Callable[[Path], None], notes: dict[str, Any]) -> None:
        """Let `write` fill a folder, then make it the newest checkpoint. An interrupted save leaves the older ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".aside-{step:08d}"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            self._fill(aside, step, write, notes)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)  # on a full disk its room is wanted
            raise
        final = self.folder / f"step-{step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        os.rename(aside, final)
        sync_directory(self.folder)
        for old in self._all()[:-KEEP]:
            shutil.rmtree(old)

    def newest_step(self) -> int | None:
        """Steps that the newest checkpoint holds, whole as far as its name says; None where there is none."""
        return int(self._all()[-1].name.removeprefix("step-")) if self._all() else None

    def _fill(self, aside: Path, step: int, write: Callable[[Path], None], notes: dict[str, Any]) -> None:
        aside.mkdir()
        with naming_full_disk(self.folder):
            write(aside)
        files = {}
        for file in sorted(aside.iterdir()):
            sync_file(file)
            files[file.name] = file_digest(file)
        seconds = round(self.seconds_before + time.time() - self.started, 3)  # no digits beyond what JSON keeps
        index = {"step": step, "seconds": seconds, "files": files, "notes": notes}
        write_json(aside / INDEX, {"sha256": content_hash(index), **index})

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None."""
        for path in reversed(self._all()):
            try:
                index = self._verify(path)
            except (OSError, ValueError) as error:
                broken = path.with_name("broken-" + path.name)
                shutil.rmtree(broken, ignore_errors=True)
                path.rename(broken)
                print(
                    f"warning: checkpoint {path} is damaged ({error}); moved to {broken.name}, taking the one before",
                    file=sys.stderr,
                )
                continue
            self.seconds_before = index["seconds"]
            return Checkpoint(path, index["step"], index["notes"])
        return None

    def clear(self) -> None:
        """Remove all checkpoints: the stage is finished and its outputs are in place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("step-*")) if self.folder.exists() else []

    @staticmethod
    def _verify(path: Path) -> dict[str, Any]:
        try:
            index = json.loads((path / INDEX).read_bytes())
        except ValueError as error:
            raise ValueError(f"{INDEX} is no JSON") from error
        if not isinstance(index, dict) or index.pop("sha256", None) != content_hash(index):
            raise ValueError(f"{INDEX} does not match its checksum")
        for name, digest in index["files"].items():
            if file_digest(path / name) != digest:
                raise ValueError(f"{name} does not match its checksum")
        return index
