"""A saved model is one that everybody can load: same logits, same template, nothing pickled, nothing of ours needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from camelid.models.batch import Row
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.types import Message
from test_batch import random_rows, sft
from tiny import user, write_tiny_llama

TALK = (*user("What is the capital of France?"), Message(role="assistant", content="Paris."), *user("Tell me more."))


def trained(folder: Path, *, rank: int = 4, precision="float32", chat_format: str = "model") -> Policy:
    settings = ModelSettings(precision=precision, lora_rank=rank)
    policy = Policy.load_for_training(folder, settings, OptimizerSettings(), seed=0, chat_format=chat_format)
    for _ in range(2):
        policy.step(3e-2, policy.forward_backward(random_rows([20, 30]), sft)["count"])
    return policy


def pickles(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}]


@pytest.mark.parametrize("rank", [0, 4])
def test_a_saved_model_has_the_trained_ones_logprobs(llama, tmp_path, rank):
    policy = trained(llama, rank=rank)
    policy.save(tmp_path / "model", "# card\n")
    assert resolve_model(str(tmp_path / "model")) == tmp_path / "model"
    model, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    assert model.config._attn_implementation == "sdpa"
    (row,) = random_rows([40], seed=5)
    with torch.no_grad():
        theirs = model(torch.tensor([row.ids])).logits
        hidden = policy.model.base_model(torch.tensor([row.ids]), segment_lengths=[40]).last_hidden_state
        torch.testing.assert_close(theirs, policy.model.lm_head(hidden), atol=1e-4, rtol=0)
    untrained = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    with torch.no_grad():
        assert (untrained(torch.tensor([row.ids])).logits - theirs).abs().max() > 0.1
    again = Policy.load(tmp_path / "model", ModelSettings(precision="float32"))
    torch.testing.assert_close(again.logprobs([row])[0], policy.logprobs([row])[0], atol=1e-4, rtol=0)


def test_the_folder_holds_what_everybody_expects_and_nothing_pickled(llama, tmp_path):
    policy = trained(llama)
    policy.save(tmp_path / "model", "# card\n")
    assert {file.name for file in (tmp_path / "model").iterdir()} == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    policy.save_state(tmp_path)
    assert pickles(tmp_path) == []
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "float32"
    assert "camelid" not in json.dumps(config)
    texts = [file.read_text() for file in (tmp_path / "model").iterdir() if file.suffix == ".json"]
    assert not any(str(llama) in text or str(tmp_path) in text for text in texts)  # the same run, the same bytes
    assert (tmp_path / "model" / "README.md").read_text() == "# card\n"


def test_a_model_trained_in_bfloat16_is_saved_in_it(tied_llama, tmp_path):
    trained(tied_llama, precision="bfloat16").save(tmp_path, "")
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("chat_format", ["model", "chatml", "vicuna"])
def test_the_template_that_was_trained_with_is_saved(tied_llama, tmp_path, chat_format):
    policy = trained(tied_llama, chat_format=chat_format)
    policy.save(tmp_path, "")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    messages = [message.model_dump() for message in TALK]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == policy.chat.prompt_ids(TALK)
    assert ("<|im_start|>assistant" if chat_format != "vicuna" else " ASSISTANT:") in tokenizer.decode(ids)
    again = Policy.load(tmp_path, ModelSettings(precision="float32"))  # `model`: the saved template
    assert again.chat.prompt_ids(TALK) == ids
    assert again.chat.stop_ids == policy.chat.stop_ids


def test_others_stop_generating_where_we_do(tmp_path):
    """The base model ends texts with one token, the chat format that we train ends turns with another."""
    folder = write_tiny_llama(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(folder)
    # Published, and refused by transformers when it is saved again: a temperature without sampling.
    broken = GenerationConfig(eos_token_id=0).to_dict() | {"temperature": 0.9, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(broken))
    policy = trained(folder)
    policy.save(tmp_path / "model", "")
    end_of_turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert policy.chat.stop_ids == (end_of_turn, 0)
    saved = GenerationConfig.from_pretrained(tmp_path / "model")
    assert saved.eos_token_id == [end_of_turn, 0]
    assert saved.temperature is None


def test_saving_twice_writes_the_same_bytes(tied_llama, tmp_path):
    for name in ("a", "b"):
        trained(tied_llama).save(tmp_path / name, "# card\n")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_training_goes_on_after_saving(tied_llama, tmp_path):
    policy = trained(tied_llama)
    rows = random_rows([20])
    before = policy.logprobs(rows)[0]
    policy.save(tmp_path, "")
    assert torch.equal(policy.logprobs(rows)[0], before)
    policy.step(1e-2, policy.forward_backward(rows, sft)["count"])


def test_a_saved_model_samples_as_before(tied_llama, tmp_path):
    policy = trained(tied_llama)
    policy.save(tmp_path, "")
    prompt = policy.chat.prompt_ids(TALK)
    again = Policy.load(tmp_path, ModelSettings(precision="float32"))
    a, b = (p.sample([prompt], Sampling(max_new_tokens=20), seed=0)[0][0] for p in (policy, again))
    assert a.ids == b.ids
    row = Row(prompt + a.ids, [False] * len(prompt) + [True] * len(a.ids))
    torch.testing.assert_close(torch.tensor(b.logprobs), policy.logprobs([row])[0][len(prompt) :], atol=1e-4, rtol=0)


def test_pickled_weights_are_refused(tied_llama, tmp_path):
    (tmp_path / "config.json").write_text((tied_llama / "config.json").read_text())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no .safetensors file; camelid never unpickles"):
        resolve_model(str(tmp_path))
    with pytest.raises(OSError, match="safetensors"):
        Policy.load(tmp_path, ModelSettings(precision="float32"))
