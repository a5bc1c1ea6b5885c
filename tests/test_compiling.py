"""Compiled layers: the same losses and gradients, and no new graph for a micro-batch of another length.

With torch's `aot_eager` for a backend, which traces and differentiates as the real one does and needs no compiler.
"""

from __future__ import annotations

import copy

import pytest
import torch

from camelid.models import attention, compiling
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.recomputing import Again
from camelid.models.sampling import Sampling
from camelid.models.trained import as_given
from camelid.train.sft import loss


@pytest.fixture
def aot_eager(monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    compiling.why_not.cache_clear()
    yield
    attention.register()
    torch._dynamo.reset()


def rows(seed: int, number: int, shared: int = 0) -> list[Row]:
    """Rows of 5 to 60 tokens; all begin with the same `shared`."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(number):
        length = int(torch.randint(5, 60, (1,), generator=generator))
        ids = [*range(50, 50 + shared), *torch.randint(0, 300, (length,), generator=generator).tolist()]
        mask = [False] * (shared + 2) + [True] * (length - 2)
        found.append(Row(ids, mask, {"weights": torch.ones(len(ids))}))
    return found


def load(path, **settings) -> Policy:
    held = ModelSettings(**{"precision": "float32", "micro_batch_tokens": 128} | settings)
    return Policy.load_for_training(path, held, OptimizerSettings(), seed=0)


def trained(path, how: str, batches, **settings) -> tuple[list[float], list[torch.Tensor], Policy]:
    """Loss and gradient norm of each batch's step, the gradients of the last."""
    policy = load(path, compile=how, **settings)
    policy.compile_for(1)
    numbers = []
    for batch in batches:
        metrics = policy.forward_backward(batch, loss)
        numbers.append(metrics["loss"])
        numbers.append(policy.step(1e-2, metrics["count"]))
    policy.forward_backward(batches[0], loss)
    return numbers, [p.grad for p in policy.model.parameters() if p.grad is not None], policy


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["never", "always"])
@pytest.mark.parametrize("rank", [0, 4])
def test_losses_and_gradients_are_those_of_plain_layers(tied_llama, aot_eager, rank, checkpointing):
    batches = [rows(seed, 6) for seed in range(3)] + [rows(7, 4, shared=40)]
    settings = {"lora_rank": rank, "checkpointing": checkpointing}
    (expected, slopes, _), (got, own, policy) = (
        trained(tied_llama, how, batches, **settings) for how in ("never", "always")
    )
    layer = policy.model.base_model.layers[0]
    inner = layer.forward.forward if isinstance(layer.forward, Again) else layer.forward
    assert isinstance(inner, compiling.Compiled)
    assert got == pytest.approx(expected, rel=1e-4)
    assert len(own) == len(slopes) > 5
    for a, b in zip(own, slopes, strict=True):
        assert (a - b).norm() <= 1e-3 * b.norm()  # after four steps of Adam, which enlarges what rounding leaves


@pytest.mark.slow
def test_other_lengths_and_numbers_of_rows_need_no_new_graph(tied_llama, aot_eager):
    from torch._dynamo.utils import counters

    policy = load(tied_llama, compile="always", lora_rank=4, checkpointing="never")
    policy.compile_for(1)

    def graphs() -> int:
        return counters["stats"]["unique_graphs"]

    counters.clear()
    policy.forward_backward(rows(0, 6), loss)
    first = graphs()
    assert first > 0
    for seed in range(1, 9):
        policy.forward_backward(rows(seed, 3 + seed % 5), loss)
        policy.forward_backward(rows(seed, 4, shared=40), loss)
    once = graphs()
    assert once <= first + 1  # on a CPU the attended states of a row alone are a view, which is a graph of its own
    for seed in range(9, 13):
        policy.forward_backward(rows(seed, 3 + seed % 5), loss)
    assert graphs() == once
    policy.logprobs(rows(1, 3))  # without gradients they are others, once
    second = graphs()
    for seed in range(2, 6):
        policy.logprobs(rows(seed, seed))
    assert graphs() == second <= 2 * once


@pytest.mark.slow
def test_the_reference_and_a_copied_layer_are_what_they_were(tied_llama, aot_eager):
    """Adapters off, in a compiled model; and a copy's layers compute with the copy's weights."""
    policy, plain = (load(tied_llama, compile=how, lora_rank=4, checkpointing="never") for how in ("always", "never"))
    policy.compile_for(1)
    before = plain.logprobs(rows(0, 4))
    metrics = policy.forward_backward(rows(0, 4), loss)
    policy.step(1e-1, metrics["count"])
    with as_given(policy.model):
        for a, b in zip(policy.logprobs(rows(0, 4)), before, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    copied = copy.deepcopy(policy.model)
    layer, other = policy.model.base_model.layers[0], copied.base_model.layers[0]
    assert other.forward.forward.__self__ is other
    assert layer.forward.forward.__self__ is layer


def test_sampling_goes_by_the_plain_layers(tied_llama, aot_eager):
    policy, plain = (load(tied_llama, compile=how, lora_rank=4) for how in ("always", "never"))
    policy.compile_for(1)
    prompts, how = [[60, 61, 62], [70, 71]], Sampling(max_new_tokens=5)
    assert policy.sample(prompts, how, seed=0) == plain.sample(prompts, how, seed=0)


def test_auto_compiles_nothing_on_a_cpu_and_never_nothing_at_all(tied_llama):
    for how in ("auto", "never"):
        policy = load(tied_llama, compile=how)
        policy.compile_for(1e30)
        assert not isinstance(getattr(policy.model.base_model.layers[0].forward, "forward", None), compiling.Compiled)


def test_a_machine_without_a_compiler_says_so(tied_llama, monkeypatch, capsys):
    def absent(*_, **__):
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.\nmore")

    compiling.why_not.cache_clear()
    monkeypatch.setattr(torch, "compile", absent)
    with pytest.raises(ValueError, match=r"model\.compile=always.*Failed to find C compiler.*set it to never"):
        load(tied_llama, compile="always").compile_for(1)
    monkeypatch.setattr(compiling, "PAYS_FROM", 0)
    policy = load(tied_llama, compile="auto")
    monkeypatch.setattr(compiling, "COMPILED_ON", ("cpu",))
    policy.compile_for(1)
    assert "not compiled" in capsys.readouterr().err
    compiling.why_not.cache_clear()


def test_residual_dropout_is_not_compiled(tied_llama):
    policy = load(tied_llama, compile="always")
    policy.add_residual_dropout(0.3)
    with pytest.raises(ValueError, match=r"residual dropout.*model\.compile=never"):
        policy.compile_for(1)
