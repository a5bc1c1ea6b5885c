"""Likelihood by position: which token counts where, what is repeated, resumed and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from camelid.cli import main
from camelid.documents import read_documents
from camelid.evaluate.long_context import PositionSettings, measure_positions
from camelid.evaluate.long_context_compare import CompareSettings, compare_positions
from camelid.models.batch import Row
from camelid.models.document_rows import document_rows
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rope import RopeScaling
from camelid.runs import Stage, execute, read_manifest
from tiny import SENTENCES, write_tiny_llama

EXACT = ModelSettings(precision="float32", micro_batch_tokens=256)


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("text") / "documents.jsonl"
    file.write_text("".join(json.dumps({"text": f"{i} {s}"}) + "\n" for i in range(8) for s in SENTENCES))
    return file


def measure(out: Path, model: Path, documents: Path, **changes) -> Path:
    settings = PositionSettings(model=EXACT, **{"window_tokens": 40, "edges": (10, 20), "repeat_tokens": 6} | changes)
    stage = Stage("positions", measure_positions, settings, {"model": model, "documents": documents})
    return execute([stage], out)["positions"]


def results(path: Path) -> dict:
    return json.loads((path / "results.json").read_text())


def test_every_token_is_counted_once_in_its_part_and_the_repeated_apart(tied_llama, documents, tmp_path):
    """40 tokens, the last 6 the first again: positions 1..9, 10..19, 20..33; 1..5 at first and 35..39 again.

    Position 34 repeats the window's first token, which nothing predicted at its first place.
    """
    path = measure(tmp_path, tied_llama, documents)
    policy = Policy.load(tied_llama, EXACT)
    rows = document_rows(policy.tokenizer, read_documents([documents]), 34, "joined")
    ids = [*rows[1].ids, *rows[1].ids[:6]]
    nats = -policy.logprobs([Row(ids, [False] + [True] * 39)])[0]
    expected = {"0-10": (1, 10), "10-20": (10, 20), "20-34": (20, 34), "first_time": (1, 6), "repeated": (35, 40)}
    windows = [json.loads(line) for line in (path / "windows.jsonl").read_text().splitlines()]
    assert len(windows) == len(rows)
    for name, (start, end) in expected.items():
        part = windows[1]["parts"][name]
        assert part["tokens"] == end - start
        assert part["nats"] == pytest.approx(nats[start:end].sum().item(), rel=1e-5)
    nll = results(path)["nll"]["10-20"]
    mean = sum(w["parts"]["10-20"]["nats"] for w in windows) / (10 * len(windows))
    assert nll["value"] == pytest.approx(mean) and nll["n"] == len(windows) and nll["low"] < mean < nll["high"]


def test_a_measure_goes_on_after_the_windows_that_it_has(tied_llama, documents, tmp_path, monkeypatch):
    whole = (measure(tmp_path / "whole", tied_llama, documents) / "windows.jsonl").read_text()
    asked, plain = [], Policy.logprobs

    def two_then_stop(self, rows, **more):
        asked.append(len(rows))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return plain(self, rows, **more)

    monkeypatch.setattr(Policy, "logprobs", two_then_stop)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "cut", tied_llama, documents)
    path = measure(tmp_path / "cut", tied_llama, documents)
    assert (path / "windows.jsonl").read_text() == whole
    assert len(asked) == 3 + len(whole.splitlines()) - 2


def test_a_single_window_has_no_interval_and_its_file_is_json(tied_llama, documents, tmp_path):
    path = measure(tmp_path, tied_llama, documents, max_windows=1)
    part = json.loads((path / "results.json").read_text(), parse_constant=pytest.fail)["nll"]["0-10"]
    assert (part["n"], part["low"], part["high"]) == (1, None, None) and part["value"] > 0


def compare(out: Path, files: list[Path], *names: str) -> dict:
    stage = Stage("compare", compare_positions, CompareSettings(names=names), {"windows": files})
    return results(execute([stage], out)["compare"])


def test_models_are_compared_window_by_window(tied_llama, untied_llama, documents, tmp_path):
    files = [measure(tmp_path, model, documents) / "windows.jsonl" for model in (tied_llama, untied_llama)]
    found = compare(tmp_path, files, "one", "other")
    for part, difference in found["other"]["minus_one"].items():
        apart = found["other"]["nll"][part]["value"] - found["one"]["nll"][part]["value"]
        assert difference["value"] == pytest.approx(apart) and difference["low"] <= apart <= difference["high"]
    same = compare(tmp_path / "same", [files[0], files[0]], "one", "other")["other"]["minus_one"]["0-10"]
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)


def test_other_windows_and_other_numbers_of_names_are_errors(tied_llama, documents, tmp_path):
    one = measure(tmp_path, tied_llama, documents) / "windows.jsonl"
    other = measure(tmp_path, tied_llama, documents, edges=(10, 21)) / "windows.jsonl"
    fewer = measure(tmp_path, tied_llama, documents, max_windows=2) / "windows.jsonl"
    for file in (other, fewer):
        with pytest.raises(ValueError, match="not of the same windows"):
            compare(tmp_path, [one, file], "a", "b")
    with pytest.raises(ValueError, match=r"3 names \(a, b, c\) for 2 files"):
        compare(tmp_path, [one, one], "a", "b", "c")


@pytest.mark.parametrize(
    "words",
    [["edges=[50]"], ["edges=[20,10]"], ["edges=[4]", "repeat_tokens=6"], ["window_tokens=4000", "layout=apart"]],
)
def test_windows_that_cannot_be_are_errors(tied_llama, documents, tmp_path, capsys, words):
    inputs = ["--model", str(tied_llama), "--documents", str(documents), "--out", str(tmp_path)]
    assert main(["positions", *inputs, "--set", "window_tokens=40", *(w for x in words for w in ("--set", x))]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("camelid: ") and ("edges=" in error or "no document fills" in error)


def test_scaled_positions_change_what_is_measured_and_the_context_that_is_told(tmp_path, documents):
    model = write_tiny_llama(tmp_path / "model", max_position_embeddings=32)
    plain = results(measure(tmp_path, model, documents))
    scaled = results(measure(tmp_path, model, documents, rope_scaling=RopeScaling(type="linear", factor=2)))
    assert (plain["context"], scaled["context"]) == (32, 64)
    assert plain["nll"]["20-34"]["value"] != scaled["nll"]["20-34"]["value"]
    assert torch.isfinite(torch.tensor(scaled["nll"]["20-34"]["value"]))


def test_the_manifest_tells_the_likelihoods(tied_llama, documents, tmp_path):
    path = measure(tmp_path, tied_llama, documents)
    assert read_manifest(path)["metrics"] == {k: v["value"] for k, v in results(path)["nll"].items()}
