"""The stage `sift`: a planted row for every rule, rules switched off, redaction, counts of real rows."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from camelid.curate.sift import LIMA, SiftSettings, sift
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Message, Prompt, iterate_json_lines, read_records, write_records
from real_data import DATA, needs_data

GOOD = "The capital of France is Paris, and it lies on the river Seine."
LOOP = "I went to the shop and then " * 12 + "home."
PLANTED = {
    "answer too short": ("Where?", "Paris."),
    "instruction too long": ("where " * 60, GOOD),
    "empty": ("Draw it.", "N/A"),
    "unfinished": ("Tell me.", "The capital of France lies on the river and has a long history of the"),
    "phrase": ("Feel?", "As an AI language model, I do not have feelings, and so I cannot say."),
    "repetition": ("Where did you go?", LOOP),
    "private data": ("Whom do I ask?", "Please write to jane.carter@gmail.com, who knows about it."),
}


def conversation(question, answer, **more):
    return Conversation(
        messages=(Message(role="user", content=question), Message(role="assistant", content=answer)), **more
    )


def run(tmp_path, rows, settings=None, **inputs):
    write_records(tmp_path / "rows.jsonl", rows)
    stage = Stage("sift", sift, settings or SiftSettings(), {"rows": tmp_path / "rows.jsonl"} | inputs)
    path = execute([stage], tmp_path / "runs")["sift"]
    return path, read_manifest(path)["metrics"]


def test_a_planted_row_for_every_rule(tmp_path):
    rows = [conversation("Where is it?", GOOD, id="good", licence="MIT")]
    rows += [conversation(*texts, id=reason, licence="MIT") for reason, texts in PLANTED.items()]
    rows += [conversation("And this?", GOOD, id="licence", licence="CC-BY-NC-4.0"), conversation("This?", GOOD, id="?")]
    settings = SiftSettings(min_answer=2, max_instruction=50, licences=("MIT",))
    path, metrics = run(tmp_path, rows, settings)
    assert [row.id for row in read_records(path / "rows.jsonl", Conversation)] == ["good"]
    reasons = {row["id"]: row["reason"] for row in iterate_json_lines(path / "set_aside.jsonl")}
    # `N/A` is one word: the length speaks first, and the other rule is counted beside it.
    assert {name: reason.partition(":")[0] for name, reason in reasons.items()} == {
        **{name: name for name in PLANTED},
        "empty": "answer too short",
        "licence": "licence",
        "?": "licence",
    }
    assert reasons["licence"] == "licence: CC-BY-NC-4.0" and reasons["?"] == "licence: none stated"
    assert reasons["answer too short"] == "answer too short: 1 words"
    assert metrics["rows_by_rule"]["empty"] == 1 and "empty" not in metrics["set_aside_by_reason"]
    assert metrics["set_aside_by_reason"]["licence"] == 2 and metrics["read"] == 10
    assert metrics["rows_with_private_data"] == {"e-mail address": 1}
    shown = json.loads((path / "reasons.json").read_text())
    assert shown["licence"]["rows"] == 2 and "river Seine" in shown["licence"]["samples"][0]["text"]


def test_every_rule_can_be_switched_off(tmp_path):
    rows = [conversation(*texts) for texts in PLANTED.values()]
    off = SiftSettings(drop_empty=False, drop_unfinished=False, phrases=(), max_repetition=1, private_data="off")
    assert run(tmp_path, rows, off)[1]["kept"] == len(rows)


def test_private_data_is_replaced_under_the_same_id(tmp_path):
    row = conversation("I am jane.carter@gmail.com.", "Hello jane.carter@gmail.com, how can I help you?", id="x")
    path, metrics = run(tmp_path, [row], SiftSettings(private_data="redact"))
    (kept,) = read_records(path / "rows.jsonl", Conversation)
    texts = [message.content for message in kept.messages]
    assert texts == ["I am [e-mail address].", "Hello [e-mail address], how can I help you?"]
    assert (kept.id, kept.tags, metrics["redacted"]) == ("x", ("redacted",), 1)
    other = SiftSettings(private_data="redact", private_kinds=("API key",))
    assert run(tmp_path, [row], other)[1]["redacted"] == 0


def test_languages(tmp_path):
    pytest.importorskip("py3langid", reason="the extra curate is not installed")
    rows = [
        conversation("Where is it?", GOOD, id="en"),
        conversation("Wo liegt Paris?", "Paris ist die Hauptstadt Frankreichs und liegt an der Seine.", id="de"),
    ]
    path, metrics = run(tmp_path, rows, SiftSettings(keep_languages=("en",)))
    assert [row.id for row in read_records(path / "rows.jsonl", Conversation)] == ["en"]
    assert metrics["set_aside_by_reason"] == {"language": 1}


def test_tokens_of_a_model(tmp_path, tied_llama):
    rows = [conversation("Where is it?", GOOD, id="long"), conversation("And?", "Paris.", id="short")]
    path, _ = run(tmp_path, rows, SiftSettings(unit="tokens", max_answer=15), model=tied_llama)
    assert [row.id for row in read_records(path / "rows.jsonl", Conversation)] == ["short"]


def test_prompts_have_no_answers_to_look_at(tmp_path):
    rows = [Prompt(prompt=(Message(role="user", content="Where is it?"),))]
    assert run(tmp_path, rows, SiftSettings(kind="prompts", min_answer=5))[1]["kept"] == 1


def test_lima_s_answers_are_long_and_not_in_the_first_person(tmp_path):
    text = "The bridge stands, i.e. it holds. " * 40  # 34 characters, 40 times: 1,360; not by the repetition rule
    rows = [
        conversation("Why?", text, id="good"),
        conversation("Why?", text + "I like it.", id="I"),
        conversation("Why?", text + "See it as mentioned.", id="mentioned"),
        conversation("Why?", text[:1000], id="short"),
        conversation("Why?", text * 4, id="long"),
    ]
    path, metrics = run(tmp_path, rows, LIMA.model_copy(update={"max_repetition": 1.0}))
    assert [row.id for row in read_records(path / "rows.jsonl", Conversation)] == ["good"]
    assert metrics["set_aside_by_reason"] == {"phrase": 2, "answer too short": 1, "answer too long": 1}


def test_wrong_settings_and_an_empty_result_are_errors(tmp_path):
    with pytest.raises(ValidationError, match="min_answer=9 is above max_answer=3"):
        SiftSettings(min_answer=9, max_answer=3)
    with pytest.raises(ValidationError, match="no kind 'name'"):
        SiftSettings(private_kinds=("name",))
    with pytest.raises(ValueError, match="no row is left of 1"):
        run(tmp_path, [conversation("Why?", "N/A")])
    with pytest.raises(ValueError, match="empty phrase"):
        run(tmp_path, [conversation("Why?", GOOD)], SiftSettings(phrases=(" ",)))


@needs_data
def test_most_of_lima_passes_and_a_reason_is_given_for_the_rest(tmp_path):
    rows = json.loads((DATA / "conversations/lima.json").read_text())
    made = [conversation(row["instruction"], row["output"] or "-", id=str(i)) for i, row in enumerate(rows)]
    _, metrics = run(tmp_path, made)
    assert metrics["read"] == 1029 and metrics["kept"] > 950
    assert metrics["set_aside_by_reason"].keys() <= {"empty", "unfinished", "phrase", "repetition", "private data"}
    assert sum(metrics["set_aside_by_reason"].values()) == 1029 - metrics["kept"]
