"""Activation checkpointing: the same loss and gradients, less memory, as few layers as the memory asks for."""

import pytest
import torch

from camelid.models import recomputing
from camelid.models.batch import Row
from camelid.models.master_weights import in_format
from camelid.models.memory import Training
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.shape import Shape
from camelid.train.sft import loss

LENGTHS = (7, 13, 5)
EXTENTS = [(length, length) for length in LENGTHS]
SHAPE = Shape(
    hidden=4, intermediate=8, layers=3, heads=2, kv_heads=1, head_width=2, vocabulary=10, has_head=False, file_bytes=4
)


def rows():
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(0, 300, (length,), generator=generator).tolist() for length in LENGTHS]
    return [Row(row, [False] * 2 + [True] * (len(row) - 2), {"weights": torch.ones(len(row))}) for row in ids]


def with_one_beginning():
    """The same rows behind 20 common tokens, which are computed once."""
    more = [False] * 20
    return [
        Row([*range(50, 70), *row.ids], more + row.loss_mask, {"weights": torch.ones(20 + len(row.ids))})
        for row in rows()
    ]


def gradients(path, made=rows, **settings):
    policy = Policy.load_for_training(path, ModelSettings(**settings), OptimizerSettings(), seed=0)
    policy.forward_backward(made(), loss)  # B of the adapters is zero: only now does A get a gradient
    policy.step(1e-2, 1.0)
    metrics = policy.forward_backward(made(), loss)
    return metrics["loss"], {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [0, 4])
def test_loss_and_gradients_are_the_same_bit_by_bit(llama, rank, precision):
    with_all, kept = (
        gradients(llama, lora_rank=rank, precision=precision, micro_batch_tokens=20, checkpointing=how)
        for how in ("always", "never")
    )
    assert with_all[0] == kept[0]
    assert with_all[1].keys() == kept[1].keys() and len(kept[1]) > 10
    for name, gradient in kept[1].items():
        assert torch.equal(with_all[1][name], gradient), name


def test_a_common_beginning_is_computed_again_too(tied_llama):
    settings = {"lora_rank": 0, "precision": "float32", "micro_batch_tokens": 60}
    assert any(b.branches for b in Policy.load(tied_llama, ModelSettings(**settings))._batches(with_one_beginning()))
    with_all, kept = (
        gradients(tied_llama, with_one_beginning, checkpointing=how, **settings) for how in ("always", "never")
    )
    assert with_all[0] == kept[0]
    assert all(torch.equal(with_all[1][name], gradient) for name, gradient in kept[1].items())


def test_a_reward_model_and_layers_without_adapters(tied_llama):
    def parted(scores, rows):
        return Loss((scores[1::2] - scores[0::2]).exp().sum(), torch.tensor(len(scores) // 2), {})

    def trained(how):
        settings = ModelSettings(lora_rank=4, lora_first_layer=1, checkpointing=how, micro_batch_tokens=20)
        reward = RewardModel.create(tied_llama, settings, OptimizerSettings(), num_layers=None, seed=0)
        first, second, third = rows()
        metrics = reward.forward_backward([(first, second), (second, third)], parted)
        return metrics["loss"], [p.grad for p in reward.model.parameters() if p.grad is not None]

    (loss_always, always), (loss_never, never) = trained("always"), trained("never")
    assert loss_always == loss_never
    assert all(torch.equal(a, b) for a, b in zip(always, never, strict=True))


def saved_bytes(path, **settings):
    """Bytes that a forward pass keeps for the backward pass, a storage counted once, weights left out."""
    policy = Policy.load_for_training(path, ModelSettings(**settings), OptimizerSettings(), seed=0)
    cast = [in_format(p, policy.compute.dtype) for p in policy.model.parameters()]  # kept beside the weights anyway
    weights = {p.untyped_storage().data_ptr() for p in [*policy.model.parameters(), *cast]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    [batch] = policy._batches(rows())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = policy.trunk.hidden(batch)
    assert hidden.requires_grad
    return sum(kept.values()), policy


def test_a_layer_that_is_computed_again_keeps_its_input_alone(tied_llama):
    kept, _ = saved_bytes(tied_llama, lora_rank=0, precision="float32", checkpointing="always")
    # Two inputs of 25 x 32 float32; after the layers the last norm keeps its input and a factor a token; and there are
    # the ids of 25 tokens. Cosines and sines, which all layers share, are not seen by the hook.
    assert kept == 2 * 25 * 32 * 4 + 25 * 32 * 4 + 25 * 4 + 25 * 8


@pytest.mark.parametrize(("rank", "precision"), [(0, "float32"), (0, "bfloat16"), (4, "float32"), (4, "bfloat16")])
def test_what_a_layer_keeps_is_what_is_counted(tied_llama, rank, precision):
    """The difference of never and always, so that only layers are compared."""
    always, _ = saved_bytes(tied_llama, lora_rank=rank, precision=precision, checkpointing="always")
    never, policy = saved_bytes(tied_llama, lora_rank=rank, precision=precision, checkpointing="auto")
    [layer] = {layer.forward.wanted.__self__ for layer in policy.model.base_model.layers}
    training = layer.training
    tokens, length = sum(LENGTHS), sum(n * n for n in LENGTHS) / sum(LENGTHS)
    counted = 2 * tokens * (training.layer_bytes(length) - training.input_bytes)
    if rank and precision == "bfloat16":
        counted += 2 * training.trained  # copies of the adapters, which are large beside so small a layer
    assert never - always == pytest.approx(counted, rel=0.15)


def test_no_more_layers_than_the_memory_asks_for(tied_llama, monkeypatch):
    monkeypatch.setattr(recomputing, "free_bytes", lambda device: 10**12)
    whole, policy = saved_bytes(tied_llama, lora_rank=0, precision="float32")
    own = policy.model.base_model.layers[0].forward.wanted.__self__
    assert own.layers(EXTENTS) == 0
    tokens, length = sum(LENGTHS), sum(n * n for n in LENGTHS) / sum(LENGTHS)
    own.room = own.training.kept_bytes(tokens, length, 1)
    assert own.layers(EXTENTS) == 1
    assert own.layers([(2, 2), (3, 3)]) == 0  # a smaller micro-batch fits as it is
    own.room -= 1
    assert own.layers(EXTENTS) == 2
    monkeypatch.setattr(recomputing, "free_bytes", lambda device: 0)
    assert saved_bytes(tied_llama, lora_rank=0, precision="float32")[0] < whole


def test_fewest_layers():
    training = Training.of(SHAPE, ModelSettings(lora_rank=0), 4)
    one, small = training.layer_bytes(10), training.input_bytes
    assert training.kept_bytes(10, 10, 0) == 10 * 4 * one  # three layers and one at work
    assert training.kept_bytes(10, 10, 2) == 10 * (2 * one + 2 * small)
    assert [training.layers_to_recompute(10, 10, training.kept_bytes(10, 10, n)) for n in range(4)] == [0, 1, 2, 3]
    assert training.layers_to_recompute(10, 10, 0) == 3  # no more than there are


def test_nothing_is_computed_again_where_nothing_trains(tied_llama, monkeypatch):
    settings = ModelSettings(checkpointing="always")
    policy = Policy.load_for_training(tied_llama, settings, OptimizerSettings(), seed=0)
    monkeypatch.setattr(recomputing, "checkpoint", None)
    assert len(policy.logprobs(rows())) == 3


def test_free_memory_is_what_the_system_says():
    assert 10**7 < recomputing.free_ram_bytes() < 10**14
