"""Where a result comes from: code, versions, machine, memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from camelid.process import give_back_freed_memory

PACKAGES = ("camelid", "torch", "transformers", "numpy", "safetensors")


def provenance() -> dict[str, Any]:
    """Commit and dirty flag of the code, versions of what it stands on, the machine."""
    return {**_code(), "versions": _versions(), "machine": _machine()}


def _code() -> dict[str, Any]:
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD").strip()
        dirty = bool(_git(here, "status", "--porcelain", "--", ".").strip())
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}  # installed from a wheel: the version says what it is
    return {"commit": commit, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _machine() -> dict[str, Any]:
    machine: dict[str, Any] = {"system": platform.platform(), "cores": len(os.sched_getaffinity(0))}
    compute = sys.modules.get("camelid.models.compute")  # not imported: most stages compute nothing
    return machine | (compute.describe() if compute is not None else {})


class PeakMemory:
    """Highest resident memory of this process while the context was open, in bytes (elsewhere than on Linux: ever)."""

    peak_bytes = 0

    def __enter__(self) -> Self:
        give_back_freed_memory()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            status = Path("/proc/self/status").read_text()
            kilobytes = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        except (OSError, StopIteration):
            kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.peak_bytes = kilobytes * 1024
