"""The same batch through TRL's trainers and through ours, where TRL is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="TRL is not installed: pip install 'camelid[train,bench]'")

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "against_trl_losses.py"
TOLERANCES = {"logprobs": 2e-5, "advantages": 2e-6, "part_losses": 2e-5, "loss": 5e-6, "gradients": 5e-5}
"""Of float32: log-probabilities and advantages as they are, losses and gradients relative to the largest."""


def test_losses_advantages_and_gradients_are_trls():
    more = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = [sys.executable, str(SCRIPT), "--seeds", "1"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | more)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["n"] == 6
    assert found["tokens"] > 300
    assert all(0.01 < share < 0.9 for share in found["clip_fraction"].values())  # clips cut, but not everything
    assert {m: d for m, d in found["largest_differences"].items() if not d < TOLERANCES[m]} == {}
