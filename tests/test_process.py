"""How a process of ours waits and keeps memory; each case in a process of its own, since neither can be taken back."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

import pytest

from camelid.process import CACHED_PRIMITIVES, SPIN_COUNT

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")

ENVIRONMENT = """
import json, os
from camelid.process import prepare
prepare()
print(json.dumps([os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")]))
"""

PAGE_FAULTS = """
import resource, sys
from camelid.process import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(32 << 20)  # written with zeros, then freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

page_faults()
print(page_faults())
"""


def answer(script: str, *words: str, **environment: str):
    inherited = {name: value for name, value in os.environ.items() if name not in (*WAITING, *CACHES)}
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["passive", SPIN_COUNT]),
        ({"OMP_WAIT_POLICY": "passive"}, ["passive", None]),
        ({"OMP_WAIT_POLICY": "active"}, ["active", None]),
        ({"GOMP_SPINCOUNT": "7"}, ["passive", "7"]),
    ],
)
def test_threads_spin_briefly_unless_the_user_has_said_how_they_wait(given, expected):
    assert answer(ENVIRONMENT, **given) == expected


def test_few_compiled_products_are_kept_unless_the_user_has_said_how_many():
    script = ENVIRONMENT.replace('("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")', str(CACHES))
    assert answer(script, **dict.fromkeys(CACHES, "5")) == ["5", "5"]
    assert answer(script, ONEDNN_PRIMITIVE_CACHE_CAPACITY="5") == ["5", CACHED_PRIMITIVES]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt, as glibc has")
def test_a_freed_block_is_taken_again_without_asking_the_kernel_for_its_pages():
    pages = (32 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert answer(PAGE_FAULTS, "keep") < pages / 100
    assert answer(PAGE_FAULTS, "as it comes") > pages / 100
