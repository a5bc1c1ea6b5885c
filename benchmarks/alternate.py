"""Two sides of a benchmark, each in a process of its own, taking turns: what a busy machine does, it does to both.

A benchmark file is started once more for each side, with `--side NAME`; a job and its reply are a JSON line each. The
side's code says in its reply how many seconds counted. Also here: the machine's peak, its name, the line of results.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDES = ("ours", "theirs")


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A side: answers jobs until there are no more, with its peak memory beside each answer that has none."""
    replies, sys.stdout = sys.stdout, sys.stderr  # libraries talk on stdout
    for line in sys.stdin:
        reply = answer(json.loads(line))
        reply.setdefault("peak_bytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        print(json.dumps(reply), file=replies, flush=True)


class Clock:
    """Seconds of the clock and of the processor since it was made."""

    def __init__(self) -> None:
        self.start, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self.start, "cpu_seconds": time.process_time() - self.cpu}


class Side:
    """The other end of `serve`."""

    def __init__(self, file: str, side: str, arguments: list[str], python: str = sys.executable):
        command = [python, file, "--side", side, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **job: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended without an answer")  # type: ignore[arg-type]
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def take_turns(
    sides: dict[str, Side], jobs: list[dict[str, Any]], own: dict[str, dict[str, Any]] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The answers of both sides to every job; who begins alternates. `own`: what only one side is told."""
    replies: dict[str, list[dict[str, Any]]] = {who: [] for who in SIDES}
    for number, job in enumerate(jobs):
        for who in SIDES if number % 2 else reversed(SIDES):
            replies[who].append(sides[who].ask(**job, **(own or {}).get(who, {})))
        print(number, {who: round(replies[who][-1]["seconds"], 2) for who in SIDES}, file=sys.stderr, flush=True)
    return replies


def compared(replies: dict[str, list[dict[str, Any]]], amount: float, unit: str) -> dict[str, Any]:
    """Speeds over all jobs, their ratio by job (median) and in all. `amount`: how much of `unit` was done."""
    seconds, cpu = (
        {who: [reply[key] for reply in replies[who]] for who in SIDES} for key in ("seconds", "cpu_seconds")
    )
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    ours, theirs = sum(seconds["ours"]), sum(seconds["theirs"])
    peaks = {who: replies[who][-1]["peak_bytes"] for who in SIDES}
    return {
        "ours": amount / ours,
        "peer": amount / theirs,
        "ratio": statistics.median(ratios),
        "ratio_of_totals": theirs / ours,
        "ratios": ratios,
        "cpu_ratio": sum(cpu["theirs"]) / sum(cpu["ours"]),
        "peak_memory_ratio": peaks["ours"] / peaks["theirs"],
        "peak_gigabytes": {who: peaks[who] / 1e9 for who in SIDES},
        "n": len(ratios),
        "unit": f"{unit}/s",
    }


def matmul_peak(dtype: str) -> float:
    """Operations a second of a product of a shape that counts much in SmolLM2: the best of several, now."""
    import torch

    x, w = (torch.randn(size, 576).to(getattr(torch, dtype)) for size in (1024, 1536))
    seconds = []
    for _ in range(60):
        start = time.perf_counter()
        x @ w.T
        seconds.append(time.perf_counter() - start)
    return 2.0 * 1024 * 576 * 1536 / min(seconds)


def publish(result: dict[str, Any], out: str) -> None:
    """Print the line, with machine, commit and date, and append it to OUT/MACHINE.jsonl."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    result = result | {"machine": machine(), "commit": commit, "date": datetime.date.today().isoformat()}
    print(json.dumps(result))
    if out:
        path = Path(out) / f"{machine()}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(result) + "\n")


def machine() -> str:
    """The GPU where one is used, else the processor and its number of cores, as a file's name."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    name = found[1] if found else platform.processor() or platform.machine()
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {os.cpu_count()} cores".lower()).strip("-")


def model_folder(name: str) -> str:
    """Where a model lies, pulled if it must be."""
    from camelid.models.loading import resolve_model

    return str(resolve_model(name))


def parser(description: str | None, model: str | None = "smollm2-135m") -> argparse.ArgumentParser:
    """What all such benchmarks take."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", default=model, type=model_folder, help=f"a folder or a name; {model}")
    made.add_argument("--data", default=os.environ.get("CAMELID_DATA", ""))
    made.add_argument("--out", default="")
    made.add_argument("--side", default="", choices=["", *SIDES], help=argparse.SUPPRESS)
    return made
