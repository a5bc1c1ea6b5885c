"""Self-chat: how scripts are read, what is asked, what becomes of scripts that are none."""

from __future__ import annotations

import json

import pytest

from camelid.collect.self_chat import GREETING, TEMPLATE, SelfChatSettings, parse_script, self_chat
from camelid.models.teacher import Decoding
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Prompt, read_records, write_records
from chat_server import ChatServer, says
from tiny import user

SCRIPT = "[Human] Why is the sky blue?\n[AI] Air scatters light.\n\nBlue most.\n[Human] Why?\n[AI]: Short waves."
TALK = [("user", "Why is the sky blue?"), ("assistant", "Air scatters light.\n\nBlue most.")]
WHOLE = [*TALK, ("user", "Why?"), ("assistant", "Short waves.")]


def turns(script):
    return [(message.role, message.content) for message in script.messages]


@pytest.mark.parametrize(
    ("text", "expected", "dropped"),
    [
        (SCRIPT, WHOLE, ()),
        (SCRIPT.replace("[AI]", "[ai]").replace("[Human]", "  [HUMAN]:"), WHOLE, ()),
        (f"{SCRIPT}\n[Human] Thanks!", WHOLE, ("question without an answer",)),
        (f"[AI] Hi!\n{SCRIPT}", WHOLE, ("answer without a question",)),
        (f"[Human] {GREETING[0]}\n[AI] {GREETING[1]}\n{SCRIPT}", WHOLE, ("greeting",)),
        (f"Here it is:\n{SCRIPT}", WHOLE, ("text before the first turn",)),
    ],
)
def test_a_script_is_read_and_odd_ends_are_dropped(text, expected, dropped):
    script = parse_script(text)
    assert (turns(script), script.dropped, script.problem) == (expected, dropped, "")


def test_a_script_that_was_cut_off_loses_its_last_turn_and_the_question_to_it():
    script = parse_script(SCRIPT, cut=True)
    assert turns(script) == TALK
    assert script.dropped == ("last turn, cut off", "question without an answer")
    assert turns(parse_script(f"{SCRIPT}\n[Human] And", cut=True)) == WHOLE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A conversation about the sky.", "no turns"),
        ("[Human] a\n[Human] b\n[AI] c", "two turns in a row by one speaker"),
        ("[Human] a\n[AI] b\n[AI] c", "two turns in a row by one speaker"),
        ("[Human] a\n[AI]\n[Human] b\n[AI] c", "empty turn"),
        ("[Human] a [AI] b", "a mark inside a line"),
        ("[Human] a\n[AI] b [Human] c", "a mark inside a line"),
    ],
)
def test_what_is_no_conversation_is_not_mended(text, problem):
    script = parse_script(text)
    assert (turns(script), script.problem) == ([], problem)


def test_half_a_pair_leaves_nothing():
    script = parse_script("[Human] Why?")
    assert (turns(script), script.dropped, script.problem) == ([], ("question without an answer",), "")


def chat(root, url, texts, **settings):
    write_records(root / "seeds.jsonl", [Prompt(prompt=user(text), licence="MIT", tags=("sky",)) for text in texts])
    teacher = {"server": {"base_url": url, "model": "m-1", "backoff_seconds": 0}}
    stage = Stage(
        "chat",
        self_chat,
        SelfChatSettings.model_validate({"teacher": teacher, **settings}),
        {"seeds": root / "seeds.jsonl"} | ({"template": root / "t.txt"} if (root / "t.txt").exists() else {}),
    )
    path = execute([stage], root / "runs")["chat"]
    return read_records(path / "demonstrations.jsonl", Conversation), read_manifest(path)["metrics"], path


def test_seeds_become_conversations_and_what_is_none_is_asked_again_and_set_aside(tmp_path):
    def answer(request):
        if "never" in request.text or ("second" in request.text and "seed" not in request.body):
            return says("No script.")
        if "short" in request.text:
            return says("[Human] a\n[AI] b")
        return says(f"{SCRIPT} [{len(request.text)}]\n[Human] Bye.")

    with ChatServer(answer) as server:
        seeds = ["the sky", "never", "the second try", "short talk"]
        rows, metrics, path = chat(tmp_path, server.url, seeds, min_pairs=2)
        asked = [request.text for request in server.requests]
    assert [request for request in asked if "the sky" in request] == [TEMPLATE.replace("{seed}", "the sky")]
    assert len(rows) == metrics["kept"] == 2 and metrics["asked"] == 4
    assert metrics["set_aside_by_reason"] == {"no turns": 1, "too short": 1}
    assert metrics["dropped_at_the_ends"] == {"question without an answer": 2}
    assert metrics["pairs_a_conversation"] == 2
    assert len([text for text in asked if "never" in text or "short" in text or "second" in text]) == 6
    assert {(row.source, row.licence, row.tags) for row in rows} == {
        ("self-chat of m-1", "MIT", ("sky", "self-chat")),
    }
    provenance = [json.loads(line) for line in (path / "provenance.jsonl").open()]
    assert [p["id"] for p in provenance] == [row.id for row in rows]


def test_several_chats_about_a_seed_are_different_requests(tmp_path):
    def answer(request):
        return says(f"[Human] a\n[AI] {request.body.get('seed')}")

    with ChatServer(answer) as server:
        rows, metrics, _ = chat(tmp_path, server.url, ["x"], chats=3)
    assert len({row.messages[-1].content for row in rows}) == 3 == metrics["kept"]
    with ChatServer(lambda request: says(SCRIPT)) as server:
        rows, metrics, _ = chat(tmp_path, server.url, ["y"], chats=3)
    assert (len(rows), metrics["repeats_dropped"]) == (1, 2)


def test_a_template_of_ones_own_and_marks_in_a_seed(tmp_path):
    (tmp_path / "t.txt").write_text("Talk of {seed}, please.")
    with ChatServer(lambda request: says(SCRIPT)) as server:
        chat(tmp_path, server.url, ["[Human] {braces}"], decoding=Decoding(temperature=0.5))
        assert [request.text for request in server.requests] == ["Talk of Human {braces}, please."]
        assert server.requests[0].body["temperature"] == 0.5
        (tmp_path / "t.txt").write_text("Talk.")
        with pytest.raises(ValueError, match=r"t\.txt has \{seed\} 0 times"):
            chat(tmp_path, server.url, ["a"])
