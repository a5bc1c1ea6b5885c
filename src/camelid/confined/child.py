"""The limited process in which one program runs; started by `sandbox`, never imported by the rest.

Reads JSON from standard input, {"program": str, "cpu_seconds": int, "memory_bytes": int}, puts limits on itself, runs
the program, and writes one line: `ready` once the limits hold, then `passed`, or `failed: why`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from types import ModuleType

from syscalls import refuse_all_but_computing  # beside this file, which is run as a program

MAX_WHY_CHARS = 200


def limit(cpu_seconds: int, memory_bytes: int) -> None:
    """Processor time, address space, files (none may grow), descriptors, no core dump; then the system calls."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    refuse_all_but_computing()


def verdict(program: str) -> str:
    """What came of it. Leaving early, by whatever exception, is failing: the tests stand at the end."""
    module = sys.modules["program"] = ModuleType("program")  # dataclasses look their module up
    try:
        exec(compile(program, "<program>", "exec"), module.__dict__)
    except BaseException as error:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return f"failed: {text[:MAX_WHY_CHARS]}"
    return "passed"


def main() -> None:
    request = json.load(sys.stdin.buffer)
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    limit(request["cpu_seconds"], request["memory_bytes"])
    os.write(answers, b"ready\n")
    os.write(answers, verdict(request["program"]).encode("utf-8", "replace"))
    os._exit(0)


if __name__ == "__main__":
    main()
