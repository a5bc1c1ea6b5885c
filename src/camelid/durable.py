"""Files that are whole or absent: written aside, fsynced, renamed; and the digests by which they are known again."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)
"""No space on the device, or none left of the user's share of it."""


class DiskFullError(OSError):
    """A file that did not fit on its disk; nothing of it is left."""


@contextmanager
def whole(path: Path, needed: int | None = None) -> Iterator[Path]:
    """A path beside `path` to write to, which becomes `path` at the end; where that fails, nothing is left of it.

    `needed` bytes must be free beforehand. Raises DiskFullError where they are not, or where the disk fills up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with naming_full_disk(path, needed):
        if needed is not None and needed > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            yield aside
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def naming_full_disk(path: Path, needed: int | None = None) -> Iterator[None]:
    """Raise DiskFullError, with the file's name and what is free, for any library's way of saying so."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        # Libraries in Rust (safetensors, tokenizers) raise types of their own; the system's number stands in the text.
        if not (isinstance(error, OSError) and error.errno in FULL) and "(os error 28)" not in str(error):
            raise
        free = shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free
        needs = "" if needed is None else f"it needs {needed / 1e6:,.1f} MB, and "
        raise DiskFullError(f"the disk is full: no room for {path}; {needs}{free / 1e6:,.1f} MB are free") from error


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by the JSON of `value` in one step that survives a crash."""
    write_synced(path, [json.dumps(value, indent=2, ensure_ascii=False)])


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace `path` by the JSON of each row, a line each, as `write_json` does."""
    write_synced(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def write_synced(path: Path, lines: Iterable[str]) -> int:
    """Replace `path` by the lines in one step that survives a crash. Returns their number."""
    count = 0
    with whole(path) as aside, aside.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)
    return count


def sync_directory(path: Path) -> None:
    """Make renames inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Force the content of `path` to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def directory_digest(path: Path) -> str:
    """SHA-256 over the names and contents of all files below `path`."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path)}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()


def append_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows, after the last whole one, and force them to the disk."""
    cut_half_line(path)
    with naming_full_disk(path), path.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_whole_lines(path: Path) -> list[str]:
    """Lines of a file that is appended to; half a line at its end, left by a kill, is cut off."""
    cut_half_line(path)
    # Not splitlines(): it would also split at U+2028 or U+0085 inside a JSON string.
    return path.read_bytes().decode("utf-8").split("\n")[:-1] if path.exists() else []


def keep_whole_chunks(path: Path, chunk: int, total: int) -> int:
    """Cut rows off the end of a file that was written in chunks of `chunk` rows, until only whole chunks are left.

    A kill can stop an append between two rows. `total` is the number of rows when all is written (the last chunk may be
    shorter). Returns the number of rows kept.
    """
    lines = read_whole_lines(path)
    keep = len(lines) if len(lines) == total else len(lines) // chunk * chunk
    if keep < len(lines):
        os.truncate(path, sum(len(line.encode()) + 1 for line in lines[:keep]))
    return keep


def cut_half_line(path: Path) -> None:
    """Cut off what stands after the last newline."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        file.seek(max(path.stat().st_size - 1, 0))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
