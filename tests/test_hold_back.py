"""Preferences are held back by prompt: what the judge and the annotator have learnt from, training never sees."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from camelid.annotate.hold_back import HoldBackSettings, hold_back
from camelid.runs import Stage, execute
from camelid.types import RATINGS, Conversation, Message, Preference, read_records, write_records


def preference(prompt: int, number: int, kind: str) -> Preference:
    messages = (Message(role="user", content=f"question {prompt}"),)
    return Preference(prompt=messages, chosen=f"yes {number}", rejected=f"{'no ' * 9}{number}", kind=kind)


@pytest.fixture
def rows() -> list[Preference]:
    """40 prompts with 1 to 3 pairs each; every fourth is about safety, and every second has pairs of both kinds."""
    rows = []
    for prompt in range(40):
        kind = "safety" if prompt % 4 == 0 else "helpfulness"
        rows += [preference(prompt, number, kind) for number in range(1 + prompt % 3)]
        if prompt % 2 == 0:
            rows.append(preference(prompt, 9, "helpfulness" if kind == "safety" else "safety"))
    return rows


def parts(tmp_path: Path, rows: list[Preference], **settings) -> dict[str, list[Preference]]:
    write_records(tmp_path / "rows.jsonl", rows)
    stage = Stage("split", hold_back, HoldBackSettings(**settings), {"preferences": tmp_path / "rows.jsonl"})
    path = execute([stage], tmp_path / "runs")["split"]
    return {name: read_records(path / f"{name}.jsonl", Preference) for name in ("train", "annotator", "judge")}


def test_every_pair_stands_in_one_part_with_all_others_of_its_prompt(tmp_path, rows):
    split = parts(tmp_path, rows)
    assert Counter(row.id for part in split.values() for row in part) == Counter(row.id for row in rows)
    prompts = [{row.prompt for row in part} for part in split.values()]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == 40


def test_shares_are_of_prompts_in_each_kind(tmp_path, rows):
    """10 prompts are about safety and 30 are not: 20% of each to the judge, 30% to the annotator."""
    split = parts(tmp_path, rows, judge_share=0.2, annotator_share=0.3)
    for name, safety, helpfulness in (("judge", 2, 6), ("annotator", 3, 9), ("train", 5, 15)):
        numbers = {int(row.prompt[0].content.split()[1]) for row in split[name]}
        assert sum(number % 4 == 0 for number in numbers) == safety
        assert sum(number % 4 != 0 for number in numbers) == helpfulness


def test_a_seed_gives_its_split_and_fewer_rows_can_be_asked_for(tmp_path, rows):
    assert parts(tmp_path, rows) == parts(tmp_path, rows)
    assert parts(tmp_path, rows, seed=1)["judge"] != parts(tmp_path, rows)["judge"]
    few = parts(tmp_path, rows, max_rows=20)
    assert len({row.prompt for part in few.values() for row in part}) == 20


def test_the_chosen_answers_of_the_training_part_are_left_as_demonstrations(tmp_path, rows):
    train = parts(tmp_path, rows, demonstrate=["safety"])["train"]
    file = next((tmp_path / "runs").glob("split-*")) / "chosen.jsonl"
    demonstrations = read_records(file, Conversation)
    expected = {(p.prompt, p.chosen) for p in train if p.kind == "safety"}
    assert {(c.messages[:-1], c.messages[-1].content) for c in demonstrations} == expected
    assert 0 < len(demonstrations) == len(expected) < len(train)


@pytest.mark.parametrize("rating", RATINGS)
def test_only_clearly_better_answers_are_left_as_demonstrations(tmp_path, rows, rating):
    parts(tmp_path, [row.model_copy(update={"rating": rating}) for row in rows], demonstrate=["safety", "helpfulness"])
    file = next((tmp_path / "runs").glob("split-*")) / "chosen.jsonl"
    assert bool(read_records(file, Conversation)) == (rating in ("better", "significantly better"))
