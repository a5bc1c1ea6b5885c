"""The recipes of imitation: each plan fits together, keeps what it measures on from training, and the tiny ones run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from camelid import settings_text
from camelid.commands.recipes import load_recipe, recipe_settings
from camelid.estimates import TABLE
from camelid.runs import Output, execute, function_name, read_manifest
from camelid.types import Conversation, read_records
from tiny import write_tiny_llama

NAMES = ("alpaca", "gpt4all", "vicuna", "koala", "baize", "falcon-instruct", "mpt-instruct", "mpt-chat", "orca", "lima")
TOPICS = ("colours", "animals", "rivers")
TINY = {
    "sft.model.precision": "float32",
    "sft.model.lora_rank": 2,
    "sft.model.lora_first_layer": 0,
    "sft.batch_size": 8,
    "sft.max_tokens": 400,
    "sft.epochs": 0.5,
    "turns.model.precision": "float32",
    "facts.model.precision": "float32",
    "facts.limit": 4,
    "facts.shots": 0,
    "held_out.held_out": 5,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("tiny"), max_position_embeddings=1024)


def write(path: Path, rows: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files of the shapes and names that the recipes read, with rows of the test's."""
    folder = tmp_path_factory.mktemp("data")
    for place, name in enumerate(("alpaca_random_9k", "alpaca_claude_t45", "dolly_3k", "lima")):
        rows = [
            {"instruction": f"Name {n} {TOPICS[n % 3]} of set {place}.", "input": "", "output": f"Red {n}."}
            for n in range(30)
        ]
        write(folder / f"conversations/{name}.json", rows)
    asked = [f"Tell me about thing number {n}, please." for n in range(24)]
    for name in ("baize-v2-7b", "text_davinci_003", "gpt4"):
        write(folder / f"teachers/{name}.json", [{"instruction": a, "output": f"{name}: {a}"} for a in asked])
    talk = "\n\nHuman: May I take number {}?\n\nAssistant: {}"
    pairs = [{"chosen": talk.format(n, "No."), "rejected": talk.format(n, "Yes.")} for n in range(20)]
    write(folder / "preferences/hh_harmless_1800.jsonl", pairs)
    write(folder / "prompts/lima_test_300.jsonl", [{"prompt": f"Name {n} {TOPICS[n % 3]} of set 3."} for n in range(3)])
    write(folder / "pretraining/c4_demo.jsonl", [{"text": f"A page about number {n}. " * 8} for n in range(20)])
    items = [{"query": f"Question: is {n} even?", "choices": ["yes", "no"], "gold": n % 2} for n in range(6)]
    write(folder / "benchmarks/arc_easy.jsonl", items)
    shared = [
        {
            "id": f"s{n}",
            "conversations": [
                {"from": ("human", "gpt")[i % 2], "value": f"Turn {i} of conversation {n}, in plain English words."}
                for i in range(4)
            ],
        }
        for n in range(30)
    ]
    write(folder / "sharegpt.json", shared)
    return folder


def planned(name: str, model: Path, data: Path, tiny: bool):
    recipe = load_recipe(f"{name}-tiny" if tiny else name)
    changes = {"start_model": model, "folder": data} | (TINY if tiny else {})
    if name in ("koala", "mpt-chat", "mpt-instruct"):
        changes["preferences"] = '["preferences/hh_harmless_1800.jsonl"]'
    if tiny and name == "alpaca":
        replayed = data / "conversations/alpaca_random_9k.json"
        changes |= {"collect.teacher.replay": replayed, "collect.num_instructions": 12, "collect.threshold": 0.95}
    if tiny and name == "gpt4all":
        changes |= {"clusters.clusters": 3, "clusters.exclude": "[2]", "repeats.near.threshold": 1}
    if tiny and name in ("baize", "falcon-instruct"):
        changes["self_chat.teacher.replay"] = data / "teachers/baize-v2-7b.json"
    if tiny and name == "falcon-instruct":
        changes |= {"sft.ptx.max_tokens": 32}
    if tiny and name == "orca":
        changes |= {
            f"{stage}.teacher.replay": data / f"teachers/{t}.json"
            for stage, t in (("explain", "text_davinci_003"), ("again", "gpt4"))
        }
    return recipe.stages(settings_text.change(recipe_settings(recipe)(), [f"{k}={v}" for k, v in changes.items()]))


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_plan_fits_together(name, tiny, model, data):
    stages = planned(name, model, data, tiny)
    before = set()
    for stage in stages:
        assert function_name(stage) in TABLE  # it has an estimate
        given = [i for value in stage.inputs.values() for i in (value if isinstance(value, list | tuple) else [value])]
        assert {i.stage for i in given if isinstance(i, Output)} <= before, stage.name
        before.add(stage.name)
    assert stages[-1].name == "report"
    assert {"measure-start/answers", "measure-start/facts", "measure-sft/answers", "measure-sft/facts"} <= before


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_recipe_runs_to_its_report(name, model, data, tmp_path):
    finished = execute(planned(name, model, data, tiny=True), tmp_path / "run")
    assert (finished["report"] / "report.html").exists()
    results = json.loads((finished["measure-sft/answers"] / "results.json").read_text())
    assert results["n"] == 5 and "change" in results
    unseen = {row.messages for row in read_records(finished["data/held-out"] / "reference.jsonl", Conversation)}
    train = {row.messages for row in read_records(finished["data/held-out"] / "train.jsonl", Conversation)}
    assert len(unseen) == 5 and train and not unseen & train
    assert read_manifest(finished["sft"])["metrics"]["num_demonstrations"] >= len(train)


def test_orcas_second_stage_learns_from_the_second_teacher_on_top_of_the_first(model, data, tmp_path):
    plan = {stage.name: stage for stage in planned("orca", model, data, tiny=True)}
    assert plan["sft-again"].inputs["model"] == Output("sft", "model")
    finished = execute(list(plan.values()), tmp_path / "run")
    again = read_records(finished["data/explained-again"] / "demonstrations.jsonl", Conversation)
    first = {
        row.messages[-2].content: row
        for row in read_records(finished["data/explained"] / "demonstrations.jsonl", Conversation)
    }
    assert len(again) == round(0.2 * len(first))
    for row in again:
        assert row.messages[-1].content.startswith("gpt4: ")
        assert row.messages[:-1] == first[row.messages[-2].content].messages[:-1]  # the same system message


def test_falcons_text_is_in_every_step(model, data, tmp_path):
    finished = execute(planned("falcon-instruct", model, data, tiny=True), tmp_path / "run")
    rows = [json.loads(line) for line in (finished["sft"] / "metrics.jsonl").read_text().splitlines()]
    assert rows and all(row["pretraining_loss"] > 0 for row in rows)
