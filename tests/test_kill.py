"""SIGKILL at any moment costs time and nothing else: a killed and resumed stage leaves, to the bit, what it would have
left undisturbed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from camelid.durable import file_digest
from camelid.runs import read_manifest
from stage_inputs import write_inputs
from tiny_rounds import write_data

MAX_KILLS = 7


@pytest.fixture(scope="module")
def inputs(tied_llama, tmp_path_factory) -> Path:
    """A folder with everything that the stages of `killable.py` read."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, tied_llama)
    write_data(folder / "rounds")
    return folder


class Server:
    """The program that runs and kills stages."""

    def __init__(self, process: subprocess.Popen, inputs: Path, errors: Path):
        self.process = process
        self.inputs = inputs
        self.errors = errors

    def run(
        self,
        stage: str,
        root: Path,
        *,
        seconds: float | None = None,
        checkpoints: int = 0,
        watched: str = "*/checkpoints/step-*",
    ) -> dict[str, Any]:
        """One execution; see `killable.run_and_kill`."""
        root.mkdir(exist_ok=True)
        job = {"stage": stage, "inputs": str(self.inputs), "root": str(root), "watched": watched}
        self.process.stdin.write(json.dumps(job | {"seconds": seconds, "checkpoints": checkpoints}) + "\n")
        self.process.stdin.flush()
        result = json.loads(self.process.stdout.readline())
        assert result["killed"] or result["code"] == 0, self.errors.read_text()[-3000:]
        return result


@pytest.fixture(scope="module")
def server(inputs, tmp_path_factory):
    errors = tmp_path_factory.mktemp("server") / "stderr.txt"
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    script = str(Path(__file__).parent / "killable.py")
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            text=True,
        ) as process,
    ):
        yield Server(process, inputs, errors)
        process.stdin.close()


def finished(root: Path) -> tuple[Path, dict[str, Any]]:
    """The one stage under `root`, with its manifest; what the manifest says of the files is checked on the way."""
    (path,) = (place.parent for place in root.glob("*/manifest.json"))
    manifest = read_manifest(path)
    assert {name: file_digest(path / name) for name in manifest["outputs"]} == manifest["outputs"]
    assert not (path / "checkpoints").exists()
    return path, manifest


def assert_same(undisturbed: Path, killed: Path) -> None:
    (a, expected), (b, got) = finished(undisturbed), finished(killed)
    assert a.name == b.name
    assert got["metrics"] == expected["metrics"]
    assert got["outputs"] == expected["outputs"]


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    """stage -> (root of a run without kills, its seconds)"""
    runs: dict[str, tuple[Path, float]] = {}

    def run(stage: str) -> tuple[Path, float]:
        if stage not in runs:
            root = tmp_path_factory.mktemp("undisturbed") / stage
            runs[stage] = root, server.run(stage, root)["seconds"]
        return runs[stage]

    return run


OUTPUTS = {
    "sft": {"model/model.safetensors", "metrics.jsonl"},
    "reward": {"model/model.safetensors", "metrics.jsonl", "accuracy.json"},
    "dpo": {"model/model.safetensors", "metrics.jsonl", "accuracy.json"},
    "kto": {"model/model.safetensors", "metrics.jsonl", "accuracy.json"},
    "best": {"samples.jsonl", "best.jsonl", "curve.json"},
    "ppo": {"model/model.safetensors", "metrics.jsonl", "samples.jsonl"},
    "ppo-everything": {
        "model/model.safetensors",
        "model-ema/model.safetensors",
        "metrics.jsonl",
        "samples.jsonl",
        "guards.jsonl",
    },
    "policy-gradient": {"model/model.safetensors", "metrics.jsonl"},
    "online-dpo": {"model/model.safetensors", "metrics.jsonl"},
    "expert-iteration": {"model/model.safetensors", "metrics.jsonl"},
    "distill": {"model/model.safetensors", "metrics.jsonl"},
    "uptrain": {"model/model.safetensors", "metrics.jsonl"},
    "rules": {"model/model.safetensors", "model/rule_model.json", "metrics.jsonl", "auc.json", "held_out.jsonl"},
    "rerank": {"answers.jsonl", "results.json"},
    "probe": {"probes.jsonl", "answers.jsonl", "successes.jsonl", "results.json"},
    "evaluate": {"answers.jsonl", "results.json"},
}


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_killed_stage_ends_as_if_nothing_had_happened(server, undisturbed, tmp_path, stage):
    expected, seconds = undisturbed(stage)
    assert finished(expected)[1]["outputs"].keys() >= OUTPUTS[stage]
    moments = random.Random(stage)
    kills = 0
    while kills < MAX_KILLS:
        # The first three come early enough that the stage cannot have finished by then.
        share = moments.uniform(0.1, 0.3) if kills < 3 else moments.uniform(0.2, 1.0)
        if not server.run(stage, tmp_path / "killed", seconds=share * seconds)["killed"]:
            break
        kills += 1
    else:
        server.run(stage, tmp_path / "killed")
    assert kills >= 3
    assert_same(expected, tmp_path / "killed")


WITHIN = (
    ("round-1/reward-*/checkpoints/step-*", 1),
    ("round-1/temperature-*/samples-*.jsonl", 1),
    ("round-1/best-*/samples.jsonl", 1),
    ("round-2/pool-*/scores.jsonl", 1),
    ("round-2/ghost-*/dialogues.jsonl", 1),
    ("round-2/distilled-*/answers.jsonl", 1),
    ("round-2/reject-*/checkpoints/step-*", 1),
    ("round-2/ppo-*/checkpoints/step-*", 1),
    ("round-2/ppo-*/checkpoints/step-*", 2),
    ("round-2/evaluate-ppo-*/answers.jsonl", 1),
)
"""What a stage of a round has begun to write when it is killed: sampling, fine-tuning, PPO, evaluation."""


def test_killed_rounds_end_as_if_nothing_had_happened(server, undisturbed, tmp_path):
    """Two rounds of LLaMA-2-Chat, killed within each kind of stage and, besides, at random moments."""
    expected, seconds = undisturbed("rounds")
    root, moments, kills = tmp_path / "killed", random.Random("rounds"), 0
    for watched, number in WITHIN:
        # A random moment, but none after the stage that is waited for: a machine may be faster now than undisturbed.
        early = moments.uniform(0.02, 0.08) * seconds
        kills += server.run("rounds", root, seconds=early, checkpoints=number, watched=watched)["killed"]
        assert server.run("rounds", root, checkpoints=number, watched=watched)["killed"], watched
        kills += 1
    server.run("rounds", root)
    assert kills >= 15
    stages = json.loads((expected / "run.json").read_text())["stages"]
    assert json.loads((root / "run.json").read_text())["stages"] == stages
    stages.pop("report")  # it says when each stage ran, and for how long
    for name, folder in stages.items():
        a, b = read_manifest(expected / folder), read_manifest(root / folder)
        assert (a["outputs"], a["metrics"]) == (b["outputs"], b["metrics"]), name


def test_ppo_goes_on_from_its_checkpoint_with_all_that_it_remembers(server, undisturbed, tmp_path):
    """Killed when averages, the running scale, the guards' windows and the best look are no longer those of a start."""
    expected, _ = undisturbed("ppo-everything")
    assert server.run("ppo-everything", tmp_path / "killed", checkpoints=2)["killed"]
    (newest,) = list((tmp_path / "killed").glob("*/checkpoints/step-*"))[-1:]
    assert 2 <= int(newest.name.removeprefix("step-")) < 6
    server.run("ppo-everything", tmp_path / "killed")
    assert_same(expected, tmp_path / "killed")


@pytest.mark.parametrize(("stage", "file"), [("best", "samples.jsonl"), ("evaluate", "answers.jsonl")])
@pytest.mark.parametrize("rows", [1, 14, 28])
def test_a_chunk_that_a_kill_cut_short_is_drawn_again(server, undisturbed, tmp_path, stage, file, rows):
    """Chunks are of 3 prompts, 12 samples or 3 answers: the kill comes between two rows of one, and within a row."""
    expected, _ = undisturbed(stage)
    root = tmp_path / "cut"
    shutil.copytree(expected, root)
    path, _ = finished(root)
    (path / "manifest.json").unlink()
    lines = (path / file).read_bytes().splitlines(keepends=True)
    (path / file).write_bytes(b"".join(lines[:rows]) + lines[rows][:20])
    server.run(stage, root)
    assert_same(expected, root)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_torn_checkpoint_costs_its_steps_only(server, undisturbed, tmp_path, damage):
    expected, _ = undisturbed("sft")
    root = tmp_path / "torn"
    assert server.run("sft", root, checkpoints=2)["killed"]
    *_, previous, newest = sorted(root.glob("*/checkpoints/step-*"))
    victim = newest / "policy.safetensors"
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    already = len(server.errors.read_text())
    server.run("sft", root)
    assert f"{newest} is damaged" in server.errors.read_text()[already:]
    assert str(previous) not in server.errors.read_text()[already:]
    assert_same(expected, root)


def test_a_killed_stage_leaves_no_manifest_and_its_lock_to_the_next(server, tmp_path):
    assert server.run("sft", tmp_path / "run", checkpoints=1)["killed"]
    (path,) = (tmp_path / "run").glob("sft-*")
    assert read_manifest(path) is None
    assert (path / "run.lock").exists()
