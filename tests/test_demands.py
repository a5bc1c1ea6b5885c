"""Demonstrations of keeping to a demand: told in every turn, kept in every answer, and some without one."""

from __future__ import annotations

import pytest

from camelid.collect.demands import DemandSettings, demand_rows, kept
from camelid.models.constraints import TRAINING_WORDS, Constraint, keeps
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Message, read_records, write_records
from tiny import user

ANSWERS = {f"Question {n}?": f"Answer {n}, in short." for n in range(12)}


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    write_records(
        file,
        [
            Conversation(messages=(*user(asked), Message(role="assistant", content=answered)), licence="MIT")
            for asked, answered in ANSWERS.items()
        ],
    )
    return file


def made(rows, root, **settings):
    stage = Stage("demands", demand_rows, DemandSettings(**settings), {"conversations": rows})
    path = execute([stage], root)["demands"]
    return read_records(path / "rows.jsonl", Conversation), read_manifest(path)["metrics"]


def test_an_answer_is_made_to_keep_its_demand():
    assert kept("It is so. ", Constraint("ending", "amber")) == "It is so. Amber."
    assert kept("It is so.", Constraint("mention", "amber")) == "Amber: It is so."
    assert kept("It is amber.", Constraint("ending", "amber")) == "It is amber."
    assert kept("An amber one.", Constraint("mention", "amber")) == "An amber one."


def test_told_rows_keep_their_demand_in_every_turn_and_plain_ones_are_as_they_were(rows, tmp_path):
    found, metrics = made(rows, tmp_path, num_dialogues=80, max_turns=3)
    seen = {"plain": 0, "ending": 0, "mention": 0}
    for row in found:
        kind = row.tags[1]
        seen[kind] += 1
        asked, answers = ([m.content for m in row.messages][part::2] for part in (0, 1))
        if kind == "plain":
            assert [ANSWERS[text] for text in asked] == answers
            continue
        demands = {text.partition("\n\n")[0] for text in asked}
        assert len(demands) == 1
        words = [word for word in TRAINING_WORDS if Constraint(kind, word).text in demands]
        assert len(words) == 1
        assert all(keeps(answer, Constraint(kind, words[0])) for answer in answers)
        assert all(ANSWERS[text.partition("\n\n")[2]] in answer for text, answer in zip(asked, answers, strict=True))
        assert row.licence == "MIT"
    assert {len(row.messages) // 2 for row in found} == {1, 2, 3}
    assert 8 <= seen["plain"] <= 32 and min(seen["ending"], seen["mention"]) > 15
    assert metrics == {"num_dialogues": 80, "num_told": 80 - seen["plain"], "num_plain": seen["plain"]}
    assert made(rows, tmp_path / "fewer", num_dialogues=7)[0] == found[:7]


def test_too_few_rows_for_a_dialogue(rows, tmp_path):
    with pytest.raises(ValueError, match="dialogues of 13 turns cannot be made of 12 conversations"):
        made(rows, tmp_path, max_turns=13)
