"""One process a stage: the lock of a stage's directory, and who holds it, asked without touching it.

Imports no torch.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "run.lock"


@contextmanager
def only_process(path: Path) -> Iterator[None]:
    """Hold the lock of the stage in `path`; the kernel drops it when the process dies, however it dies.

    Raises RuntimeError with the holder's number where another process holds it.
    """
    with (path / NAME).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RuntimeError(
                f"{path} is being worked on by process {lock.read().strip() or 'unknown'}; wait for it or stop it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def holder(path: Path) -> int | None:
    """The process of this machine that works on the stage in `path`; None where there is none.

    Trying the lock would make a stage fail that begins at that moment. So: the process that the file names is alive
    and, where the system tells (/proc), has the file open; its number may have gone to another since.
    """
    try:
        process = int((path / NAME).read_text())
        os.kill(process, 0)
    except (OSError, ValueError, OverflowError) as error:
        return process if isinstance(error, PermissionError) else None
    files = Path(f"/proc/{process}/fd")
    try:
        return process if any(_same(file, path / NAME) for file in files.iterdir()) else None
    except OSError:  # no /proc, or not ours to read
        return process


def _same(link: Path, file: Path) -> bool:
    try:
        return link.samefile(file)
    except OSError:  # closed meanwhile, or a pipe
        return False
