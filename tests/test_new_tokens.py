"""New special tokens: mean rows, tied or not, a tokenizer that agrees, and what adapters cannot teach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from camelid.cli import main
from camelid.models.chat import load_chat_format
from camelid.models.model_settings import ModelSettings
from camelid.models.new_tokens import add_special_tokens, check_end_of_turn
from camelid.models.surgery import open_model
from camelid.runs import Stage, execute
from camelid.train.sft import SftSettings, train_sft
from camelid.types import Conversation, Message, write_records
from test_batch import random_rows, sft
from test_policy import trainable
from tiny import write_tiny_llama

START, END, PAD = "<|turn|>", "<|stop|>", "<|filler|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|turn|>' + message.role + '\n' + message.content + '<|stop|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"
)


def extended(source: Path, folder: Path, *words: str) -> Path:
    words = words or ("--token", START, "--token", END, "--pad", PAD)
    assert main(["models", "add-tokens", str(source), "--out", str(folder), *words]) == 0
    return folder


def test_new_rows_are_the_mean_of_the_old_and_old_rows_stay(llama, tmp_path):
    old = AutoModelForCausalLM.from_pretrained(llama)
    new = AutoModelForCausalLM.from_pretrained(extended(llama, tmp_path / "out"))
    size = old.config.vocab_size
    assert new.config.vocab_size == size + 3
    for name in ("get_input_embeddings", "get_output_embeddings"):
        before, after = getattr(old, name)().weight, getattr(new, name)().weight
        assert torch.equal(after[:size], before)
        torch.testing.assert_close(after[size:], before.mean(0).expand(3, -1))
    assert (new.lm_head.weight is new.model.embed_tokens.weight) == old.config.tie_word_embeddings


def test_a_new_tokens_logit_is_the_mean_logit(untied_llama, tmp_path):
    """Since w_new = mean of w_i, w_new . h = mean of w_i . h; what the old tokens get among themselves stays."""
    ids = torch.arange(3, 23)[None]
    folder = extended(untied_llama, tmp_path / "out")
    before, after = (AutoModelForCausalLM.from_pretrained(f)(ids).logits for f in (untied_llama, folder))
    torch.testing.assert_close(after[..., : before.shape[-1]], before)
    torch.testing.assert_close(after[..., -1], before.mean(-1), rtol=1e-4, atol=1e-5)


def test_model_tokenizer_and_generation_config_agree(tied_llama, tmp_path):
    folder = extended(tied_llama, tmp_path / "out")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer.convert_tokens_to_ids([START, END, PAD])
    assert ids == list(range(len(tokenizer) - 3, len(tokenizer))) and len(tokenizer) == model.config.vocab_size
    assert tokenizer.pad_token == PAD and tokenizer.pad_token_id == model.config.pad_token_id == ids[2]
    assert model.generation_config.pad_token_id == ids[2]
    assert tokenizer(f"a{START}b", add_special_tokens=False)["input_ids"][1] == ids[0]
    assert set(ids) <= set(tokenizer.all_special_ids) | {
        i for i, t in tokenizer.added_tokens_decoder.items() if t.special
    }


def test_rows_that_no_token_had_are_taken_first_and_are_no_part_of_the_mean(tmp_path):
    """420 tokens or so and 8 rows more, as in vocabularies that are padded to an even size."""
    source = write_tiny_llama(tmp_path / "model")
    size = AutoModelForCausalLM.from_pretrained(source).config.vocab_size
    source = write_tiny_llama(tmp_path / "padded", vocab_size=size + 8)
    model, tokenizer = open_model(source)
    before = model.get_input_embeddings().weight.clone()
    ids = add_special_tokens(model, tokenizer, [START])
    after = model.get_input_embeddings().weight
    assert ids == {START: size} and after.shape == before.shape
    torch.testing.assert_close(after[size], before[:size].mean(0))
    assert torch.equal(after[size + 1 :], before[size + 1 :])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "no token to add"),
        (["--token", "<|im_end|>"], "has '<|im_end|>' already"),
        (["--token", START, "--token", START], "given twice"),
        (["--token", START, "--pad", START], "given twice"),
        (["--token", " "], "blank"),
    ],
)
def test_tokens_that_cannot_be_added_are_errors(tied_llama, tmp_path, capsys, words, reason):
    assert main(["models", "add-tokens", str(tied_llama), "--out", str(tmp_path / "out"), *words]) == 1
    error = capsys.readouterr().err
    assert reason in error and "\n" not in error.strip() and not (tmp_path / "out").exists()


def test_the_command_answers_in_json(tied_llama, tmp_path, capsys):
    extended(tied_llama, tmp_path / "out", "--token", START, "--json")
    answer = json.loads(capsys.readouterr().out)
    assert answer["tokens"] == {START: answer["vocabulary"] - 1}


@pytest.fixture
def chat(untied_llama, tmp_path) -> tuple[Path, Path, Path]:
    """An extended model, a template that uses its tokens, and demonstrations."""
    (tmp_path / "turns.jinja").write_text(TEMPLATE)
    turns = (Message(role="user", content="Where?"), Message(role="assistant", content="Paris."))
    write_records(tmp_path / "rows.jsonl", [Conversation(messages=turns, id=str(i)) for i in range(8)])
    return extended(untied_llama, tmp_path / "out"), tmp_path / "turns.jinja", tmp_path / "rows.jsonl"


def fine_tune(chat, out: Path, rank: int) -> Path:
    model, template, rows = chat
    settings = SftSettings(
        model=ModelSettings(precision="float32", lora_rank=rank), chat_format=str(template), epochs=4, batch_size=4
    )
    stage = Stage("sft", train_sft, settings, {"model": model, "demonstrations": rows})
    return execute([stage], out)["sft"] / "model"


def test_full_fine_tuning_sets_new_rows_apart(chat, tmp_path):
    result = AutoModelForCausalLM.from_pretrained(fine_tune(chat, tmp_path / "runs", 0))
    for matrix in (result.get_input_embeddings().weight, result.get_output_embeddings().weight):
        start, end, _ = matrix[-3:]
        assert not torch.equal(start, end)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert load_chat_format(tokenizer, str(chat[1])).stop_ids[0] == len(tokenizer) - 2


def test_adapters_refuse_an_end_of_turn_that_the_head_cannot_tell_from_another(chat, tmp_path):
    with pytest.raises(ValueError, match=r"same row .* as 2 other token.*lora_rank=0"):
        fine_tune(chat, tmp_path / "runs", 4)
    check_end_of_turn(torch.tensor([[1.0, 2.0], [1.0, 3.0], [0.0, 0.0], [0.0, 0.0]]), 1, "end")  # others may be equal


def test_new_rows_get_gradients_of_their_own_in_full_training(tied_llama, tmp_path):
    policy = trainable(extended(tied_llama, tmp_path / "out"), rank=0)
    policy.forward_backward(random_rows([9, 12]), sft)
    gradient = policy.model.get_input_embeddings().weight.grad
    assert gradient[-3:].abs().sum() > 0  # as wrong answers in the head, though no row of text holds them
