"""The studies themselves: each one's plan fits together, and one runs from its data to its page with a tiny model."""

from __future__ import annotations

import json

import pytest

from camelid import settings_text
from camelid.commands.recipes import ROOMS, load_recipe, recipe_settings
from camelid.estimates import TABLE
from camelid.evaluate.studies.conclude import conclude
from camelid.runs import Output, execute, function_name, read_manifest
from tiny import write_tiny_llama

NAMES = sorted(file.stem for file in ROOMS["study"].glob("[!_]*.py"))
TINY = ("model.precision=float32", "model.lora_rank=2", "model.lora_first_layer=0")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("tiny"), max_position_embeddings=1024)


def planned(name, *changes):
    study = load_recipe(name, "study")
    return study.stages(settings_text.change(recipe_settings(study)(), changes))


@pytest.mark.parametrize("name", NAMES)
def test_a_studys_stages_connect_and_its_claims_are_of_what_it_measures(name, model):
    stages = planned(name, f"start_model={model}")
    before = set()
    for stage in stages:
        assert function_name(stage) in TABLE  # it has an estimate
        given = [i for value in stage.inputs.values() for i in (value if isinstance(value, list | tuple) else [value])]
        assert {i.stage for i in given if isinstance(i, Output)} <= before, stage.name
        before.add(stage.name)
    last = stages[-1]
    assert last.function is conclude
    s, arms = last.settings, {cell.name for cell in last.settings.cells}
    having = {m.name: set(m.arms) or arms for m in (*s.measures, *s.curves)}
    assert all(of <= arms for of in having.values())
    assert len(last.inputs["results"]) == sum(max(len(cell.parts), 1) for cell in s.cells)
    assert s.claims
    for claim in s.claims:
        assert claim.cell in having[claim.measure], claim.text
        if isinstance(claim.against, str):
            assert claim.against in having[claim.against_measure or claim.measure], claim.text
    for figure in s.figures:
        assert all(measure in having for measure in figure.measures)


def test_rejection_sampling_from_its_data_to_its_page(model, tmp_path):
    """With rows in the place of Alpaca's."""
    folder = tmp_path / "data"
    (folder / "conversations").mkdir(parents=True)
    rows = [{"instruction": f"Name {n} colours.", "input": "", "output": "Red, blue."} for n in range(30)]
    (folder / "conversations/alpaca_random_9k.json").write_text(json.dumps(rows))
    tiny = [f"{stage}.{change}" for stage in ("starter.sft", "starter.reward", "sft") for change in TINY]
    stages = planned(
        "rejection_sampling",
        f"start_model={model}",
        f"folder={folder}",
        "seeds=2",
        "num_samples=2",
        *tiny,
        *(
            "starter.demonstrations.max_rows=20",
            "starter.sft.epochs=0.2",
            "starter.reward.epochs=0.02",
            "starter.reward.num_layers=1",
        ),
        *("starter.pairs.max_prompts=3", "starter.pairs.sampling.max_new_tokens=4"),
        *("start.max_prompts=5", "start.num_samples=4", "start.sampling.max_new_tokens=5", "best.max_prompts=6"),
        *("best.num_samples=4", "best.sampling.max_new_tokens=12", 'best.sampling.stop=["e","a"]'),
    )
    folder = execute(stages, tmp_path / "run")["study"]
    study = json.loads((folder / "study.json").read_text())
    assert sum(read_manifest(folder)["metrics"].values()) == len(study["claims"]) == 8
    start, tuned = study["arms"].values()
    assert (start["runs"], tuned["runs"]) == (1, 2)
    assert start["measures"]["best of all less one, first model"]["value"] > 0
    by_run = tuned["measures"]["sampled, first model"]["by_run"]
    gain = tuned["measures"]["gain, sampled, first model"]["by_run"]
    assert gain == pytest.approx([v - start["measures"]["sampled, first model"]["value"] for v in by_run])
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "Rejection sampling" in page
