"""The GPU's benchmark, on a CPU and with a tiny model: a GPU's minutes are not for finding its faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(*words: str, script: str = "gpu.py") -> dict[str, Any]:
    more = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--size", "tiny", *words],
        capture_output=True,
        text=True,
        env=os.environ | more,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_both_sides_train_on_the_same_rows(tmp_path):
    found = run("--what", "sft", "--pieces", "2", "--steps", "1", "--out", str(tmp_path))
    assert {"ours", "peer", "ratio", "peak_share", "peak_memory_ratio", "peer_name", "commit"} <= found.keys()
    assert found["n"] == 2
    # The same random weights and rows, so the same first loss, which the other side computes and rounds its own way.
    assert found["first_losses"]["ours"] == pytest.approx(found["first_losses"]["theirs"], rel=1e-2)
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


@pytest.mark.slow
def test_memory_says_what_fits_beside_the_estimate():
    kinds = run("--what", "memory")["kinds"]
    assert kinds.keys() == {"full", "full-bfloat16", "lora"}
    # Embedding 512 x 64; two layers of 64 x (64 + 32 + 32 + 64 + 3 x 128) and two norms of 64; a last norm.
    assert kinds["full"]["parameters"] == 512 * 64 + 2 * (64 * 576 + 2 * 64) + 64
    assert all(kind["fits"] and kind["estimate_bytes"] > 0 for kind in kinds.values())


@pytest.mark.slow
def test_both_sides_draw_as_many_tokens():
    found = run("--rows", "16", "--new", "8", "--repeats", "2", script="gpu_sampling.py")
    assert {"ours", "peer", "ratio", "peak_memory_ratio", "peer_name", "commit"} <= found.keys()
    assert found["n"] == 2
    assert found["ours"] > 0 and found["peer"] > 0
