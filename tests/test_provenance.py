"""What a manifest says of memory."""

import platform
import subprocess
import sys

import pytest

from camelid.provenance import PeakMemory


def test_the_peak_is_that_of_the_time_inside():
    with PeakMemory() as before:
        pass
    with PeakMemory() as memory:
        block = b"x" * 200_000_000
    del block
    with PeakMemory() as after:
        pass
    assert memory.peak_bytes - before.peak_bytes == pytest.approx(200e6, rel=0.1)
    assert after.peak_bytes - before.peak_bytes < 50e6


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="tests malloc_trim, which only glibc has",
)
def test_memory_that_was_freed_before_is_not_counted():
    # 200 MB in blocks too small to be mapped apart, the last of which stays: glibc keeps all of it until it is asked.
    code = """
from camelid.provenance import PeakMemory
blocks = [b"x" * 60_000 for _ in range(3_300)]
last = blocks.pop()
del blocks
with PeakMemory() as memory:
    pass
print(memory.peak_bytes)
"""
    peak = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert peak < 100e6
