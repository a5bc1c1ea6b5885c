"""Fine-tuning's openings: what is weighed, what is cut, and that the loss is the weighted mean."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoTokenizer

from camelid.functional.sft import sft_loss
from camelid.models.batch import Row
from camelid.models.chat import load_chat_format
from camelid.models.model_settings import ModelSettings
from camelid.runs import Stage, execute, read_manifest
from camelid.train.sft import SftSettings, opening, opening_weights, train_sft
from camelid.types import Conversation, Message, write_records


def test_the_opening_of_every_trained_turn_is_weighed():
    mask = [False, True, True, True, False, False, True]
    assert opening_weights(mask, 2, 4.0).tolist() == [1, 4, 4, 1, 1, 1, 4]
    assert opening_weights(mask, 2, 1.0).tolist() == [1] * 7


def test_an_opening_is_the_prompt_and_the_first_trained_tokens():
    row = Row([5, 6, 7, 8, 9], [False, False, True, True, True], {"weights": torch.arange(5.0)})
    cut = opening(row, 2)
    assert (list(cut.ids), list(cut.loss_mask)) == ([5, 6, 7, 8], [False, False, True, True])
    assert cut.values["weights"].tolist() == [0, 1, 2, 3]
    assert opening(row, 9).ids == row.ids


def test_the_weighted_loss_is_a_weighted_mean():
    logprobs, mask = torch.tensor([[-1.0, -2.0, float("nan")]]), torch.tensor([[True, True, False]])
    total, count = sft_loss(logprobs, mask, torch.tensor([[3.0, 1.0, 9.0]]))
    assert (total.item(), count.item()) == (5.0, 4.0)


def test_a_tag_weighs_its_conversations(tied_llama, tmp_path):
    def talk(n: int, *tags: str) -> Conversation:
        messages = (Message(role="user", content=f"Capital {n}?"), Message(role="assistant", content="Paris."))
        return Conversation(messages=messages, tags=tags)

    write_records(tmp_path / "rows.jsonl", [talk(1), talk(2, "refusal"), talk(3, "refusal", "short")])

    def train(tag_weights: dict[str, float]):
        settings = SftSettings(
            model=ModelSettings(precision="float32", lora_rank=2), epochs=1, tag_weights=tag_weights, opening_tokens=1
        )
        inputs = {"model": tied_llama, "demonstrations": tmp_path / "rows.jsonl"}
        path = execute([Stage("sft", train_sft, settings, inputs)], tmp_path / "runs")["sft"]
        step = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
        return step["count"], read_manifest(path)["metrics"].get("tagged")

    plain, nothing = train({})
    weighted, tagged = train({"refusal": 0.5, "short": 0.5, "unheard": 3.0})
    assert nothing is None
    assert weighted == plain / 3 * (1 + 0.5 + 0.25)
    assert tagged == {"refusal": 2, "short": 1, "unheard": 0}


def test_everything_trains_but_each_rows_first_token(tied_llama, tmp_path):
    """In the model's own chat format (ChatML), with prompts; openings are the rows' own beginnings then."""
    talks = [
        (Message(role="user", content=f"Capital {n}?"), Message(role="assistant", content="Paris.")) for n in range(4)
    ]
    write_records(tmp_path / "rows.jsonl", [Conversation(messages=talk) for talk in talks])
    settings = SftSettings(
        model=ModelSettings(precision="float32", lora_rank=2), epochs=1, opening_epochs=1, train_on="everything"
    )
    inputs = {"model": tied_llama, "demonstrations": tmp_path / "rows.jsonl"}
    path = execute([Stage("sft", train_sft, settings, inputs)], tmp_path / "runs")["sft"]
    whole, openings = (json.loads(line)["count"] for line in (path / "metrics.jsonl").read_text().splitlines())
    chat = load_chat_format(AutoTokenizer.from_pretrained(tied_llama))
    assert whole == sum(len(chat.render(talk).ids) - 1 for talk in talks)
    assert openings == 4 * settings.opening_tokens


@pytest.mark.parametrize("opening_epochs", [0.0, 2.0])
def test_openings_come_last_and_cost_few_tokens(tied_llama, tmp_path, opening_epochs):
    def talk(n: int) -> Conversation:
        messages = (
            Message(role="user", content=f"Capital {n}?"),
            Message(role="assistant", content="Paris, of course. " * 3),
        )
        return Conversation(messages=messages)

    write_records(tmp_path / "rows.jsonl", [talk(n) for n in range(8)])
    settings = SftSettings(
        model=ModelSettings(precision="float32", lora_rank=2),
        batch_size=2,
        epochs=1,
        opening_epochs=opening_epochs,
        opening_tokens=2,
        opening_weight=3,
    )
    inputs = {"model": tied_llama, "demonstrations": tmp_path / "rows.jsonl"}
    path = execute([Stage("sft", train_sft, settings, inputs)], tmp_path / "runs")["sft"]
    metrics = read_manifest(path)["metrics"]
    assert metrics["num_demonstrations"] == 8
    steps = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == 4 + 2 * opening_epochs
    assert all(step["count"] > 2 * 2 * 3 for step in steps[:4])
    # Opening steps hold twice the rows, but only two tokens of each train, at weight 3.
    assert [step["count"] for step in steps[4:]] == [4 * 2 * 3] * int(2 * opening_epochs)
