"""Conditional training: which answer stands under which marker, where a marker is said, what of a row trains."""

from __future__ import annotations

import pytest

from camelid.collect.hindsight import PRESETS, HindsightSettings, hindsight
from camelid.collect.readers import read
from camelid.functional.chi_square import chi_square_fit
from camelid.models.chat import load_chat_format
from camelid.models.too_long import Lengths, row_limit
from camelid.runs import Stage, execute, read_manifest
from camelid.train.sft import SftSettings, demonstration_rows
from camelid.types import Conversation, Message, Preference, Prompt, read_records, write_records
from real_data import DATA, needs_data
from tiny import byte_level_tokenizer, user

TALK = (*user("Hello there!"), Message(role="assistant", content="Hi, how are you?"), *user("Name two colours."))
PAIR = Preference(prompt=TALK, chosen="Red and blue.", rejected="No.", licence="MIT", tags=("x",))


def pairs(number):
    return [Preference(prompt=user(f"{i}?"), chosen=f"good {i}", rejected=f"bad {i}") for i in range(number)]


def run(root, rows, settings=None, prompts=()):
    write_records(root / "pairs.jsonl", rows)
    inputs = {"preferences": root / "pairs.jsonl"}
    if prompts:
        inputs["prompts"] = root / "prompts.jsonl"
        write_records(inputs["prompts"], prompts)
    path = execute([Stage("hindsight", hindsight, settings or HindsightSettings(), inputs)], root / "runs")["hindsight"]
    return read_records(path / "demonstrations.jsonl", Conversation), read_manifest(path)["metrics"], path


def test_each_answer_stands_under_its_marker(tmp_path):
    rows, metrics, _ = run(tmp_path, [PAIR])
    s = HindsightSettings()
    assert [row.messages for row in rows] == [
        (Message(role="system", content=s.good), *TALK, Message(role="assistant", content="Red and blue.")),
        (Message(role="system", content=s.bad), *TALK, Message(role="assistant", content="No.")),
    ]
    assert [row.tags for row in rows] == [
        ("x", "train-last", "good-answer", "good-marker"),
        ("x", "train-last", "bad-answer", "bad-marker"),
    ]
    assert metrics == {
        "num_preferences": 1,
        "rows": 2,
        "repeats_dropped": 0,
        "good-answer": 1,
        "bad-answer": 1,
        "good_answers_under_the_good_marker": 1,
    }
    told = PAIR.model_copy(update={"prompt": (Message(role="system", content="Be."), *TALK)})
    rows, _, _ = run(tmp_path, [told], HindsightSettings(place="last_turn", bad=""))
    assert rows[0].messages[0].content == "Be."
    assert [row.messages[-2].content for row in rows] == [f"Name two colours.\n\n{s.good}", "Name two colours."]


def test_koalas_rows_read_as_koalas_and_only_the_judged_answer_trains(tmp_path):
    rows, _, _ = run(tmp_path, [PAIR], PRESETS["koala"])
    tokenizer = byte_level_tokenizer()
    chat = load_chat_format(tokenizer, "koala")
    lengths = Lengths("demonstrations", "stop", row_limit(1000, 1000))
    made = [row for _, row in demonstration_rows(chat, rows, SftSettings(), lengths)]
    start = "BEGINNING OF CONVERSATION: USER: Hello there! GPT:Hi, how are you?</s>USER: Name two colours."
    texts = [tokenizer.decode(row.ids).replace("<|im_end|>", "</s>") for row in made]
    assert texts == [f"{start} GPT:Red and blue.</s>", f"{start} An Unhelpful Answer: GPT:No.</s>"]
    trained = [tokenizer.decode([i for i, t in zip(row.ids, row.loss_mask, strict=True) if t]) for row in made]
    assert trained == ["Red and blue.<|im_end|>", "No.<|im_end|>"]


def test_shuffled_markers_say_nothing_of_the_answer(tmp_path):
    rows, metrics, _ = run(tmp_path, pairs(500), HindsightSettings(shuffle_markers=True))
    right = metrics["good_answers_under_the_good_marker"]
    assert chi_square_fit([right, 500 - right], [1, 1]).p > 0.01
    by_prompt = {}
    for row in rows:
        by_prompt.setdefault(row.messages[1].content, []).append(row.messages[0].content)
    assert len(by_prompt) == 500 and all(len(set(markers)) == 2 for markers in by_prompt.values())
    _, metrics, _ = run(tmp_path, pairs(500))
    assert metrics["good_answers_under_the_good_marker"] == 500


def test_only_the_good_answers(tmp_path):
    rows, metrics, _ = run(tmp_path, pairs(5), HindsightSettings(answers="good"))
    assert [row.messages[-1].content for row in rows] == [f"good {i}" for i in range(5)]
    assert metrics["bad-answer"] == 0


def test_prompts_are_asked_under_both_markers(tmp_path):
    prompts = [Prompt(prompt=user(f"{i}?")) for i in range(3)]
    _, _, path = run(tmp_path, [PAIR], HindsightSettings(place="last_turn", join=" "), prompts)
    good, bad = (read_records(path / f"{name}_prompts.jsonl", Prompt) for name in ("good", "bad"))
    assert [p.prompt[-1].content for p in good] == [f"{i}? Give a helpful answer." for i in range(3)]
    assert [p.prompt[-1].content for p in bad] == [f"{i}? Give an unhelpful answer." for i in range(3)]
    assert [p.id for p in good] == [p.id for p in bad] == [p.id for p in prompts]


def test_an_answer_that_was_judged_twice_alike_is_there_once(tmp_path):
    twice = [Preference(prompt=user("?"), chosen="a", rejected=r) for r in ("b", "c")]
    rows, metrics, _ = run(tmp_path, twice)
    assert [row.messages[-1].content for row in rows] == ["a", "b", "c"] and metrics["repeats_dropped"] == 1


def test_markers_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="good and bad are both 'x'"):
        HindsightSettings(good="x", bad="x ")
    with pytest.raises(ValueError, match="shuffle_markers is the control of answers=both"):
        HindsightSettings(answers="good", shuffle_markers=True)


@needs_data
def test_hhs_pairs_give_two_rows_each(tmp_path):
    found = read(DATA / "preferences/hh_harmless_1800.jsonl.gz", want=Preference).rows
    rows, metrics, _ = run(tmp_path, found, PRESETS["koala"])
    assert len(rows) + metrics["repeats_dropped"] == 2 * len(found) > 3500
    bad = [row for row in rows if "bad-marker" in row.tags]
    assert all(row.messages[-2].content.endswith(" An Unhelpful Answer:") for row in bad)
    assert len(bad) == metrics["bad-answer"]
