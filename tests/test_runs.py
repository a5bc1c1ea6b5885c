"""Stages and their directories: what renames them, what repeats nothing, what a kill or a flipped bit may do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from camelid.checkpoints import KEEP, Checkpoints
from camelid.durable import append_json_lines, file_digest, keep_whole_chunks, read_whole_lines, write_json
from camelid.runs import Output, Run, Settings, Stage, derived_seed, execute, list_runs, read_manifest, read_run


class CopySettings(Settings):
    suffix: str = "!"


calls: list[str] = []


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


def copy(run: Run) -> dict[str, float]:
    """Stage: `text` (a file, a folder, or several files) -> copy.txt"""
    calls.append(run.label)
    paths = run.inputs["text"] if isinstance(run.inputs["text"], list) else [run.inputs["text"]]
    files = [f for path in paths for f in (sorted(path.iterdir()) if path.is_dir() else [path])]
    text = "".join(file.read_text() for file in files) + run.settings.suffix
    (run.path / "copy.txt").write_text(text)
    run.log(1, length=len(text))
    return {"length": len(text)}


def other_copy(run: Run) -> dict[str, float]:
    return copy(run)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("llama")
    return file


def run_one(root: Path, text, *, settings: Settings = CopySettings(), name="copy", function=copy) -> Path:  # noqa: B008
    return execute([Stage(name, function, settings, {"text": text})], root)[name]


# --- the directory's name ---


def test_the_same_settings_and_contents_give_the_same_directory_whatever_the_path(tmp_path, text):
    elsewhere = tmp_path / "elsewhere" / "renamed.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_text("llama")
    first = run_one(tmp_path / "a", text)
    second = run_one(tmp_path / "b", elsewhere)
    assert first.name == second.name


def test_a_changed_setting_seed_function_or_content_gives_another_directory(tmp_path, text):
    paths = [
        run_one(tmp_path, text),
        run_one(tmp_path, text, settings=CopySettings(suffix="?")),
        run_one(tmp_path, text, settings=CopySettings(seed=1)),
        run_one(tmp_path, text, function=other_copy),
        run_one(tmp_path, [text]),
        run_one(tmp_path, [text, text]),
    ]
    text.write_text("alpaca")
    paths.append(run_one(tmp_path, text))
    assert len(set(paths)) == len(paths) == len(calls)


def test_a_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path):
    names = set()
    for number, (file, content) in enumerate([("a", "x"), ("b", "x"), ("a", "y")]):
        folder = tmp_path / f"folder-{number}"
        folder.mkdir()
        (folder / file).write_text(content)
        names.add(run_one(tmp_path / "runs", folder).name)
    assert len(names) == 3


def test_an_upstream_change_reaches_every_stage_after_it(tmp_path, text):
    def chain(suffix: str) -> dict[str, Path]:
        stages = [
            Stage("first", copy, CopySettings(suffix=suffix), {"text": text}),
            Stage("second", copy, CopySettings(), {"text": Output("first", "copy.txt")}),
            Stage("third", copy, CopySettings(), {"text": [Output("second", "copy.txt"), text]}),
        ]
        return execute(stages, tmp_path / "runs")

    before, after = chain("!"), chain("?")
    assert all(before[name] != after[name] for name in before)
    assert (after["third"] / "copy.txt").read_text() == "llama?!llama!"
    calls.clear()
    assert chain("!") == before
    assert calls == []


def test_what_is_no_output_of_an_upstream_stage_does_not_rename_the_stage_after_it(tmp_path, text):
    first = run_one(tmp_path, text)
    stages = [
        Stage("copy", copy, CopySettings(), {"text": text}),
        Stage("second", copy, CopySettings(), {"text": Output("copy", "")}),
    ]
    before = execute(stages, tmp_path)["second"]
    (first / "timing.jsonl").write_text("other times\n")
    assert execute(stages, tmp_path)["second"] == before


def test_an_input_beside_another_programs_manifest_is_read_by_its_content(tmp_path, text):
    (tmp_path / "manifest.json").write_text('{"name": "a browser extension"}')
    assert (run_one(tmp_path / "runs", text) / "copy.txt").read_text() == "llama!"


# --- execution ---


def test_a_second_execution_does_nothing(tmp_path, text):
    path = run_one(tmp_path, text)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert run_one(tmp_path, text) == path
    assert calls == ["copy"]
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def test_checkpoints_that_a_kill_left_beside_the_manifest_are_removed(tmp_path, text):
    path = run_one(tmp_path, text)
    save(Checkpoints(path / "checkpoints"), 1)
    run_one(tmp_path, text)
    assert not (path / "checkpoints").exists()
    assert calls == ["copy"]


def test_a_stage_that_fails_leaves_no_manifest_and_runs_again(tmp_path, text):
    fail = True

    def flaky(run: Run) -> dict[str, float]:
        if fail:
            raise ZeroDivisionError("the disk is full")
        return copy(run)

    stage = Stage("flaky", flaky, CopySettings(), {"text": text})
    with pytest.raises(ZeroDivisionError, match="the disk is full"):
        execute([stage], tmp_path)
    (path,) = tmp_path.glob("flaky-*")
    assert read_manifest(path) is None
    fail = False
    assert execute([stage], tmp_path)["flaky"] == path
    assert read_manifest(path) is not None


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"stage 'copy': input .*absent.txt does not exist"):
        run_one(tmp_path, tmp_path / "absent.txt")
    with pytest.raises(FileNotFoundError, match=r"absent.txt does not exist"):
        run_one(tmp_path, [tmp_path / "absent.txt"])


def test_an_upstream_stage_that_does_not_run_before_is_named(tmp_path):
    with pytest.raises(ValueError, match="stage 'copy' reads from 'sft', which does not run before it"):
        run_one(tmp_path, Output("sft", "model"))


def test_an_output_that_the_upstream_stage_does_not_leave_is_named_with_those_it_does(tmp_path, text):
    stages = [
        Stage("first", copy, CopySettings(), {"text": text}),
        Stage("second", copy, CopySettings(), {"text": Output("first", "modle")}),
    ]
    with pytest.raises(FileNotFoundError, match=r"left no output 'modle'; it has \['copy.txt', 'metrics.jsonl'\]"):
        execute(stages, tmp_path)


def test_what_a_stage_says_of_itself_can_be_read_as_well(tmp_path, text):
    """Studies read how long a stage took and what it measured last."""
    stages = [
        Stage("first", copy, CopySettings(), {"text": text}),
        Stage("second", copy, CopySettings(), {"text": Output("first", "manifest.json")}),
    ]
    paths = execute(stages, tmp_path)
    said = read_manifest(paths["second"])["inputs"]["text"]
    assert said["sha256"] == file_digest(paths["first"] / "manifest.json")
    assert execute(stages, tmp_path) == paths


def test_unknown_settings_are_errors():
    with pytest.raises(ValidationError, match="sufix"):
        CopySettings(sufix="?")


def test_a_stage_that_another_process_works_on_is_refused_with_its_number(tmp_path, text):
    path = run_one(tmp_path, text)
    (path / "manifest.json").unlink()
    code = (
        "import sys; from pathlib import Path; from camelid.lock import only_process\n"
        "with only_process(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match=f"worked on by process {holder.pid}; wait for it or stop it"):
            run_one(tmp_path, text)
        holder.kill()  # however the holder dies, its lock goes with it
    assert run_one(tmp_path, text) == path


def test_a_stage_finished_by_another_process_meanwhile_is_not_run_again(tmp_path, text, monkeypatch):
    path = run_one(tmp_path, text)
    looks = iter([None])  # not finished at the first look, before the lock is taken
    real = read_manifest
    monkeypatch.setattr("camelid.runs.read_manifest", lambda p: next(looks, real(p)) if p == path else real(p))
    calls.clear()
    run_one(tmp_path, text)
    assert next(looks, "used up") == "used up"
    assert calls == []


# --- the manifest ---


def test_the_manifest_says_what_was_done_to_what_with_what_result(tmp_path, text):
    path = run_one(tmp_path / "runs", text, settings=CopySettings(seed=7))
    manifest = read_manifest(path)
    assert manifest["stage"] == "copy"
    assert manifest["function"] == f"{__name__}.copy"
    assert manifest["settings"] == {"seed": 7, "suffix": "!"}
    assert manifest["inputs"] == {"text": {"path": str(text), "sha256": file_digest(text)}}
    assert manifest["outputs"] == {name: file_digest(path / name) for name in ("copy.txt", "metrics.jsonl")}
    assert manifest["metrics"] == {"length": 6}
    assert manifest["seconds"] >= 0
    assert manifest["peak_memory_bytes"] > 10**6
    assert manifest["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert manifest["machine"]["cores"] >= 1
    assert "commit" in manifest


def test_what_a_kill_left_of_a_file_written_aside_is_no_output(tmp_path, text):
    def interrupted(run: Run) -> dict[str, float]:
        (run.path / "model").mkdir()
        (run.path / "model" / ".config.json.4711").write_text("{")
        (run.path / ".manifest.json.4711").write_text("{")
        write_json(run.path / "accuracy.json", {"accuracy": 0.5})
        return {}

    path = run_one(tmp_path, text, function=interrupted)
    assert list(read_manifest(path)["outputs"]) == ["accuracy.json"]


def test_a_run_lists_its_stages_in_order_and_runs_are_listed_newest_first(tmp_path, text):
    stages = [Stage(name, copy, CopySettings(), {"text": text}) for name in ("b", "nested/a")]
    finished = execute(stages, tmp_path / "runs" / "old")
    run_one(tmp_path / "runs" / "new", text)
    assert read_run(tmp_path / "runs" / "old") == finished
    assert list(finished) == ["b", "nested/a"]
    assert [root.name for root in list_runs(tmp_path / "runs")] == ["new", "old"]
    with pytest.raises(ValueError, match="it has no run"):
        read_run(tmp_path)


@pytest.mark.parametrize("content", ["{}", "[]", "{"])
def test_a_foreign_run_file_is_said_to_be_none(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match="that names no stages"):
        read_run(tmp_path)


# --- checkpoints ---

FILES = {"weights.bin": bytes(range(256)) * 4, "kl.json": b'{"coef": 0.2}'}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


def save(checkpoints: Checkpoints, step: int) -> Path:
    def write(folder: Path) -> None:
        for name, content in FILES.items():
            (folder / name).write_bytes(content)

    checkpoints.save(step, write, {"metrics_bytes": 10 * step})
    return checkpoints.folder / f"step-{step:08d}"


def test_the_newest_two_checkpoints_are_kept(checkpoints):
    assert checkpoints.latest() is None
    for step in (5, 10, 15, 100):
        save(checkpoints, step)
    assert [p.name for p in sorted(checkpoints.folder.iterdir())] == ["step-00000015", "step-00000100"]
    assert KEEP == 2
    newest = checkpoints.latest()
    assert (newest.step, newest.notes) == (100, {"metrics_bytes": 1000})
    assert (newest.path / "weights.bin").read_bytes() == FILES["weights.bin"]


def every_damage() -> list[tuple[str, str]]:
    return [(file, damage) for file in (*FILES, "checkpoint.json") for damage in ("truncated", "flipped", "missing")]


@pytest.mark.parametrize(("file", "damage"), every_damage())
def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_taken(checkpoints, capsys, file, damage):
    save(checkpoints, 1)
    victim = save(checkpoints, 2) / file
    content = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    elif damage == "truncated":
        victim.write_bytes(content[: len(content) // 2])
    else:
        victim.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert checkpoints.latest().step == 1
    warning = capsys.readouterr().err
    assert "step-00000002 is damaged" in warning
    assert file in warning
    assert checkpoints.latest().step == 1
    assert capsys.readouterr().err == ""  # moved away: reported once


def test_every_flipped_bit_of_an_index_is_noticed(checkpoints, capsys):
    path = save(checkpoints, 2)
    content = (path / "checkpoint.json").read_bytes()
    for place in range(len(content)):
        path.mkdir(exist_ok=True)
        for name, data in FILES.items():
            (path / name).write_bytes(data)
        changed = bytes([content[place] ^ 2])
        if changed.isspace() and content[place : place + 1].isspace():
            continue
        (path / "checkpoint.json").write_bytes(content[:place] + changed + content[place + 1 :])
        assert checkpoints.latest() is None, (place, changed)


def test_without_a_whole_checkpoint_there_is_none(checkpoints):
    for step in (1, 2):
        (save(checkpoints, step) / "weights.bin").write_bytes(b"")
    assert checkpoints.latest() is None


def test_a_checkpoint_that_was_being_written_is_ignored_and_replaced(checkpoints):
    save(checkpoints, 1)

    def killed(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(2, killed, {})
    assert checkpoints.latest().step == 1
    save(checkpoints, 2)
    assert checkpoints.latest().step == 2


def test_resuming_forgets_the_metrics_after_the_checkpoint(tmp_path):
    run = Run(tmp_path, None, {}, Checkpoints(tmp_path / "checkpoints"))
    assert run.resume(lambda folder: None) == 0
    run.log(1, loss=3.0)
    run.checkpoint(1, lambda folder: (folder / "state").write_bytes(b"1"))
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    run.log(2, loss=2.0)
    loaded = []
    assert run.resume(lambda folder: loaded.append((folder / "state").read_bytes())) == 1
    assert loaded == [b"1"]
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    run.checkpoints.clear()
    assert run.resume(lambda folder: None) == 0
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_the_manifest_counts_the_seconds_of_interrupted_executions(checkpoints):
    checkpoints.started -= 100.0
    save(checkpoints, 1)
    again = Checkpoints(checkpoints.folder)
    again.latest()
    assert again.seconds_before == pytest.approx(100, abs=5)
    again.started -= 50.0
    save(again, 2)
    assert json.loads((again.folder / "step-00000002" / "checkpoint.json").read_text())["seconds"] >= 150


# --- files that are appended to ---

SEPARATORS = "a\u2028b\u2029c\x85d\x0be\rf\ng"


@settings(max_examples=40)  # each one waits for the disk
@given(rows=st.lists(st.text(max_size=5), max_size=6), cut=st.integers(0, 40))
def test_appending_after_half_a_line_loses_that_line_only(tmp_path_factory, rows, cut):
    file = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    append_json_lines(file, [{"text": text} for text in rows])
    content = file.read_bytes()[: max(len(file.read_bytes()) - cut, 0)]
    file.write_bytes(content)
    append_json_lines(file, [{"text": SEPARATORS}])
    kept = content.count(b"\n")
    assert [json.loads(line)["text"] for line in read_whole_lines(file)] == [*rows[:kept], SEPARATORS]


def test_reading_cuts_half_a_line_off_the_file(tmp_path):
    file = tmp_path / "rows.jsonl"
    assert read_whole_lines(file) == []
    file.write_bytes(b'{"a": 1}\n{"a":')
    assert read_whole_lines(file) == ['{"a": 1}']
    assert file.read_bytes() == b'{"a": 1}\n'
    file.write_bytes(b'{"a":')
    assert read_whole_lines(file) == []
    assert file.read_bytes() == b""


@pytest.mark.parametrize(
    ("written", "kept"),
    # Chunks of 4 rows out of 10 in all: 4 + 4 + 2.
    [(0, 0), (3, 0), (4, 4), (7, 4), (8, 8), (9, 8), (10, 10)],
)
def test_only_whole_chunks_survive_a_kill(tmp_path, written, kept):
    file = tmp_path / "rows.jsonl"
    append_json_lines(file, [{"text": "ü" * i} for i in range(written)])
    with file.open("a") as half:
        half.write('{"te')
    assert keep_whole_chunks(file, 4, 10) == kept
    assert [len(json.loads(line)["text"]) for line in read_whole_lines(file)] == list(range(kept))


# --- seeds ---


def test_seeds_of_different_purposes_differ_and_of_the_same_agree():
    seeds = [derived_seed(seed, *names) for seed in (0, 1) for names in ((), ("a",), ("a", 1), ("a", "1"), ("b",))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    # sha256(b"(0, 'a')") begins with these eight bytes; one bit is dropped. Fixed, so that old runs can be repeated.
    assert derived_seed(0, "a") == int("1484dab3e7014106", 16) >> 1
