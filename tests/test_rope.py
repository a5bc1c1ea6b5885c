"""Scaled rotary positions: frequencies, what is saved, and models that cannot have them."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM, MptConfig, MptForCausalLM

from camelid.cli import main
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.rope import RopeScaling, scaled_config
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute
from camelid.train.sft import SftSettings, train_sft
from camelid.types import Conversation, Message, write_records
from test_batch import random_rows
from tiny import byte_level_tokenizer, write_tiny_llama

EXACT = ModelSettings(precision="float32", lora_rank=0, micro_batch_tokens=64)
KINDS = ("linear", "ntk", "yarn")


def frequencies(policy: Policy) -> torch.Tensor:
    return policy.trunk.model.rotary_emb.inv_freq


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Heads of width 16, so 8 frequencies, and a context of 256."""
    return write_tiny_llama(tmp_path_factory.mktemp("wide") / "model", head_dim=16)


def test_each_kind_turns_as_its_paper_says(wide):
    """d = 16, base 10,000: frequencies 10,000^(-i/8). Linear: all a quarter. NTK: the first as before, the last a
    quarter. YaRN: pairs that turn more than 32 times in the context as before (the first alone: 256 / 2 pi = 41 times),
    those that turn less than once a quarter (frequency below 2 pi / 256 = 0.0245: from i = 4).
    """
    plain = frequencies(Policy.load(wide, EXACT))
    torch.testing.assert_close(plain, 10_000.0 ** (-torch.arange(8) / 8))
    linear, ntk, yarn = (
        frequencies(Policy.load(wide, EXACT, rope_scaling=RopeScaling(type=kind, factor=4))) / plain for kind in KINDS
    )
    torch.testing.assert_close(linear, torch.full((8,), 0.25))
    assert ntk[0].item() == 1 and ntk[-1].item() == pytest.approx(0.25) and (ntk.diff() < 0).all()
    assert yarn[0].item() == pytest.approx(1.0)
    torch.testing.assert_close(yarn[4:], torch.full((4,), 0.25))
    assert (yarn.diff() <= 1e-6).all()


def test_linear_scaling_is_the_model_at_positions_divided(wide):
    """Tokens at positions 0, 4, 8 ... of the model scaled by 4 are what they are at 0, 1, 2 ... of the plain one."""
    ids = torch.arange(5, 25)[None]
    plain = Policy.load(wide, EXACT).trunk.model
    scaled = Policy.load(wide, EXACT, rope_scaling=RopeScaling(type="linear", factor=4)).trunk.model
    places = torch.arange(20)[None]
    with torch.no_grad():
        expected = plain(ids, position_ids=places, segment_lengths=[20]).last_hidden_state
        found = scaled(ids, position_ids=4 * places, segment_lengths=[20]).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_packing_and_sampling_agree_with_transformers_at_scaled_positions(wide, tmp_path, kind):
    """Rows longer than the old context of 256; the saved folder alone knows of the scaling."""
    policy = Policy.load(wide, EXACT, rope_scaling=RopeScaling(type=kind, factor=2))
    rows = random_rows([300, 9, 40])
    packed = policy.logprobs(rows)
    policy.save(tmp_path / "saved", "card")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32)
    assert model.config.max_position_embeddings == 512
    again = Policy.load(tmp_path / "saved", EXACT)
    for row, found, saved in zip(rows, packed, again.logprobs(rows), strict=True):
        ids = torch.tensor([list(row.ids)])
        with torch.no_grad():
            logits = model(ids).logits[0, :-1].log_softmax(-1)
        own = logits.gather(1, ids[0, 1:, None])[:, 0] * torch.tensor(row.loss_mask[1:])
        torch.testing.assert_close(found[1:], own, rtol=1e-4, atol=1e-4)
        assert torch.equal(found, saved)
    prompt = list(rows[0].ids[:280])
    ((drawn,),) = policy.sample([prompt], Sampling(max_new_tokens=8, temperature=0), seed=0)
    expected = model.generate(torch.tensor([prompt]), max_new_tokens=len(drawn.ids), do_sample=False, eos_token_id=None)
    assert drawn.ids == expected[0, 280:].tolist()


def test_the_reference_of_a_scaled_policy_is_scaled_too(wide):
    policy = Policy.load_for_training(
        wide, EXACT, OptimizerSettings(), seed=0, rope_scaling=RopeScaling(type="yarn", factor=4)
    )
    rows = random_rows([30, 12])
    for ours, reference in zip(policy.logprobs(rows), policy.reference_logprobs(rows), strict=True):
        assert torch.equal(ours, reference)


def test_fine_tuning_saves_the_longer_context(wide, tmp_path):
    turns = (Message(role="user", content="Where?"), Message(role="assistant", content="Paris."))
    write_records(tmp_path / "rows.jsonl", [Conversation(messages=turns)])
    settings = SftSettings(model=EXACT, epochs=1, rope_scaling=RopeScaling(type="yarn", factor=2))
    inputs = {"model": wide, "demonstrations": tmp_path / "rows.jsonl"}
    folder = execute([Stage("sft", train_sft, settings, inputs)], tmp_path / "runs")["sft"] / "model"
    config = json.loads((folder / "config.json").read_text())
    assert config["max_position_embeddings"] == 512
    rope = config["rope_parameters"]
    assert (rope["rope_type"], rope["factor"], rope["original_max_position_embeddings"]) == ("yarn", 2, 256)
    with pytest.raises(ValueError, match="rope_type yarn already"):
        scaled_config(folder, RopeScaling(type="linear", factor=2))


@pytest.mark.parametrize(
    "words", [["rope_scaling.type=yarn"], ["rope_scaling.factor=4"], ["rope_scaling.type=dynamic"]]
)
def test_half_a_setting_and_unknown_kinds_are_errors(wide, tmp_path, capsys, words):
    (tmp_path / "docs.jsonl").write_text('{"text": "a"}\n')
    inputs = ["--model", str(wide), "--documents", str(tmp_path / "docs.jsonl"), "--out", str(tmp_path)]
    assert main(["uptrain", *inputs, *(w for word in words for w in ("--set", word))]) == 1
    error = capsys.readouterr().err
    assert ("changes nothing" in error or "'linear', 'ntk' or 'yarn'" in error) and "\n" not in error.strip()


def test_models_without_one_rotary_embedding_are_refused(tmp_path):
    tokenizer = byte_level_tokenizer()
    small = {"vocab_size": len(tokenizer), "hidden_size": 32, "d_model": 32, "n_heads": 4, "n_head": 4, "n_layers": 1}
    bloom = BloomForCausalLM(BloomConfig(**small, n_layer=1))
    mpt = MptForCausalLM(MptConfig(**small))
    for name, model in (("bloom", bloom), ("mpt", mpt)):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        with pytest.raises(ValueError, match=r"no rotary.*ALiBi"):
            scaled_config(tmp_path / name, RopeScaling(type="linear", factor=2))
        with pytest.raises(ValueError, match="attention interface"):
            Policy.load(tmp_path / name, EXACT)
    gemma = write_tiny_llama(tmp_path / "gemma", architecture="Gemma3ForCausalLM", head_dim=8)
    with pytest.raises(ValueError, match="by kind of layer"):
        scaled_config(gemma, RopeScaling(type="linear", factor=2))
