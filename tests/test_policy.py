"""What a step of training does to the weights, what an error leaves of them, and what a checkpoint brings back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camelid.models.batch import Batch, Row
from camelid.models.lora import LoraLinear
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings, Updater
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from test_batch import own_logprobs, random_rows, sft
from tiny import write_tiny_llama

PLAIN = OptimizerSettings(weight_decay=0.0, max_grad_norm=1e9)


def trainable(folder, *, rank: int = 4, precision="float32", optimizer: OptimizerSettings = PLAIN) -> Policy:
    settings = ModelSettings(precision=precision, lora_rank=rank, micro_batch_tokens=64)
    return Policy.load_for_training(folder, settings, optimizer, seed=0)


def weights(policy: Policy) -> dict[str, Tensor]:
    heads = {} if policy.value_head is None else policy.value_head.state_dict(prefix="value.")
    return {name: tensor.clone() for name, tensor in (policy.model.state_dict() | heads).items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def with_values(batch: Batch, outputs: Outputs) -> Loss:
    """A loss of both heads, for tests of what happens to both."""
    policy = sft(batch, outputs)
    value = ((outputs.values - 1.0) ** 2)[batch.loss_mask].sum()
    return Loss(policy.sum + value, policy.count, {})


# --- the optimizer's arithmetic ---


def test_a_step_divides_by_the_count_clips_and_moves_by_adam():
    """One weight 1.0 with gradient 8 over 4 tokens: 2 a token, clipped to 1.

    Adam's first step is lr * g / (|g| + eps) = 0.1 * 1 / 1.5 with eps = 0.5; decoupled decay takes 0.1 * 0.2 * 1.0.
    """
    weight = nn.Parameter(torch.ones(1, 1))
    settings = OptimizerSettings(weight_decay=0.2, eps=0.5, max_grad_norm=1.0)
    updater = Updater([("w", weight)], settings)
    weight.grad = torch.full((1, 1), 8.0)
    norm = updater.step(0.1, 4)
    assert norm == pytest.approx(2.0)
    assert weight.item() == pytest.approx(1.0 - 0.1 * 0.2 - 0.1 / 1.5, rel=1e-5)
    assert weight.grad.item() == 0


def test_vectors_are_not_decayed():
    scale, matrix = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(1, 3))
    updater = Updater([("norm", scale), ("linear", matrix)], OptimizerSettings(weight_decay=0.5))
    for parameter in (scale, matrix):
        parameter.grad = torch.zeros_like(parameter)
    updater.step(0.1, 1)
    assert scale.tolist() == [1.0] * 3
    assert matrix[0].tolist() == pytest.approx([0.95] * 3)  # 1 - 0.1 * 0.5


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="no parameter to train"):
        Updater([], OptimizerSettings())


# --- steps of a policy ---


def test_a_step_lowers_the_loss_and_changes_nothing_but_the_adapters(llama):
    policy = trainable(llama)
    rows = random_rows([20, 30])
    before = weights(policy)
    losses = []
    for _ in range(4):
        metrics = policy.forward_backward(rows, sft)
        policy.step(1e-2, metrics["count"])
        losses.append(metrics["loss"])
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1
    changed = {name for name, tensor in weights(policy).items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)


@pytest.mark.parametrize("rank", [0, 4])
def test_the_reference_is_the_policy_before_training(llama, rank):
    policy = trainable(llama, rank=rank)
    rows = random_rows([20, 30])
    before = policy.logprobs(rows, temperature=0.7)
    for _ in range(3):
        policy.step(1e-2, policy.forward_backward(rows, sft)["count"])
    after = policy.logprobs(rows, temperature=0.7)
    reference = policy.reference_logprobs(rows, temperature=0.7)
    for old, new, frozen, row in zip(before, after, reference, rows, strict=True):
        assert torch.equal(frozen, old)
        torch.testing.assert_close(frozen, own_logprobs(llama, row, 0.7), atol=1e-5, rtol=0)
        assert (new - old).abs().max() > 0.1


def test_full_fine_tuning_trains_every_weight(llama):
    policy = trainable(llama, rank=0)
    assert not [m for m in policy.model.modules() if isinstance(m, LoraLinear)]
    rows = random_rows([20, 30])
    before = weights(policy)
    losses = []
    for _ in range(4):
        metrics = policy.forward_backward(rows, sft)
        policy.step(1e-2, metrics["count"])
        losses.append(metrics["loss"])
    assert losses[-1] < losses[0] - 0.5
    unchanged = {name for name, tensor in weights(policy).items() if torch.equal(tensor, before[name])}
    assert unchanged == set()


def test_full_fine_tuning_in_bfloat16_keeps_float32_weights_and_samples_as_it_trains(tied_llama):
    policy = trainable(tied_llama, rank=0, precision="bfloat16")
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}
    rows = random_rows([20])
    # The same network in the same formats before training: the KL starts at 0, not at the noise of rounded weights.
    assert torch.equal(policy.logprobs(rows)[0], policy.reference_logprobs(rows)[0])
    prompt = rows[0].ids
    samples = [k[0] for k in policy.sample([prompt] * 8, Sampling(max_new_tokens=20), seed=0)]
    whole = [Row(prompt + s.ids, [False] * len(prompt) + [True] * len(s.ids)) for s in samples]
    drawn = torch.cat([torch.tensor(s.logprobs) for s in samples])
    trained = torch.cat([x[len(prompt) :] for x in policy.logprobs(whole)])
    exact = Policy.load(tied_llama, ModelSettings(precision="float32"))
    unrounded = torch.cat([x[len(prompt) :] for x in exact.logprobs(whole)])
    # Two roundings of one network, packed and cached: nearer to each other than to the network without rounding.
    assert (drawn - trained).abs().mean() < 0.8 * (drawn - unrounded).abs().mean()
    policy.step(1e-3, policy.forward_backward(rows, sft)["count"])
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}


def test_a_loss_that_is_not_finite_raises_and_leaves_the_weights(tied_llama):
    policy = trainable(tied_llama)
    before = weights(policy)

    def broken(batch: Batch, outputs: Outputs) -> Loss:
        result = sft(batch, outputs)
        return Loss(result.sum * float("nan"), result.count, {})

    with pytest.raises(FloatingPointError, match=r"the loss of rows \[0\] is nan"):
        policy.forward_backward(random_rows([20]), broken)
    assert same(before, weights(policy))


@pytest.mark.parametrize("where", ["adapter", "value head"])
def test_a_gradient_that_is_not_finite_raises_and_leaves_all_weights(tied_llama, where):
    policy = trainable(tied_llama)
    policy.add_value_head(PLAIN)
    count = policy.forward_backward(random_rows([20]), with_values)["count"]
    updater = policy.updater if where == "adapter" else policy.value_updater
    next(iter(updater.named.values())).grad.view(-1)[0] = float("inf")
    before = weights(policy)
    with pytest.raises(FloatingPointError, match="gradient norm is"):
        policy.step(1e-2, count, value_learning_rate=1e-2)
    assert same(before, weights(policy))


def test_the_value_head_starts_at_zero_and_learns_at_its_own_rate(tied_llama):
    policy = trainable(tied_llama)
    policy.add_value_head(PLAIN)
    rows = random_rows([20])
    assert policy.outputs(rows)[0].values.abs().max() == 0
    for _ in range(20):
        count = policy.forward_backward(rows, with_values)["count"]
        policy.step(0.0, count, value_learning_rate=0.05)
    values = policy.outputs(rows)[0].values
    mask = torch.tensor(rows[0].loss_mask)
    assert values[mask].mean() == pytest.approx(1.0, abs=0.3)
    assert values[~mask].abs().max() == 0


@pytest.mark.parametrize("rank", [0, 4])
def test_a_restored_state_goes_on_to_the_bit(tied_llama, tmp_path, rank):
    rows = random_rows([20, 30])

    def steps(policy: Policy, number: int) -> None:
        for _ in range(number):
            count = policy.forward_backward(rows, with_values)["count"]
            policy.step(1e-2, count, value_learning_rate=1e-2)

    straight = trainable(tied_llama, rank=rank)
    straight.add_value_head(PLAIN)
    steps(straight, 2)
    straight.save_state(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}
    steps(straight, 3)

    resumed = trainable(tied_llama, rank=rank)
    resumed.add_value_head(PLAIN)
    resumed.load_state(tmp_path)
    steps(resumed, 3)
    assert same(weights(straight), weights(resumed))
    a, b = straight.reference_logprobs(rows), resumed.reference_logprobs(rows)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_policy_for_sampling_cannot_be_trained(tied_llama):
    policy = Policy.load(tied_llama, ModelSettings(precision="float32"))
    assert not [name for name, p in policy.model.named_parameters() if p.requires_grad]
    with pytest.raises(ValueError, match=r"loaded for sampling; use Policy\.load_for_training"):
        policy.step(1e-3, 1)


# --- models that would be computed wrongly ---


def gemma2(folder):
    return write_tiny_llama(folder, architecture="Gemma2ForCausalLM", final_logit_softcapping=30.0, head_dim=8)


def granite(folder):
    return write_tiny_llama(folder, architecture="GraniteForCausalLM", logits_scaling=8.0)


def bloom(folder):
    return write_tiny_llama(folder, architecture="BloomForCausalLM", n_head=4, n_layer=2)


def gpt2(folder):
    return write_tiny_llama(folder, architecture="GPT2LMHeadModel")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (gemma2, "Gemma2ForCausalLM has final_logit_softcapping = 30.0"),
        (granite, "GraniteForCausalLM has logits_scaling = 8.0"),
        (bloom, "BloomForCausalLM does not use transformers' attention interface"),
        (gpt2, "GPT2LMHeadModel keeps its layers in a way that camelid does not know"),
    ],
)
def test_a_model_that_would_be_computed_wrongly_is_refused(tmp_path, write, message):
    with pytest.raises(ValueError, match=message):
        Policy.load(write(tmp_path), ModelSettings(precision="float32"))
