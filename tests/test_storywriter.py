"""The recipe storywriter on a tiny model: every stage runs, and its numbers are there with their intervals."""

from __future__ import annotations

import json

import pytest

from camelid import settings_text
from camelid.collect.split_documents import SplitDocumentsSettings, split_documents
from camelid.documents import read_documents
from camelid.plan import print_plan
from camelid.recipes.storywriter import Storywriter, stages
from camelid.recipes.storywriter_tiny import StorywriterTiny
from camelid.runs import Stage, execute
from tiny import SENTENCES, write_tiny_llama


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> StorywriterTiny:
    """A model with a context of 64 and documents; tiny, and smaller still."""
    folder = tmp_path_factory.mktemp("storywriter")
    model = write_tiny_llama(folder / "model", max_position_embeddings=64)
    (folder / "docs.jsonl").write_text(
        "".join(json.dumps({"text": f"{i} {s}"}) + "\n" for i in range(30) for s in SENTENCES)
    )
    changes = {
        "start_model": model,
        "files.folder": folder,
        "files.documents": "docs.jsonl",
        "beyond_tokens": 32,
        "measure.repeat_tokens": 8,
        "measure.model.precision": "float32",
        "train_window_tokens": 32,
        "train.learning_rate": 1e-2,
    }
    return settings_text.change(StorywriterTiny(), [f"{name}={value}" for name, value in changes.items()])


@pytest.fixture(scope="module")
def run(settings, tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    return root, stages(settings), execute(stages(settings), root)


def test_the_numbers_are_there_before_and_after_with_their_intervals(run):
    _, _, finished = run
    found = json.loads((finished["compare"] / "results.json").read_text())
    assert list(found) == ["start", "scaled", "trained"]
    for name in ("scaled", "trained"):
        assert list(found[name]["minus_start"]) == ["0-64", "64-88", "first_time", "repeated"]
        assert all(
            part["n"] == 3 and part["low"] <= part["value"] <= part["high"] for part in found[name]["nll"].values()
        )
    assert found["trained"]["minus_start"]["0-64"]["high"] < 0  # a model of random weights learns something
    assert "minus_start" in (finished["report"] / "report.csv").read_text()


def test_the_result_has_the_longer_context_and_running_again_does_nothing(run):
    root, plan, finished = run
    config = json.loads((finished["uptrain"] / "model" / "config.json").read_text())
    assert config["max_position_embeddings"] == 128 and config["rope_parameters"]["rope_type"] == "yarn"
    before = (finished["report"] / "manifest.json").stat().st_mtime_ns
    assert execute(plan, root) == finished
    assert (finished["report"] / "manifest.json").stat().st_mtime_ns == before


def test_full_size_trains_and_measures_in_windows_of_the_new_context(settings):
    plan = {stage.name: stage for stage in stages(Storywriter(start_model=settings.start_model, files=settings.files))}
    assert plan["uptrain"].settings.window_tokens == plan["measure-start"].settings.window_tokens == 8 * 64
    assert plan["measure-scaled"].settings.edges == (64,)


@pytest.mark.parametrize("done", [False, True])
def test_the_plan_knows_every_stage_before_and_after_the_run(settings, run, tmp_path, capsys, done):
    root, plan, _ = run
    print_plan(plan if done else stages(settings), root if done else tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert "unknown" not in json.dumps(told["stages"])
    print_plan([*plan[:-2]], tmp_path if not done else root, as_json=False)
    assert "Not counted" not in capsys.readouterr().out


def test_documents_are_split_once_and_repeats_are_dropped(tmp_path):
    texts = [f"text {i}" for i in range(8)] + ["text 3", "text 3"]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))

    def split(share: float):
        settings = SplitDocumentsSettings(held_out_share=share)
        stage = Stage("split", split_documents, settings, {"documents": tmp_path / "docs.jsonl"})
        path = execute([stage], tmp_path / "runs")["split"]
        return [read_documents([path / f"{name}.jsonl"]) for name in ("train", "held-out")]

    train, held_out = split(0.25)
    assert (len(train), len(held_out)) == (6, 2) and sorted(train + held_out) == sorted(set(texts))
    assert [len(part) for part in split(0.999)] == [1, 7]
    (tmp_path / "docs.jsonl").write_text('{"text": "alone"}\n')
    with pytest.raises(ValueError, match="at least two"):
        split(0.25)
