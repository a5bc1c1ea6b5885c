"""A disk that fills up: one line that says what did not fit and what is kept, no half file, and a run that goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from camelid.cli import main
from camelid.durable import DiskFullError, append_json_lines, naming_full_disk, whole, write_json
from camelid.models.checkpointing import load_state, save_state
from camelid.models.model_settings import ModelSettings
from camelid.runs import Stage, execute, read_manifest
from camelid.train.sft import SftSettings, train_sft
from camelid.types import Conversation, Message, write_records

Usage = namedtuple("Usage", "total used free")


def nothing_left(folder: Path, *but: str) -> bool:
    return sorted(p.name for p in folder.iterdir()) == sorted(but)


# --- without a disk that is really full ---


def test_what_is_known_not_to_fit_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 0, 3_999_999))
    tensors = {"a": torch.zeros(1_000_000)}
    with pytest.raises(
        DiskFullError, match=r"no room for .*policy\.safetensors; it needs 4\.0 MB, and 4\.0 MB are free"
    ):
        save_state(tmp_path, "policy", tensors, {})
    assert nothing_left(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 0, 4_000_000))
    save_state(tmp_path, "policy", tensors, {})
    assert load_state(tmp_path, "policy")[0]["a"].shape == (1_000_000,)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        Exception("No space left on device (os error 28)"),  # the tokenizers library's
    ],
)
def test_a_disk_that_fills_up_halfway_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "file").write_text("old")
    with pytest.raises(DiskFullError, match=r"no room for .*/file;.* MB are free"), whole(tmp_path / "file") as aside:
        aside.write_text("half of the n")
        raise error
    assert (tmp_path / "file").read_text() == "old" and nothing_left(tmp_path, "file")


def test_other_errors_are_left_as_they_are(tmp_path):
    with pytest.raises(PermissionError), naming_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(SafetensorError, match="header"), whole(tmp_path / "file") as aside:
        aside.write_text("half")
        raise SafetensorError("header too large")
    assert nothing_left(tmp_path)


# --- on a disk of one megabyte ---


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip() or 'not allowed'}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, leave: int) -> Path:
    """A file beside the others that leaves so many bytes free."""
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * (shutil.disk_usage(folder).free - leave))
    return ballast


def stage(model: Path, folder: Path) -> Stage:
    talks = [
        (Message(role="user", content=f"Capital {n}?"), Message(role="assistant", content="Paris.")) for n in range(8)
    ]
    write_records(folder / "rows.jsonl", [Conversation(messages=talk) for talk in talks])
    settings = SftSettings(
        model=ModelSettings(precision="float32", lora_rank=2), batch_size=2, epochs=2, checkpoint_every=2
    )
    return Stage("sft", train_sft, settings, {"model": model, "demonstrations": folder / "rows.jsonl"})


def test_small_files_are_named_and_old_ones_stay(small_disk):
    write_json(small_disk / "old.json", {"a": 1})
    append_json_lines(small_disk / "rows.jsonl", [{"a": 1}])
    ballast = fill(small_disk, 0)
    with pytest.raises(DiskFullError, match=r"no room for .*old\.json"):
        write_json(small_disk / "old.json", {"a": "long" * 3000})
    with pytest.raises(DiskFullError, match=r"no room for .*rows\.jsonl"):
        append_json_lines(small_disk / "rows.jsonl", [{"a": "long" * 3000}])
    ballast.unlink()
    assert json.loads((small_disk / "old.json").read_text()) == {"a": 1}
    append_json_lines(small_disk / "rows.jsonl", [{"a": 2}])  # half a row, left by the full disk, is cut off first
    assert (small_disk / "rows.jsonl").read_text() == '{"a": 1}\n{"a": 2}\n'
    assert nothing_left(small_disk, "old.json", "rows.jsonl")


def metrics_of(path: Path) -> list[str]:
    return (path / "metrics.jsonl").read_text().splitlines()


@pytest.mark.parametrize(("leave", "named", "kept"), [(20 << 10, "policy", False), (180 << 10, "model", True)])
def test_a_run_that_filled_the_disk_goes_on_with_the_same_numbers(tied_llama, tmp_path, small_disk, leave, named, kept):
    work = stage(tied_llama, tmp_path)
    ballast = fill(small_disk, leave)
    with pytest.raises(DiskFullError) as raised:
        execute([work], small_disk)
    said = str(raised.value)
    [place] = small_disk.glob("sft-*")
    assert f"no room for {place}/" in said and named in said and "MB are free" in said
    held = "the checkpoint of step 8 in" if kept else "no checkpoint of this stage"
    assert held in said and "give the same command again" in said
    assert read_manifest(place) is None
    assert not [p for p in place.rglob("*") if p.name.startswith(".") or p.name == "model.safetensors"]
    ballast.unlink()
    path = execute([work], small_disk)["sft"]
    assert path == place and len(metrics_of(path)) == 8
    assert metrics_of(path) == metrics_of(execute([work], tmp_path / "undisturbed")["sft"])


def test_the_command_prints_one_line(tied_llama, tmp_path, small_disk, capsys):
    stage(tied_llama, tmp_path)
    fill(small_disk, 16 << 10)
    words = ["sft", "--model", str(tied_llama), "--demonstrations", str(tmp_path / "rows.jsonl")]
    assert "CAMELID_TRACEBACK" not in os.environ
    assert main([*words, "--set", "checkpoint_every=1", "--out", str(small_disk)]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("camelid: ")]
    assert "the disk is full: no room for" in line and "Make room" in line
