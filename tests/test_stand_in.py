"""Every stage on a stand-in for a GPU (`stand_in.py`): the same numbers, no tensor left behind, no waiting in the loop.

What this cannot see, only a GPU shows: its kernels, its memory, its speed. tests/test_cuda.py is for one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stage_inputs import STAGES, write_inputs

pytestmark = pytest.mark.slow

LOOPS = (
    "models/policy.py",
    "models/outputs.py",
    "models/trunk.py",
    "models/batch.py",
    "models/attention.py",
    "functional/",
    "models/lora.py",
)
"""Where nothing may wait for the device while rows are computed; saving adapters is in `lora.py`, too."""


@pytest.fixture(scope="module")
def folder(tied_llama, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "inputs").mkdir()
    write_inputs(folder / "inputs", tied_llama)
    return folder


def run(folder: Path, fault: str) -> dict[str, Any]:
    more = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    script = str(Path(__file__).parent / "on_stand_in.py")
    done = subprocess.run(
        [sys.executable, script, str(folder), fault], capture_output=True, text=True, env=os.environ | more
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def results(folder) -> dict[str, Any]:
    return run(folder, "none")


def numbers(found: Any) -> list[float]:
    """All numbers in what a stage measured, in order; a count beyond a threshold jumps where rounding does not."""
    if isinstance(found, dict):
        return [x for key, value in found.items() if key != "clip_fraction" for x in numbers(value)]
    if isinstance(found, list):
        return [x for value in found for x in numbers(value)]
    return [float(found)] if isinstance(found, int | float) else []


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_measures_the_same_on_both_devices(results, name):
    here, there = results["here"][name], results["there"][name]
    assert "error" not in here, here["error"]
    assert "error" not in there, there["error"]
    first = min(2, len(here["rows"]))  # later steps magnify the rounding of the first ones
    assert numbers(there["rows"][:first]) == pytest.approx(numbers(here["rows"][:first]), rel=1e-3, abs=1e-5)
    assert there["metrics"].keys() == here["metrics"].keys()
    assert len(numbers(here)) > 3


@pytest.mark.parametrize("name", STAGES)
def test_nothing_waits_where_rows_are_computed(results, name):
    waits = results["there"][name]["waits"]
    saving = ("_to_copy models/lora.py",)
    assert [w for w in waits if w.partition(" ")[2].startswith(LOOPS) and not w.startswith(saving)] == []


def test_waiting_does_not_grow_with_the_number_of_micro_batches(results):
    """8 rows of 30 tokens: one micro-batch of 512 tokens, or eight of 40."""
    one, eight = results["waits of a step"]
    assert one == eight <= 3


def test_faults_of_devices_are_seen(folder):
    """What the tests above would miss without this: each of three planted faults makes them fail."""
    left = run(folder, "left behind")["there"]["sft"]["error"]
    assert "got tensors of two devices" in left
    assert "numpy" in run(folder, "numpy")["there"]["sft"]["error"]
    one, eight = run(folder, "waits")["waits of a step"]
    assert eight > one + 5
