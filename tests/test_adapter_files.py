"""Adapters on disk: what one of ours holds, that it gives what was trained, and what is refused, by name."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from camelid.cli import main
from camelid.models.adapter_files import read_adapter
from camelid.models.batch import Row
from camelid.models.loading import resolve_model
from camelid.models.lora import lora_layers
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.shape import Shape

FLOAT32 = ModelSettings(precision="float32")
ROWS = [Row(list(range(5, 5 + n)), [False] + [True] * (n - 1)) for n in (20, 9, 31)]


def settings(**more) -> ModelSettings:
    return ModelSettings(**{"precision": "float32", "lora_rank": 4, "lora_alpha": 6.0, "save_adapter": True} | more)


def nll(batch, outputs) -> Loss:
    return Loss(-outputs.logprobs.sum(), batch.loss_mask.sum(), {})


def trained(path, chosen: ModelSettings, steps: int = 3) -> Policy:
    """A few large steps: no adapter is the identity any more."""
    policy = Policy.load_for_training(path, chosen, OptimizerSettings(), seed=0)
    for _ in range(steps):
        policy.step(3e-2, policy.forward_backward(ROWS, nll)["count"])
    return policy


@pytest.fixture(scope="module")
def saved(tied_llama, tmp_path_factory):
    """A trained policy and the folder in which it left model/ and adapter/."""
    folder = tmp_path_factory.mktemp("run")
    policy = trained(tied_llama, settings())
    policy.save(folder / "model", "# card\n")
    return policy, folder


def copied(saved, tmp_path, **changes):
    """The adapter again, with another config."""
    folder = tmp_path / "adapter"
    shutil.copytree(saved[1] / "adapter", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    return folder


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return policy.model.state_dict()


# --- out ---


def test_an_adapter_holds_pefts_names_and_nothing_of_the_base(saved, tied_llama):
    policy, folder = saved
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert len(tensors) == 2 * len(list(lora_layers(policy.model))) == 2 * 2 * 7
    assert tensors["base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"].shape == (4, 32)
    assert tensors["base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"].shape == (64, 4)
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tied_llama)
    assert (config["r"], config["lora_alpha"], config["layers_to_transform"]) == (4, 6, [0, 1])
    assert config["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    # Seven matrices a layer, 4 numbers for each input and output: q and o 32 + 32, k and v 32 + 16, three of 32 + 64.
    assert sum(t.numel() for t in tensors.values()) == 2 * 4 * (2 * 64 + 2 * 48 + 3 * 96)


def test_without_the_setting_there_is_the_merged_model_alone(tied_llama, tmp_path):
    trained(tied_llama, settings(save_adapter=False), steps=1).save(tmp_path / "model", "")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_adapter_is_the_merged_model_bit_for_bit(tied_llama, tmp_path, precision):
    trained(tied_llama, settings(precision=precision)).save(tmp_path / "model", "")
    exact = ModelSettings(precision=precision)
    model, adapter = (Policy.load(tmp_path / name, exact) for name in ("model", "adapter"))
    assert weights(model).keys() == weights(adapter).keys()
    for name, tensor in weights(model).items():
        assert torch.equal(tensor, weights(adapter)[name]), name
    assert model.chat.template == adapter.chat.template


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ("attention", ["k_proj", "o_proj", "q_proj", "v_proj"]),
        ("mlp", ["down_proj", "gate_proj", "up_proj"]),
        ("v_proj, up_proj", ["up_proj", "v_proj"]),
    ],
)
def test_targets_choose_the_layers(tied_llama, tmp_path, targets, names):
    policy = trained(tied_llama, settings(lora_targets=targets, lora_first_layer=1), steps=1)
    adapted = [name for name, _ in lora_layers(policy.model)]
    assert sorted(name.rpartition(".")[2] for name in adapted) == names
    policy.save(tmp_path / "model", "")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["target_modules"], config["layers_to_transform"]) == (names, [1])
    adapter = Policy.load(tmp_path / "adapter", FLOAT32)
    torch.testing.assert_close(adapter.logprobs(ROWS), policy.logprobs(ROWS), atol=1e-4, rtol=0)


def test_absent_targets_are_named(tied_llama):
    with pytest.raises(ValueError, match=r"no linear layer is called wq; there are q_proj, k_proj"):
        Policy.load_for_training(tied_llama, settings(lora_targets="q_proj,wq"), OptimizerSettings(), seed=0)


def test_settings_that_want_an_adapter_where_there_is_none_are_errors(tied_llama, saved):
    with pytest.raises(ValueError, match="lora_rank = 0 trains the full weights"):
        settings(lora_rank=0)
    with pytest.raises(ValueError, match="is no adapter folder, so there is no adapter to continue"):
        trained(tied_llama, settings(lora_start="continue"))
    with pytest.raises(ValueError, match="one on top of it would have a base model that is in no folder"):
        trained(saved[1] / "adapter", settings())


# --- in ---


def test_a_merged_adapter_is_a_start_for_training(saved, tmp_path):
    policy, folder = saved
    again = trained(folder / "adapter", settings(save_adapter=False), steps=0)
    torch.testing.assert_close(again.logprobs(ROWS), policy.logprobs(ROWS), atol=1e-4, rtol=0)
    before = again.logprobs(ROWS)
    again.step(1e-2, again.forward_backward(ROWS, nll)["count"])
    assert not torch.equal(again.logprobs(ROWS)[0], before[0])
    assert torch.equal(again.reference_logprobs(ROWS)[0], before[0])


def test_a_continued_adapter_is_the_one_that_was_saved(saved, tied_llama, tmp_path):
    """Bit for bit, the reference included; and training it leaves the reference where it was."""
    policy, folder = saved
    chosen = settings(lora_start="continue", lora_rank=16)  # the rank is the adapter's own
    again = trained(folder / "adapter", chosen, steps=0)
    before = policy.logprobs(ROWS)
    for logprobs in (again.logprobs(ROWS), again.reference_logprobs(ROWS)):
        assert all(map(torch.equal, logprobs, before))
    assert {p.shape[0] for name, p in again.updater.named.items() if name.endswith("lora_a")} == {4}
    for network in (policy, again):  # the moments of Adam are gone, so a first step is compared with a first step
        network.updater = type(network.updater)(network.updater.named.items(), OptimizerSettings())
        network.step(1e-2, network.forward_backward(ROWS, nll)["count"])
    for (name, a), (_, b) in zip(again.updater.named.items(), policy.updater.named.items(), strict=True):
        assert torch.equal(a, b), name
    assert all(map(torch.equal, again.reference_logprobs(ROWS), before))
    again.save(tmp_path / "model", "")  # an adapter of the same base model, not of a chain
    assert read_adapter(tmp_path / "adapter").scale == 6 / 4
    torch.testing.assert_close(
        Policy.load(tmp_path / "adapter", FLOAT32).logprobs(ROWS), again.logprobs(ROWS), atol=1e-4, rtol=0
    )


def test_rank_stabilised_adapters_have_their_own_scale(saved, tmp_path):
    """alpha / sqrt(r) = 6 / 2."""
    assert read_adapter(copied(saved, tmp_path, use_rslora=True)).scale == 3.0


def test_a_merged_model_that_kept_its_adapters_config_is_a_model(saved, tmp_path):
    shutil.copytree(saved[1] / "model", tmp_path / "model")
    shutil.copy(saved[1] / "adapter" / "adapter_config.json", tmp_path / "model")
    assert resolve_model(str(tmp_path / "model")) == tmp_path / "model"
    assert Shape.read(tmp_path / "model").layers == 2


def test_resolving_and_sizing_an_adapter(saved, tied_llama):
    folder = saved[1] / "adapter"
    assert resolve_model(str(folder)) == folder
    assert Shape.read(folder) == Shape.read(tied_llama)


def test_a_reward_models_adapter_scores_as_the_merged_one(tied_llama, tmp_path):
    reward = RewardModel.create(tied_llama, settings(), OptimizerSettings(), num_layers=1, seed=0)
    for _, layer in lora_layers(reward.model):
        layer.adapter.lora_b.data.normal_(generator=torch.Generator().manual_seed(0))
    reward.standardise_on(reward.score(ROWS))
    reward.save(tmp_path / "model", "")
    model, adapter = (RewardModel.load(tmp_path / name, FLOAT32) for name in ("model", "adapter"))
    assert len(adapter.model.base_model.layers) == 1
    assert all(map(torch.equal, model.model.state_dict().values(), adapter.model.state_dict().values()))
    torch.testing.assert_close(adapter.score(ROWS), reward.score(ROWS), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="is the adapter of a reward model, not of a language model"):
        Policy.load(tmp_path / "adapter", FLOAT32)
    assert main(["models", "merge", str(tmp_path / "adapter"), "--out", str(tmp_path / "merged")]) == 0
    merged = RewardModel.load(tmp_path / "merged", FLOAT32)
    assert all(map(torch.equal, merged.model.state_dict().values(), model.model.state_dict().values()))
    torch.testing.assert_close(merged.score(ROWS), model.score(ROWS), atol=1e-5, rtol=0)


def test_a_language_models_adapter_is_no_reward_model_but_may_start_one(saved):
    with pytest.raises(ValueError, match=r"does not hold the weights of a LlamaForSequence\w+: score.weight"):
        RewardModel.load(saved[1] / "adapter", FLOAT32)
    cut = RewardModel.create(saved[1] / "adapter", FLOAT32, OptimizerSettings(), num_layers=1, seed=0)
    merged = Policy.load(saved[1] / "model", FLOAT32).model.model.layers[0].mlp.up_proj.weight
    assert torch.equal(cut.model.model.layers[0].mlp.up_proj.base.weight, merged)


# --- refused ---

REFUSED = [
    ({"use_dora": True}, "use_dora = True is something that camelid does not compute"),
    ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
    ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
    ({"bias": "lora_only"}, "it trained biases as well"),
    ({"modules_to_save": ["embed_tokens"]}, "whole modules were trained"),
    ({"peft_type": "IA3"}, "peft_type is 'IA3', and camelid reads LORA only"),
    ({"init_lora_weights": "pissa_niter_4"}, "changed the base model's weights at its start"),
    ({"trainable_token_indices": [3]}, "trainable_token_indices"),
    ({"a_field_of_the_year_2030": 1}, "a_field_of_the_year_2030"),
    ({"r": 8}, r"has factors of \(\d+, 4\) and \(4, \d+\), and adapter_config.json says r = 8"),
    ({"r": None}, "a rank is a whole number from 1 on"),
    ({"base_model_name_or_path": None}, "names no base model; `camelid models merge"),
    ({"base_model_name_or_path": "gone"}, "base model is not to be had: 'gone': no model 'gone'"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[next(iter(changes)) for changes, _ in REFUSED])
def test_what_is_not_computed_is_refused_by_name(saved, tmp_path, changes, message):
    folder = copied(saved, tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        Policy.load(resolve_model(str(folder)), FLOAT32)
    assert str(folder) in str(error.value)


def test_pickled_adapters_are_never_opened(saved, tmp_path):
    folder = copied(saved, tmp_path)
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ValueError, match=r"has only adapter_model.bin, and camelid never unpickles"):
        resolve_model(str(folder))


def rewritten(folder, change):
    file = folder / "adapter_model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k.replace(".layers.1.", ".layers.7."): v for k, v in t.items()}, "has no such linear layer"),
        (
            lambda t: {k.replace("model.layers.1.mlp.up_proj", "lm_head"): v for k, v in t.items()},
            "of a decoder's layers only",
        ),
        (lambda t: dict(list(t.items())[:-1]), "is not what a LoRA adapter consists of"),
        (lambda t: t | {"base_model.model.lm_head.weight": torch.ones(2)}, "is not what a LoRA adapter consists of"),
        (
            lambda t: {k: v[:, :8].contiguous() if k.endswith("A.weight") else v for k, v in t.items()},
            "was trained on another model",
        ),
        (lambda t: t | {"base_model.model.score.weight": torch.ones(2, 32)}, "its head gives 2 numbers"),
        (lambda t: {k: v.fill_(torch.nan) for k, v in t.items()}, "holds a NaN or an infinity"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        Policy.load(rewritten(copied(saved, tmp_path), change), FLOAT32)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "Expecting"), ("[]", "no JSON object"), ("{}", "peft_type is None")]
)
def test_a_config_that_is_none(saved, tmp_path, text, message):
    folder = copied(saved, tmp_path)
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(ValueError, match=rf"this adapter cannot be read: .*{message}"):
        resolve_model(str(folder))


def test_a_damaged_file_is_an_error_in_a_line(saved, tmp_path):
    folder = copied(saved, tmp_path)
    (folder / "camelid.json").write_text("{")
    with pytest.raises(ValueError, match=r"camelid.json is no JSON"):
        Policy.load(folder, FLOAT32)
    (folder / "camelid.json").unlink()
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is no whole safetensors file"):
        Policy.load(folder, FLOAT32)


def test_an_adapter_is_not_put_on_another_model_of_the_same_shape(saved, tmp_path):
    from tiny import write_tiny_llama

    other = write_tiny_llama(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="was trained on other weights than this base model's"):
        Policy.load(copied(saved, tmp_path, base_model_name_or_path=str(other)), FLOAT32)


# --- commands ---


def test_merging_on_disk(saved, tied_llama, tmp_path, capsys):
    folder = copied(saved, tmp_path, base_model_name_or_path="gone")
    assert (
        main(["models", "merge", str(folder), "--base", str(tied_llama), "--out", str(tmp_path / "m"), "--json"]) == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert answer["model_bytes"] == (tmp_path / "m" / "model.safetensors").stat().st_size
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(saved[1] / "model", dtype=torch.float32)
    for (name, a), (_, b) in zip(merged.state_dict().items(), ours.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    for words, message in (
        ([str(folder), "--out", str(tmp_path / "m")], "is there already"),
        ([str(tied_llama), "--out", str(tmp_path / "n")], "is no adapter folder"),
        ([str(folder), "--out", str(tmp_path / "n")], "not to be had"),
    ):
        assert main(["models", "merge", *words]) == 1
        assert message in capsys.readouterr().err


def test_a_stage_by_itself_takes_an_adapter_and_notes_its_base(saved, tied_llama):
    from camelid.commands.stages import stage_inputs

    folder = saved[1] / "adapter"
    assert stage_inputs(["--model", str(folder)]) == {"model": folder, "model_base": tied_llama}
    assert stage_inputs(["--model", str(tied_llama)]) == {"model": tied_llama}
