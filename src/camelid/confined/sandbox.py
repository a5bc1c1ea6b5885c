"""Runs programs that a model wrote, each in a process of its own, within limits.

    outcomes = run_programs(["assert 1 + 1 == 2"])

What it protects against: endless loops (processor time, and wall-clock time for what sleeps), memory, floods of output
(thrown away), new processes and threads, the network, changes to any file, signals to other processes, leaving early
by exit or crash (that is failing). Environment variables are not passed on, the working directory is an empty one, and
only the standard library can be imported. `syscalls` says how.

What it does not: the program can read what the user may read (it has no way to send it anywhere, save 200 characters of
an exception's text that come back), use the processor for some seconds, look for faults of the kernel, and, if it sets
out to, write the word `passed` itself. For hostile code take a virtual machine.
"""

from __future__ import annotations

import json
import os
import platform
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

CPU_SECONDS = 3
"""As Chen et al. 2021 (arXiv:2107.03374) give a program; theirs are seconds of wall-clock time."""
WALL_SECONDS = 15.0
"""Longer than the processor time, so that a busy machine fails nothing; it ends what sleeps."""
MEMORY_BYTES = 1024 * 2**20
MAX_REPLY_BYTES = 4096
AT_ONCE = 2
MACHINES = ("x86_64", "aarch64")
KEPT_VARIABLES = ("LD_LIBRARY_PATH",)


class Outcome(NamedTuple):
    """What came of a program."""

    passed: bool
    """It ran to its end."""
    why: str
    """What stopped it; empty where it passed."""


def check_system() -> None:
    """Raise ValueError where programs cannot be confined."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise ValueError(
            f"model-written code runs only where it can be confined: Linux on {' or '.join(MACHINES)}, not "
            f"{sys.platform} on {platform.machine()}"
        )


def run_programs(programs: Sequence[str], *, at_once: int = AT_ONCE) -> list[Outcome]:
    """The outcomes in the order of the programs. Raises ValueError where programs cannot be confined."""
    check_system()
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run_program, programs))


def run_program(
    program: str, *, cpu_seconds: int = CPU_SECONDS, wall_seconds: float = WALL_SECONDS, memory: int = MEMORY_BYTES
) -> Outcome:
    """Run one program to its end or to a limit. Raises ValueError where the limits cannot be put on."""
    request = json.dumps({"program": program, "cpu_seconds": cpu_seconds, "memory_bytes": memory}).encode()
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as given:
        given.write(request)
        given.seek(0)
        process = subprocess.Popen(
            # -I: no environment, no working directory on the path; -S: no installed packages; -B: no bytecode.
            [sys.executable, "-I", "-S", "-B", "-c", _START, str(Path(__file__).parent)],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=empty,
            env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            start_new_session=True,
        )
        try:
            reply, in_time = _read(process, wall_seconds)
        finally:
            process.kill()
            code = process.wait()
            assert process.stdout is not None
            process.stdout.close()
    return _outcome(reply, in_time, code, wall_seconds)


_START = "import sys; sys.path.insert(0, sys.argv[1]); import child; del sys.path[0]; child.main()"


def _read(process: subprocess.Popen[bytes], seconds: float) -> tuple[str, bool]:
    """What the child wrote, and whether it ended before the time was up."""
    assert process.stdout is not None
    pipe, deadline, reply = process.stdout.fileno(), time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(reply) <= MAX_REPLY_BYTES:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return reply.decode("utf-8", "replace"), False
            chunk = os.read(pipe, MAX_REPLY_BYTES)
            if not chunk:
                process.wait()  # its pipe is closed: it is ending, and its own status says how
                break
            reply += chunk
    return reply.decode("utf-8", "replace"), True


def _outcome(reply: str, in_time: bool, code: int, wall_seconds: float) -> Outcome:
    ready, _, said = reply.partition("\n")
    if ready != "ready" and in_time:
        raise ValueError(
            f"the limits for model-written code could not be put on (status {code}): no filter of system calls "
            f"(seccomp) on this machine? Nothing was run"
        )
    if not in_time:
        return Outcome(False, f"longer than {wall_seconds:g} s")
    if said == "passed":
        return Outcome(True, "")
    if said.startswith("failed: "):
        return Outcome(False, said.removeprefix("failed: "))
    if code >= 0:
        return Outcome(False, f"left early with status {code}")
    if -code == signal.SIGXCPU:
        return Outcome(False, "out of processor time")
    return Outcome(False, f"ended by {signal.Signals(-code).name}")
