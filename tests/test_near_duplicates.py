"""The stage `deduplicate`: equal and near rows, what is kept, planted copies among real rows."""

from __future__ import annotations

import json
import random

import pytest

from camelid.curate.near_duplicates import DeduplicateSettings, NearSettings, deduplicate, find_repeats
from camelid.functional.minhash import jaccard, shingles
from camelid.functional.words import words_and_signs_of
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Message, Prompt, iterate_json_lines, read_records, write_records
from real_data import DATA, needs_data

LONG = "A farmer sells nine baskets of apples and four crates of pears on a rainy market day in June, and goes home"


def conversation(question, answer, **more):
    return Conversation(
        messages=(Message(role="user", content=question), Message(role="assistant", content=answer)), **more
    )


def run(tmp_path, rows, **settings):
    write_records(tmp_path / "rows.jsonl", rows)
    stage = Stage("dedup", deduplicate, DeduplicateSettings(**settings), {"rows": tmp_path / "rows.jsonl"})
    path = execute([stage], tmp_path / "runs")["dedup"]
    return path, read_manifest(path)["metrics"]


def test_the_first_of_each_is_kept_and_the_others_say_what_they_repeat(tmp_path):
    rows = [
        conversation("Hi.", LONG, id="a"),
        conversation("hi", LONG.upper() + "!", id="b"),  # the same words
        conversation("Hi.", LONG + " early", id="c"),  # 21 + 1 words: 18 runs of five, of which 18 in 19
        conversation("Hello there.", "Something else.", id="d"),
    ]
    path, metrics = run(tmp_path, rows)
    assert [row.id for row in read_records(path / "rows.jsonl", Conversation)] == ["a", "d"]
    dropped = list(iterate_json_lines(path / "dropped.jsonl"))
    runs_of_words = len(words_and_signs_of("Hi. " + LONG)) - 4
    assert [(row["id"], row["repeats"], row["exact"]) for row in dropped] == [("b", "a", True), ("c", "a", False)]
    assert dropped[1]["similarity"] == pytest.approx(runs_of_words / (runs_of_words + 1))
    expected = {"read": 4, "kept": 2, "exact": 1, "near": 1, "repeated_rows": 1, "most_repeats_of_a_row": 2}
    assert expected.items() <= metrics.items()


def test_rows_are_compared_whole_or_by_their_instruction(tmp_path):
    rows = [conversation(LONG, "Yes.", id="a"), conversation(LONG, "No, " + "not at all " * 30, id="b")]
    assert run(tmp_path, rows)[1]["kept"] == 2
    assert run(tmp_path, rows, compare="instruction")[1]["kept"] == 1
    prompts = [Prompt(id=name, prompt=(Message(role="user", content=LONG),)) for name in "xy"]
    assert run(tmp_path, prompts, kind="prompts")[1]["kept"] == 1


def test_signs_that_carry_meaning_part_rows_and_punctuation_does_not():
    assert find_repeats(["What is 3 + 2?", "What is 3 - 2?", "what is 3 + 2"]) == [(2, 0, 1.0, True)]
    assert find_repeats(["!!!", "???", "!!!", ""]) == [(2, 0, 1.0, True)]  # without words: only the same characters


def test_a_chain_of_small_changes_does_not_drop_what_differs_from_all_that_is_kept():
    words = [f"w{i}" for i in range(40)]
    steps = [" ".join(["x"] * k + words[k:]) for k in (0, 3, 6, 9, 12)]
    sets = [shingles(step.split()) for step in steps]
    assert jaccard(sets[0], sets[1]) >= 0.7 > jaccard(sets[0], sets[3])
    repeats = find_repeats(steps)
    assert {repeat.of for repeat in repeats} <= set(range(5)) - {repeat.place for repeat in repeats}
    assert all(jaccard(sets[r.place], sets[r.of]) == r.similarity >= 0.7 for r in repeats)
    assert len(repeats) < 4


def test_what_repeats_a_dropped_row_repeats_the_one_that_was_kept():
    near = LONG + " early"
    repeats = find_repeats([LONG, near, near])
    assert [(r.place, r.of, r.exact) for r in repeats] == [(1, 0, False), (2, 0, False)]


def test_a_threshold_of_one_finds_equal_rows_only():
    assert find_repeats([LONG, LONG + " early", LONG + "."], NearSettings(threshold=1)) == [(2, 0, 1.0, True)]


def test_an_empty_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nothing to choose from"):
        run(tmp_path, [])


@needs_data
def test_planted_copies_among_real_rows_are_all_found_and_nothing_else_is():
    """Copies of 400 Alpaca rows with one word changed, put in at random places; checked against all pairs' truth."""
    rows = json.loads((DATA / "conversations/alpaca_random_9k.json").read_text())[:3000]
    originals = [f"{row['instruction']} {row['input']} {row['output']}" for row in rows]
    chosen = random.Random(0)
    planted = []
    for text in chosen.sample([t for t in originals if len(t.split()) >= 45], 400):
        words = text.split()
        words[chosen.randrange(len(words))] = "changed"
        planted.append(" ".join(words))
    repeats = find_repeats([*originals, *planted])
    near = {r.place: r for r in repeats}
    # One word of 45 is in 5 runs of 41: 36 in common of 46 in all, J = .78, and 1 in 500 such pairs is missed.
    assert sum(len(originals) + i in near for i in range(len(planted))) >= 398
    sets = [shingles(words_and_signs_of(text)) for text in [*originals, *planted]]
    assert all(r.exact or r.similarity == jaccard(sets[r.place], sets[r.of]) >= 0.7 for r in repeats)
    # Every pair of original rows, without bands: a shingle's rows share it, so no near pair is left out.
    holders: dict[int, list[int]] = {}
    for i, members in enumerate(sets[: len(originals)]):
        for member in members.tolist():
            holders.setdefault(member, []).append(i)
    pairs = {(i, j) for rows_with in holders.values() for j in rows_with for i in rows_with if i < j}
    true = {j for i, j in pairs if jaccard(sets[i], sets[j]) >= 0.7}
    found = {r.place for r in repeats if r.place < len(originals)}
    assert found <= true and len(true - found) <= 1 + len(true) // 50
