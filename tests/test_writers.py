"""Rows passed on to TensorBoard, trackio and Weights & Biases: each once through kills, and never at a stage's cost."""

from __future__ import annotations

import json
import sqlite3
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from camelid.checkpoints import Checkpoints
from camelid.runs import Run, Settings, Stage, execute, read_manifest

STEPS = 6
KILLED_AT, CHECKPOINT = 4, 2


class CountSettings(Settings):
    kill_at: int = 0


class Killed(Exception):
    pass


killing: list[int] = []
"""The step at which the next execution dies; no setting, so the stage's directory stays the same."""


def count(run: Run) -> dict[str, float]:
    """Stage: none -> metrics.jsonl of six steps and, at the last, a second row, as a held-out loss is."""
    for step in range(run.resume(lambda folder: None) + 1, STEPS + 1):
        run.log(step, loss=1 / step, count=step)
        if step == CHECKPOINT:
            run.checkpoint(step, lambda folder: (folder / "state").write_bytes(b"state"))
        if step in killing:
            killing.clear()
            raise Killed
    run.log(STEPS, held_out_loss=0.5)
    return {}


ROWS = [{"step": step, "loss": 1 / step, "count": step} for step in range(1, STEPS + 1)]
ROWS += [{"step": STEPS, "held_out_loss": 0.5}]


def run_count(root: Path, log_to: str | None) -> Path:
    return execute([Stage("count", count, CountSettings())], root, log_to=log_to)["count"]


def killed_and_resumed(root: Path, log_to: str, after: str | None = None) -> Path:
    """A run that dies at step 4, two steps after its checkpoint, and is executed again."""
    killing.append(KILLED_AT)
    with pytest.raises(Killed):
        run_count(root, log_to)
    assert len((next(root.glob("count-*")) / "metrics.jsonl").read_text().splitlines()) == KILLED_AT
    path = run_count(root, log_to if after is None else after)
    assert [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()] == ROWS
    return path


class Recording:
    """A library that keeps what it is sent, in a list; it fails at the step of that number."""

    def __init__(self, keeps: bool, fails_at: int = 0):
        self.kept: list[tuple[int, Mapping[str, float]]] = []
        self.opened: list[tuple[str, str, int]] = []
        self.closed = 0
        module = ModuleType("camelid.writers.tensorboard")
        recording = self

        class Sink:
            def __init__(self, log):
                recording.opened.append((log.place, log.id, log.sent))
                if not keeps:
                    recording.kept.clear()
                print("talk")

            def write(self, step, numbers, seconds):
                if step == fails_at:
                    raise ConnectionError("no route")
                recording.kept.append((step, numbers))

            def close(self):
                recording.closed += 1

        Sink.keeps = keeps
        module.Sink = Sink
        self.module = module


@pytest.fixture
def library(monkeypatch):
    """`library(...)` stands in for TensorBoard's module, whose package then needs not be there."""

    def put(keeps: bool, fails_at: int = 0) -> Recording:
        recording = Recording(keeps, fails_at)
        monkeypatch.setitem(sys.modules, "camelid.writers.tensorboard", recording.module)
        monkeypatch.setattr("camelid.writers.PACKAGES", {"tensorboard": "json"})
        return recording

    return put


def numbers(rows):
    return [(row["step"], {k: v for k, v in row.items() if k != "step"}) for row in rows]


@pytest.mark.parametrize("keeps", [True, False])
def test_each_row_arrives_once_in_order_through_a_kill(tmp_path, library, keeps):
    recording = library(keeps)
    path = killed_and_resumed(tmp_path, "tensorboard")
    assert recording.kept == numbers(ROWS)
    (place, name, _), (again, name_again, sent) = recording.opened
    assert place == again == path.name
    assert sent == (KILLED_AT if keeps else 0)
    assert (name == name_again) == keeps
    assert recording.closed == 2


def test_a_writer_chosen_late_gets_the_rows_before_it_too(tmp_path, library):
    recording = library(True)
    killed_and_resumed(tmp_path, "", after="tensorboard")
    assert recording.kept == numbers(ROWS)


def test_rows_that_a_writer_missed_are_sent_when_it_is_chosen_again(tmp_path, library):
    recording = library(True)
    killing.append(1)
    with pytest.raises(Killed):
        run_count(tmp_path, "tensorboard")
    killing.append(KILLED_AT)
    with pytest.raises(Killed):
        run_count(tmp_path, "")
    run_count(tmp_path, "tensorboard")
    assert recording.kept == numbers(ROWS)


def test_a_failing_writer_is_said_once_and_the_stage_goes_on(tmp_path, library, capsys):
    recording = library(True, fails_at=3)
    path = run_count(tmp_path, "tensorboard")
    out, err = capsys.readouterr()
    assert read_manifest(path) is not None
    assert recording.kept == numbers(ROWS[:2])
    assert err.count("warning: --log-to tensorboard failed (ConnectionError: no route)") == 1
    assert "metrics.jsonl has every row" in err
    assert out == ""
    assert "talk" in err  # what the library prints is no answer


def test_writers_rename_no_stage_and_are_no_outputs(tmp_path, library):
    library(True)
    with_writer, without = run_count(tmp_path / "a", "tensorboard"), run_count(tmp_path / "b", "")
    assert with_writer.name == without.name
    assert read_manifest(with_writer)["outputs"] == read_manifest(without)["outputs"]
    assert read_manifest(with_writer)["settings"] == {"seed": 0, "kill_at": 0}
    assert run_count(tmp_path / "a", "") == with_writer  # finished: nothing is done again


def test_the_environment_names_writers_where_the_command_does_not(tmp_path, library, monkeypatch):
    recording = library(True)
    monkeypatch.setenv("CAMELID_LOG_TO", " tensorboard, tensorboard")
    run_count(tmp_path / "a", None)
    assert recording.kept == numbers(ROWS)
    run_count(tmp_path / "b", "")
    assert recording.kept == numbers(ROWS)


def test_rows_that_a_resume_cut_have_their_numbers_again(tmp_path):
    heard = []

    class Hears:
        def row(self, number, row, seconds):
            heard.append((number, row["step"]))

    run = Run(tmp_path, None, {}, Checkpoints(tmp_path / "checkpoints"), [Hears()])
    run.log(1)
    run.checkpoint(1, lambda folder: (folder / "state").write_bytes(b"1"))
    run.log(2)
    assert run.resume(lambda folder: None) == 1
    run.log(2)
    assert heard == [(0, 1), (1, 2), (1, 2)]


def test_a_stage_without_rows_opens_nothing(tmp_path, library):
    recording = library(True)
    execute([Stage("silent", lambda run: {}, Settings())], tmp_path, log_to="tensorboard")
    assert recording.opened == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("tensorbord", r"--log-to: no writer 'tensorbord'; there are tensorboard, trackio, wandb"),
        ("wandb", r"--log-to wandb: absent_package is not installed: pip install 'camelid\[wandb\]'"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_runs(tmp_path, monkeypatch, names, said):
    monkeypatch.setitem(__import__("camelid.writers").writers.PACKAGES, "wandb", "absent_package")
    with pytest.raises(ValueError, match=said):
        run_count(tmp_path / "run", names)
    assert not (tmp_path / "run").exists()


# --- the real libraries ---


def test_tensorboard_reads_each_row_once_with_its_time(tmp_path):
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    path = killed_and_resumed(tmp_path, "tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "log-to" / "tensorboard" / path.name))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "count", "held_out_loss"}
    assert [(e.step, round(e.value, 6)) for e in events.Scalars("loss")] == [
        (row["step"], round(row["loss"], 6)) for row in ROWS if "loss" in row
    ]
    assert [(e.step, e.value) for e in events.Scalars("held_out_loss")] == [(STEPS, 0.5)]
    times = {row["step"]: row["time"] for row in map(json.loads, (path / "timing.jsonl").read_text().splitlines())}
    assert [e.wall_time for e in events.Scalars("loss")][-1] == pytest.approx(times[STEPS], abs=0.1)


def test_a_tensorboard_that_looks_on_forgets_the_rows_that_are_written_again(tmp_path):
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    killing.append(KILLED_AT)
    with pytest.raises(Killed):
        run_count(tmp_path, "tensorboard")
    (folder,) = (tmp_path / "log-to" / "tensorboard").iterdir()
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [1, 2, 3, 4]
    run_count(tmp_path, "tensorboard")
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]


def logged(content: bytes) -> list[bytes]:
    """Records of a file in LevelDB's log format, as Weights & Biases writes it after seven bytes of its own."""
    records, place = [b""], 7
    while place + 7 <= len(content):
        if place % 32768 > 32768 - 7:  # the rest of a block that holds no head
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        records[-1] += content[place + 7 : place + 7 + length]
        if kind in (1, 4):  # whole, or the last piece
            records.append(b"")
        place += 7 + length
    return records[:-1]


def test_wandb_offline_holds_each_row_once(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    killed_and_resumed(tmp_path, "wandb")
    found, names = [], set()
    for file in sorted((tmp_path / "log-to" / "wandb").rglob("*.wandb")):
        for data in logged(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                names.add((record.run.run_id, record.run.display_name, record.run.project))
            if record.WhichOneof("record_type") == "history":
                found.append({i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item})
    assert len(names) == 1
    seen = [(row["_step"], name, value) for row in found for name, value in row.items() if name[0] != "_"]
    assert sorted(seen) == sorted((row["step"], k, v) for row in ROWS for k, v in row.items() if k != "step")


def test_trackio_holds_each_row_once(tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    import trackio.sqlite_storage
    import trackio.utils

    for module in (trackio, trackio.utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio", raising=False)
    killed_and_resumed(tmp_path / "mine", "trackio")
    (file,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(file) as base:
        rows = base.execute("select run_name, step, metrics from metrics order by id").fetchall()
    assert len({name for name, _, _ in rows}) == 1
    assert [{"step": step, **json.loads(metrics)} for _, step, metrics in rows] == ROWS
