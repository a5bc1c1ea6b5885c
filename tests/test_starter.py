"""The starter set keeps what its data card promises."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from camelid.collect.overlap import Overlap
from camelid.evaluate.safety.refusals import is_refusal
from camelid.types import Conversation, Preference, Prompt, iterate_json_lines, read_records
from real_data import DATA

STARTER = Path(__file__).parent.parent / "src/camelid/starter"
NEVER = ("certainly!", "great question", "as an ai", "i hope this helps", "it's important to note")


@pytest.fixture(scope="module")
def demonstrations():
    return read_records(STARTER / "demonstrations.jsonl", Conversation)


@pytest.fixture(scope="module")
def preferences():
    return read_records(STARTER / "preferences.jsonl", Preference)


@pytest.fixture(scope="module")
def evaluation_prompts():
    return read_records(STARTER / "evaluation_prompts.jsonl", Prompt)


@pytest.fixture(scope="module")
def rollout_prompts():
    return read_records(STARTER / "rollout_prompts.jsonl", Prompt)


def test_sizes(demonstrations, preferences, evaluation_prompts):
    assert len(demonstrations) >= 300
    assert sum(len(c.messages) > 3 for c in demonstrations) >= 40  # multi-turn
    assert sum("safety" in c.tags for c in demonstrations) >= 80
    assert Counter(p.kind for p in preferences) == {"helpfulness": 427, "safety": 430}
    tags = Counter(tag for p in evaluation_prompts for tag in p.tags if tag in ("helpful", "unsafe", "borderline"))
    assert tags == {"helpful": 120, "unsafe": 70, "borderline": 50}
    seeds = list(iterate_json_lines(STARTER / "seed_tasks.jsonl"))
    assert len(seeds) == 175
    assert sum(seed["is_classification"] for seed in seeds) == 26


def test_every_row_names_source_and_licence(demonstrations, preferences, evaluation_prompts, rollout_prompts):
    rows = [*demonstrations, *preferences, *evaluation_prompts, *rollout_prompts]
    assert {(row.source, row.licence) for row in rows} == {("camelid starter set", "Apache-2.0")}
    assert len({row.id for row in rows}) == len(rows)


@pytest.mark.parametrize("kind", ["helpfulness", "safety"])
def test_the_better_answer_is_not_systematically_the_longer(preferences, kind):
    pairs = [p for p in preferences if p.kind == kind]
    longer = sum(len(p.chosen) > len(p.rejected) for p in pairs) / len(pairs)
    assert 0.45 <= longer <= 0.55


def test_ratings_and_safety_labels(preferences):
    assert all(p.rating and p.chosen_safe is not None and p.rejected_safe is not None for p in preferences)
    # LLaMA-2 excludes pairs in which the unsafe answer was chosen over a safe one.
    assert not [p.id for p in preferences if p.rejected_safe and not p.chosen_safe]


def test_no_training_row_repeats_an_evaluation_prompt(demonstrations, preferences, evaluation_prompts, rollout_prompts):
    overlap = Overlap([p.prompt[-1].content for p in evaluation_prompts])
    turns = [(c.id, m.content) for c in demonstrations for m in c.messages if m.role == "user"]
    turns += [(p.id, m.content) for p in [*preferences, *rollout_prompts] for m in p.prompt if m.role == "user"]
    assert not [(name, text) for name, text in turns if overlap.match(text)]


def test_no_training_row_repeats_xstest(demonstrations, preferences, rollout_prompts):
    path = DATA / "safety/xstest_prompts.csv"
    if not path.exists():
        pytest.skip(f"no real data at {DATA}: set CAMELID_DATA")
    with path.open() as file:
        overlap = Overlap([row["prompt"] for row in csv.DictReader(file)])
    turns = [(c.id, m.content) for c in demonstrations for m in c.messages if m.role == "user"]
    turns += [(p.id, m.content) for p in [*preferences, *rollout_prompts] for m in p.prompt if m.role == "user"]
    assert not [(name, text) for name, text in turns if overlap.match(text)]


def test_refusals_stand_where_they_belong(demonstrations):
    wrong = [
        c.id
        for c in demonstrations
        if "multi-turn" not in c.tags and is_refusal(c.messages[-1].content) != ("refusal" in c.tags)
    ]
    assert not wrong


def test_one_voice(demonstrations, preferences):
    answers = [(c.id, m.content) for c in demonstrations for m in c.messages if m.role == "assistant"]
    answers += [(p.id, p.chosen) for p in preferences]
    assert not [(name, phrase) for name, text in answers for phrase in NEVER if phrase in text.lower()]
    assert max(len(text.split()) for _, text in answers) <= 150
