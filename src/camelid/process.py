"""What camelid asks of OpenMP and of the C library for its own process, before torch is loaded.

`benchmarks/process.py` says what it saves. Left out: processor affinity and huge pages, which are the administrator's.
Imports no torch: OpenMP reads its settings when torch is loaded.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
from contextlib import suppress
from pathlib import Path

SPIN_COUNT = "20000"
"""Turns that a waiting thread of libgomp makes, some tens of microseconds."""
CACHED_PRIMITIVES = "128"
"""Compiled products that oneDNN and torch's layer above it keep, a megabyte or more each. A micro-batch needs some
tens, and the next is of another length and needs its own: with the default of 1,024, memory grows for hundreds of steps
(100 lengths of three products: 353 MB; with 16 kept, 56 MB)."""
WORTH = 100e6
"""Bytes by which a process must have grown for `give_back_freed_memory` to look."""
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Parameters of glibc's mallopt, by their numbers in malloc.h."""


def prepare() -> None:
    """Settle how this process waits and how it keeps memory."""
    spin_briefly()
    keep_few_primitives()
    keep_freed_memory()


def spin_briefly() -> None:
    """Let a waiting thread spin for microseconds before it sleeps; an OMP_WAIT_POLICY from outside is left alone.

    Between two operators that is shorter than waking up. libgomp's own milliseconds are too long: two such processes
    on two cores slow each other thirtyfold. Where several share the cores, OMP_WAIT_POLICY=passive is right.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def keep_few_primitives() -> None:
    """Bound the two caches of compiled products; settings from outside are left alone."""
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, CACHED_PRIMITIVES)


def keep_freed_memory() -> bool:
    """Let glibc keep large freed blocks, since every step asks for the same again; returns whether it does.

    Otherwise each comes from the kernel, page by page and zeroed. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, 64 << 20))
    return all([mallopt(parameter, value) == 1 for parameter, value in wanted])


def give_back_freed_memory() -> None:
    """Return to the kernel what nobody uses any more; for the moments when something large comes, such as a model.

    Does nothing where the process has hardly grown since the last time: looking through all objects takes a while.

    What `keep_freed_memory` keeps serves neither a file that is mapped nor another stage's sizes: an evaluation peaked
    at 1.9 GB, and at 1.3 with this before each model. A model that was dropped may still hang in a ring of references
    until Python looks for those: after an SFT stage 0.2 GB did.
    """
    if resident_bytes() < _Left.bytes + WORTH:
        return
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    _Left.bytes = resident_bytes()


def resident_bytes() -> float:
    """What this process has in memory; without bounds where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return math.inf


class _Left:
    """What was resident when memory was last given back."""

    bytes = 0.0
