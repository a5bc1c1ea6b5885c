"""Likelihood by turn: how answers are told apart, against a forward pass by hand, differences between models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from camelid.evaluate.turn_nll import Turns, TurnSettings, by_turn, changes, turn_nll
from camelid.models.chat import load_chat_format
from camelid.models.model_settings import ModelSettings
from camelid.runs import Stage, execute
from camelid.types import Conversation, Message, write_records

FLOAT = ModelSettings(precision="float32")


def talk(*texts: str) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(
        messages=tuple(Message(role=roles[i % 2], content=t) for i, t in enumerate(texts)), source="test"
    )


TALKS = [talk("a", "one two"), talk("b", "three", "c", "four five six"), talk("d", "seven", "e", "eight", "f", "nine")]


def test_an_answer_is_a_run_of_trained_tokens():
    logprobs = np.array([0.0, -1, -2, 0, 0, -3, 0, -4, -5])
    trained = np.array([0, 1, 1, 0, 0, 1, 0, 1, 1], dtype=bool)
    assert by_turn(logprobs, trained) == Turns([3.0, 3.0, 9.0], [2, 1, 2])
    assert by_turn(logprobs[1:3], trained[1:3]) == Turns([3.0], [2])


def measured(model, folder, rows=TALKS, name="turns", **inputs):
    write_records(folder / "talks.jsonl", rows)
    settings = TurnSettings(model=FLOAT, chat_format="vicuna")
    stage = Stage(name, turn_nll, settings, {"model": model, "demonstrations": folder / "talks.jsonl", **inputs})
    path = execute([stage], folder / "run")[name]
    return json.loads((path / "results.json").read_text()), path


def test_its_numbers_are_those_of_a_forward_pass(llama, tmp_path):
    results, path = measured(llama, tmp_path)
    chat = load_chat_format(AutoTokenizer.from_pretrained(llama), "vicuna")
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    nats, tokens = {"first": 0.0, "later": 0.0}, {"first": 0, "later": 0}
    for conversation in TALKS:
        row = chat.render(conversation.messages)
        ids = torch.tensor([list(row.ids)])
        with torch.no_grad():
            logprobs = model(input_ids=ids).logits.log_softmax(-1)
        part = "first"
        for place in range(1, len(row.ids)):
            if row.loss_mask[place]:
                nats[part] -= logprobs[0, place - 1, row.ids[place]].item()
                tokens[part] += 1
            elif tokens["first"] and row.loss_mask[place - 1]:
                part = "later"
        part = "first"
    for part in nats:
        assert results[part]["value"] == pytest.approx(nats[part] / tokens[part], rel=1e-4), part
    assert results["n"] == 3 and results["first"]["n"] == 3 and results["later"]["n"] == 2
    assert results["all"]["value"] == pytest.approx(sum(nats.values()) / sum(tokens.values()), rel=1e-4)
    assert json.loads((path / "nats.json").read_text())[2]["tokens"] == [len(t) for t in _answers(chat, TALKS[2])]


def _answers(chat, conversation):
    row = chat.render(conversation.messages)
    runs: list[list[int]] = []
    for i, trained in enumerate(row.loss_mask):
        if trained:
            if i == 0 or not row.loss_mask[i - 1]:
                runs.append([])
            runs[-1].append(row.ids[i])
    return runs


def test_changes_are_conversation_by_conversation(llama, tmp_path):
    first, path = measured(llama, tmp_path)
    again, _ = measured(llama, tmp_path, name="again", before=path)
    assert {part: change["value"] for part, change in again["change"].items()} == dict.fromkeys(
        ("all", "first", "later"), 0
    )
    assert "change" not in first
    found = changes([Turns([4.0, 9.0], [2, 3])] * 2, _written(tmp_path, [Turns([2.0, 3.0], [2, 3])] * 2))
    assert (found["first"]["value"], found["later"]["value"], found["all"]["value"]) == (1.0, 2.0, 8 / 5)
    with pytest.raises(ValueError, match="other conversations; evaluate both models on the same"):
        measured(llama, tmp_path, TALKS[:2], name="fewer", before=path)


def _written(folder, turns):
    (folder / "nats.json").write_text(json.dumps([turn._asdict() for turn in turns]))
    return folder


def test_without_later_answers_there_is_no_number_for_them(llama, tmp_path):
    results, _ = measured(llama, tmp_path, [TALKS[0], talk("x", "y z")])
    assert "later" not in results and results["first"] == results["all"]
