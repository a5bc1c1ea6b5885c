"""What programs may not do in the sandbox, and that honest ones pass."""

import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from camelid.confined import sandbox, syscalls
from camelid.confined.sandbox import Outcome, run_program, run_programs
from real_data import DATA, needs_data

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in sandbox.MACHINES, reason="the sandbox is Linux' only"
)


def why(program: str) -> str:
    outcome = run_program(program, cpu_seconds=1, wall_seconds=10.0)
    assert not outcome.passed
    return outcome.why


def test_a_right_and_a_wrong_program():
    assert run_programs(["assert 1 + 1 == 2", "assert 1 + 1 == 3", "import math, re, json, typing, hashlib"]) == [
        Outcome(True, ""),
        Outcome(False, "AssertionError"),
        Outcome(True, ""),
    ]
    late = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\nA(1)"
    )
    assert run_program(late) == Outcome(True, "")
    assert "No module named 'sandbox'" in why("import sandbox")
    assert why("def").startswith("SyntaxError")
    assert "No module named 'numpy'" in why("import numpy")


def test_an_endless_loop_ends():
    start = time.monotonic()
    assert why("while True: pass") == "out of processor time"
    # One that ignores the signal is killed a second of processor time later.
    stubborn = "import signal\nsignal.signal(signal.SIGXCPU, lambda *_: None)\nwhile True: pass"
    assert why(stubborn) in ("ended by SIGKILL", "longer than 10 s")
    assert time.monotonic() - start < 25


def test_a_sleeper_is_woken():
    assert run_program("import time; time.sleep(60)", wall_seconds=0.5) == Outcome(False, "longer than 0.5 s")


def test_memory_ends():
    program = "x = []\nwhile True: x.append('a' * 10**7)"
    assert run_program(program, memory=256 * 2**20) == Outcome(False, "MemoryError")


@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import threading; threading.Thread(target=print).start()",
        "import socket; socket.socket()",
        "import socket; socket.socketpair()",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:1')",
        "import os; os.kill(os.getppid(), 9)",
        "import os; os.setuid(0)",
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))",
    ],
)
def test_no_process_no_network_no_signal(program):
    said = why(program)
    assert any(text in said for text in ("Operation not permitted", "can't start new thread", "not allowed")), said


@pytest.mark.parametrize(
    "act",
    [
        "open(path, 'w')",
        "open(path, 'a')",
        "open(path, 'r+')",
        "open(path + '.new', 'x')",
        "open('here', 'w')",
        "import os; os.remove(path)",
        "import os; os.rename(path, path + '.old')",
        "import os; os.truncate(path, 0)",
        "import os; os.chmod(path, 0)",
        "import os; os.utime(path)",
        "import os; os.mkdir(path + '.d')",
        "import os; os.symlink(path, path + '.link')",
        "import tempfile; tempfile.TemporaryFile()",
    ],
)
def test_no_file_is_changed_anywhere(act, tmp_path):
    path = tmp_path / "precious"
    path.write_text("as it was")
    before = path.stat()
    said = why(f"path = {str(path)!r}\n{act}")
    assert any(text in said for text in ("Operation not permitted", "No usable temporary directory")), said
    assert path.read_text() == "as it was"
    assert (path.stat().st_mode, path.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


def test_machine_code_of_its_own_meets_the_same_kernel():
    """The filter is the kernel's: what goes round Python, here by ctypes, is refused too."""
    assert "-1" in why("import ctypes; raise ValueError(ctypes.CDLL(None).fork())")
    assert "-1" in why("import ctypes; raise ValueError(ctypes.CDLL(None).unlink(b'/tmp/none-of-yours'))")


@pytest.mark.parametrize("program", ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise KeyboardInterrupt"])
def test_leaving_early_is_failing(program):
    assert why(program + "\nassert False")


def test_a_crash_is_failing():
    assert why("import ctypes; ctypes.string_at(0)") == "ended by SIGSEGV"


def test_megabytes_of_output_go_nowhere():
    assert run_program("for _ in range(20000): print('x' * 1000)") == Outcome(True, "")
    assert len(why("raise ValueError('x' * 10**7)")) < 250
    assert why("print('passed', flush=True)\nraise ValueError('no')") == "ValueError: no"


def test_secrets_of_the_parent_are_not_passed_on(monkeypatch):
    monkeypatch.setenv("TEACHER_API_KEY", "canary")
    assert "canary" not in why("import os; raise ValueError(sorted(os.environ.items()))")
    assert why("import os; raise ValueError(os.listdir())") == "ValueError: []"
    assert "EOF" in why("input()")


def test_no_child_is_left_behind():
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = children.read_text()
    run_program("import time; time.sleep(60)", wall_seconds=0.2)
    assert children.read_text() == before  # neither alive nor a zombie


def test_the_parent_keeps_its_own_freedom():
    run_program("pass")
    socket.socket().close()
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def test_where_nothing_can_be_confined_nothing_runs(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    with pytest.raises(ValueError, match="runs only where it can be confined"):
        run_programs(["pass"])


def test_a_child_that_cannot_limit_itself_runs_nothing(monkeypatch):
    monkeypatch.setattr(sandbox, "_START", "import sys; sys.exit(3)")
    with pytest.raises(ValueError, match=r"could not be put on \(status 3\).*Nothing was run"):
        run_program("pass")


def test_the_filter_knows_as_many_numbers_as_names():
    names = len(syscalls.EITHER.split())
    assert len(syscalls.ARM64.split()) == names
    assert len(syscalls.X86_64.split()) == names + 6  # the six that arm64 has not
    assert set(syscalls.TABLES) == set(sandbox.MACHINES)
    # A step of eight bytes: 4 at the beginning, 2 a number, 6 for openat.
    assert len(syscalls.filter_program("aarch64")) == 8 * (4 + 2 * names + 6)


@needs_data
@pytest.mark.slow
def test_every_solution_of_humaneval_passes_and_an_empty_one_never():
    """Known answer: 164 of 164 by the benchmark's own solutions, plain and fenced; none by `pass`."""
    from camelid.evaluate.tasks import humaneval

    rows = humaneval.TASK.read(humaneval.TASK.path(DATA))
    places = [(row["prompt"], row["test"], row["entry_point"]) for row in rows]
    plain = [humaneval.program(*at, row["canonical_solution"]) for at, row in zip(places, rows, strict=True)]
    fenced = [
        humaneval.program(*at, f"So:\n```python\n{row['prompt']}{row['canonical_solution']}```\nThat is it.")
        for at, row in zip(places, rows, strict=True)
    ]
    empty = [humaneval.program(*at, "    pass\n") for at in places]
    passed = [sum(outcome.passed for outcome in run_programs(programs)) for programs in (plain, fenced, empty)]
    assert passed == [164, 164, 0]
