"""Sampling with copies of the weights: what they give, when they are made anew, and what is left of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camelid.models.int8_weights import KERNEL_ROWS, Int8Linear, int8_weights
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import EngineSettings, Sample, Sampling
from camelid.models.stand_ins import linear_layers

PROMPTS = [[60, 61, 62], [70, 71], list(range(80, 100))]


def train(path, rank=4, precision="float32") -> Policy:
    settings = ModelSettings(lora_rank=rank, precision=precision)
    policy = Policy.load_for_training(path, settings, OptimizerSettings(), seed=0)
    for name, parameter in policy.model.named_parameters():
        if "lora_b" in name:  # zero at the start, where an adapter that was left out would not show
            nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    return policy


def draw(policy: Policy, weights: str, samples: int = 2, **more) -> list[Sample]:
    how = Sampling(max_new_tokens=10, engine=EngineSettings(weights=weights), **more)
    return [s for found in policy.sample(PROMPTS, how, seed=3, num_samples=samples) for s in found]


def replaced(policy: Policy) -> list[object]:
    return [vars(module).get("forward") for module in policy.model.modules()]


@pytest.mark.parametrize("rank", [0, 4])
def test_packed_weights_draw_what_the_own_ones_draw(tied_llama, rank):
    policy = train(tied_llama, rank)
    before = replaced(policy)
    own, packed = draw(policy, "own"), draw(policy, "packed")
    for a, b in zip(own, packed, strict=True):
        assert a.ids == b.ids
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
    assert replaced(policy) == before  # what was fused for training is fused again


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("rank", [0, 4])
def test_eight_bits_are_a_model_with_rounded_weights(tied_llama, rank, samples):
    """For three rows by the kernel, for twelve without it: both as a model whose weights are q s to begin with."""
    policy, rounded = train(tied_llama, rank), Policy.load(tied_llama, ModelSettings(precision="float32"))
    targets = dict(rounded.model.named_modules())
    assert len(PROMPTS) <= KERNEL_ROWS < 4 * len(PROMPTS)
    for module, weight, _ in linear_layers(policy.model):
        name = next(name for name, own in policy.model.named_modules() if own is module)
        made = Int8Linear(weight, None, torch.float32)
        error = (made.weight * made.scale[:, None] - weight).abs()
        assert bool((error <= made.scale[:, None] / 2 * 1.001).all())
        assert made.weight.abs().amax() == 127
        if name == "lm_head":  # tied: its rounding is not the embedding's
            targets[name].weight = nn.Parameter(made.weight * made.scale[:, None])
        else:
            targets[name].weight.data = made.weight * made.scale[:, None]
    for a, b in zip(draw(policy, "int8", samples), draw(rounded, "own", samples), strict=True):
        assert a.ids == b.ids
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


@pytest.mark.parametrize("weights", ["packed", "int8"])
def test_copies_follow_the_weights(tied_llama, weights):
    from camelid.models.batch import Row
    from camelid.train.sft import loss

    policy = train(tied_llama)
    first = draw(policy, weights)
    made = policy.copies.forwards
    assert [s.ids for s in draw(policy, weights)] == [s.ids for s in first]
    assert policy.copies.forwards is made  # nothing has changed, nothing is copied again
    row = Row([5, 6, 7, 8], [False, True, True, True], {"weights": torch.ones(4)})
    policy.step(0.5, policy.forward_backward([row], loss)["count"])
    assert [s.logprobs for s in draw(policy, weights)] != [s.logprobs for s in first]
    assert policy.copies.forwards is not made
    draw(policy, "own")
    assert not policy.copies.forwards  # and the memory is given back


def test_eight_bits_in_bfloat16_are_close(tied_llama):
    """Rounding to eight bits moves a tiny model's log-probabilities by hundredths of a nat."""
    policy = train(tied_llama, precision="bfloat16")
    own, coarse = draw(policy, "own", temperature=0.0), draw(policy, "int8", temperature=0.0)
    gaps = [abs(a.logprobs[0] - b.logprobs[0]) for a, b in zip(own, coarse, strict=True)]
    assert max(gaps) < 0.2
    assert max(gaps) > 0  # or nothing was rounded


def test_biases_stay():
    torch.manual_seed(0)
    layer = nn.Linear(32, 16)
    ((_, made),) = int8_weights(nn.Sequential(layer), torch.float32).items()
    for rows in (1, 40):
        x = torch.randn(2, rows, 32)
        torch.testing.assert_close(made(x), layer(x), atol=0.05, rtol=0)


def test_eight_bits_are_for_a_cpu():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"engine\.weights=int8 is for a CPU, and the model is on meta: set it to own"):
        int8_weights(model, torch.bfloat16)
