"""One trunk in memory, several models on it: what each gives alone, bit for bit, and nothing of it twice."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from camelid.models.batch import Row
from camelid.models.lora import Adapter, LoraLinear, lora_layers, using
from camelid.models.lora_targets import add_lora
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.models.sharing import reward_model_beside, view
from camelid.runs import Stage, execute
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.scoring import ScoreSettings
from camelid.types import Prompt, write_records
from tiny import write_tiny_llama

SETTINGS = ModelSettings(precision="float32", lora_rank=4, save_adapter=True)
ROWS = [Row(list(range(5, 5 + n)), [False] + [True] * (n - 1)) for n in (20, 9, 31)]
IDS = torch.arange(3, 23)[None]
ADAM = OptimizerSettings()


def both_losses(batch, outputs) -> Loss:
    """Something of the policy and something of the value head."""
    values = (outputs.values[batch.loss_mask] - 1).square()
    return Loss(values.sum() - outputs.logprobs.sum(), batch.loss_mask.sum(), {})


def stir(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _, layer in lora_layers(model):
        layer.adapter.lora_b.data.normal_(std=0.3, generator=generator)


def storages(*models: nn.Module) -> int:
    """Bytes of all parameters and buffers, what is shared counted once."""
    tensors = [t for model in models for t in (*model.parameters(), *model.buffers())]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


# --- several adapters on one model ---

NAMES = {"policy": (4, "all", 0), "reward": (2, "attention", 1), "critic": (8, "mlp", 0)}
"""Rank, targets and first layer of each."""


@pytest.fixture
def base(tied_llama):
    return AutoModelForCausalLM.from_pretrained(tied_llama, dtype=torch.float32).requires_grad_(False)


def add(model: nn.Module, name: str) -> None:
    rank, targets, first = NAMES[name]
    place = list(NAMES).index(name)
    add_lora(model.model.layers, rank=rank, alpha=6.0, first_layer=first, targets=targets, seed=place, name=name)
    generator = torch.Generator().manual_seed(place)
    for _, layer in lora_layers(model):
        if name in layer.adapters:
            layer.adapters[name].lora_b.data.normal_(std=0.3, generator=generator)


def gradients(model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the gradients of something that depends on all of them."""
    model.zero_grad()
    logits = model(IDS).logits
    logits.logsumexp(-1).square().sum().backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_each_adapter_gives_what_it_gives_alone_values_and_gradients(base):
    together = copy.deepcopy(base)
    for name in NAMES:
        add(together, name)
    for name in NAMES:
        alone = copy.deepcopy(base)
        add(alone, name)
        logits, gradient = gradients(alone)
        with using(together, name):
            shared_logits, shared_gradient = gradients(together)
        assert torch.equal(logits, shared_logits)
        assert gradient.keys() == shared_gradient.keys()
        assert all(torch.equal(gradient[key], shared_gradient[key]) for key in gradient)
        assert all(f".adapters.{name}." in key for key in gradient)
    with using(together, None), torch.no_grad():
        assert torch.equal(together(IDS).logits, base(IDS).logits)


def test_training_one_adapter_leaves_the_others_and_the_trunk_bit_for_bit(base):
    for name in NAMES:
        add(base, name)
    before = {name: p.clone() for name, p in base.named_parameters()}
    with using(base, "reward"):
        optimizer = torch.optim.AdamW([p for name, p in base.named_parameters() if ".reward." in name], lr=0.1)
        gradients(base)
        optimizer.step()
    changed = {name for name, p in base.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if ".reward." in name}


def test_the_choice_nests_comes_back_and_is_of_known_names(base):
    add(base, "policy")
    add(base, "reward")
    with using(base, "policy"):
        with pytest.raises(ZeroDivisionError), using(base, None):
            raise ZeroDivisionError
        assert {layer.active for _, layer in lora_layers(base)} == {"policy"}
    with pytest.raises(ValueError, match="no adapter 'critic'; there are policy, reward"), using(base, "critic"):
        pass
    with pytest.raises(ValueError, match="there is an adapter 'policy' already"):
        add(base, "policy")


def test_a_view_copies_no_number_and_carries_no_adapter(base):
    plain = copy.deepcopy(base)
    before = storages(base)
    add(base, "policy")
    second = view(base)
    assert not list(lora_layers(second))
    assert storages(second) == before
    assert {id(p) for p in second.parameters()} <= {id(p) for p in base.parameters()}
    with torch.no_grad():
        assert torch.equal(second(IDS).logits, plain(IDS).logits)


# --- a policy and its reward model ---


@pytest.fixture(scope="module")
def reward_folder(tied_llama, tmp_path_factory):
    """A reward model on the first of two layers, as model/ and adapter/."""
    reward = RewardModel.create(tied_llama, SETTINGS, ADAM, num_layers=1, seed=3)
    stir(reward.model, seed=3)
    reward.standardise_on(reward.score(ROWS))
    folder = tmp_path_factory.mktemp("reward")
    reward.save(folder / "model", "")
    return folder


@pytest.fixture
def policy(tied_llama) -> Policy:
    policy = Policy.load_for_training(tied_llama, SETTINGS, ADAM, seed=0)
    stir(policy.model, seed=1)
    policy.add_value_head(ADAM)
    return policy


def test_a_reward_model_beside_a_policy_costs_its_adapters_alone(policy, reward_folder):
    before = storages(policy.model)
    reward = reward_model_beside(policy, reward_folder / "adapter")
    added = storages(policy.model, reward.model) - before
    # One layer, 4 numbers for each input and output: q, o 32 + 32, k, v 32 + 16, three of 32 + 64; the head 32.
    assert added == 4 * (4 * (2 * 64 + 2 * 48 + 3 * 96) + 32)
    apart = RewardModel.load(reward_folder / "model", SETTINGS)
    assert storages(apart.model) > 5 * added


def test_policy_reference_values_and_reward_on_one_trunk_are_what_they_are_apart(policy, reward_folder, tied_llama):
    alone = Policy.load_for_training(tied_llama, SETTINGS, ADAM, seed=0)
    stir(alone.model, seed=1)
    alone.add_value_head(ADAM)
    apart = RewardModel.load(reward_folder / "model", SETTINGS)
    reward = reward_model_beside(policy, reward_folder / "adapter")
    start = Policy.load(tied_llama, SETTINGS)
    for _ in range(3):
        scores = reward.score(ROWS)
        # Adapters beside the weights here, in them there: equal but for the order of sums.
        torch.testing.assert_close(scores, apart.score(ROWS), atol=1e-4, rtol=0)
        for a, b in zip(policy.outputs(ROWS), alone.outputs(ROWS), strict=True):
            assert torch.equal(a.logprobs, b.logprobs) and torch.equal(a.values, b.values)
        assert all(map(torch.equal, policy.reference_logprobs(ROWS), start.logprobs(ROWS)))
        for network in (policy, alone):  # in between both train
            network.step(1e-2, network.forward_backward(ROWS, both_losses)["count"], value_learning_rate=1e-2)
        for a, b in zip(policy.updater.named.values(), alone.updater.named.values(), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(reward.score(ROWS), scores)  # the policy moved, the reward model did not


def test_saving_a_policy_knows_nothing_of_its_lodger(policy, reward_folder, tmp_path):
    policy.save(tmp_path / "a" / "model", "")
    reward_model_beside(policy, reward_folder / "adapter").score(ROWS)
    policy.save(tmp_path / "b" / "model", "")
    for file in (tmp_path / "a").rglob("*.safetensors"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


def test_rewards_beside_a_policy_score_as_loaded_ones(policy, reward_folder):
    asked = [Prompt(prompt=({"role": "user", "content": "Who?"},), source="test", licence="CC0-1.0")]
    adapter, model = reward_folder / "adapter", reward_folder / "model"
    beside = Rewards.beside(policy, adapter, adapter, "model").score(asked, ["Me."])
    torch.testing.assert_close(
        beside, Rewards.load(model, None, SETTINGS, "model").score(asked, ["Me."]), atol=1e-4, rtol=0
    )


def test_ppo_with_a_shared_trunk_is_ppo(tied_llama, reward_folder, tmp_path):
    """In float32 the scores differ in their last digits only, so the same tokens are drawn and the same is learnt."""
    prompts = [
        Prompt(prompt=({"role": "user", "content": text},), source="test", licence="CC0-1.0")
        for text in ("Who?", "Why?")
    ]
    write_records(tmp_path / "prompts.jsonl", prompts)
    rows = {}
    for share, folder in ((False, "model"), (True, "adapter")):
        chosen = PpoSettings(
            model=ModelSettings(precision="float32", lora_rank=4),
            sampling=Sampling(max_new_tokens=6),
            num_iterations=3,
            batch_size=4,
            mini_batch_size=2,
            learning_rate=1e-2,
            scoring=ScoreSettings(unfinished_score=None),
            share_trunk=share,
        )
        inputs = {"model": tied_llama, "reward_model": reward_folder / folder, "prompts": tmp_path / "prompts.jsonl"}
        run = execute([Stage("ppo", train_ppo, chosen, inputs)], tmp_path / folder)["ppo"]
        rows[share] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows[True]) == 3
    for apart, shared in zip(rows[False], rows[True], strict=True):
        assert shared == pytest.approx(apart, abs=1e-3, rel=1e-3)
    assert rows[True][-1]["kl"] != rows[True][0]["kl"]


def test_what_cannot_share_says_why(policy, reward_folder, tied_llama, tmp_path):
    with pytest.raises(ValueError, match=r"train the reward model with model\.save_adapter=true"):
        reward_model_beside(policy, reward_folder / "model")
    policy.save(tmp_path / "model", "")
    with pytest.raises(ValueError, match="is the adapter of a language model, not of a reward model"):
        reward_model_beside(policy, tmp_path / "adapter")
    other = Policy.load_for_training(write_tiny_llama(tmp_path / "other", seed=1), SETTINGS, ADAM, seed=0)
    with pytest.raises(ValueError, match="was trained on other weights than this base model's"):
        reward_model_beside(other, reward_folder / "adapter")
    full = Policy.load_for_training(tied_llama, ModelSettings(precision="float32", lora_rank=0), ADAM, seed=0)
    with pytest.raises(ValueError, match="trains its full weights"):
        reward_model_beside(full, reward_folder / "adapter")


# --- the formula ---


@settings(max_examples=40)
@given(
    rank=st.integers(1, 9),
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    rows=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    alpha=st.floats(0.1, 64),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_values_gradients_and_merged_weights_are_the_formulas(rank, sizes, rows, alpha, bias, seed):
    """Against peft's order of operations, x A^T B^T scale, under plain autograd, in float64 to see rounding apart."""
    torch.manual_seed(seed)
    linear = nn.Linear(*sizes, bias=bias).requires_grad_(False)
    layer = LoraLinear(linear)
    layer.add("trained", Adapter(torch.randn(rank, sizes[0]), torch.randn(sizes[1], rank), alpha / rank))
    x, weights = torch.randn(*rows, sizes[0]), torch.randn(*rows, sizes[1])
    ours = [x.clone().requires_grad_(True), layer.adapter.lora_a, layer.adapter.lora_b]
    y = layer(ours[0])
    (y * weights).sum().backward()

    theirs = [t.detach().double().requires_grad_(True) for t in ours]
    plain = nn.functional.linear(theirs[0], linear.weight.double(), linear.bias.double() if bias else None)
    plain = plain + theirs[0] @ theirs[1].T @ theirs[2].T * (alpha / rank)
    (plain * weights.double()).sum().backward()

    largest = 1 + max(t.abs().max().item() for t in (plain.detach(), *(t.grad for t in theirs)))
    torch.testing.assert_close(y.double(), plain, atol=1e-5 * largest, rtol=0)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad.double(), reference.grad, atol=1e-5 * largest, rtol=0)
    merged = nn.functional.linear(x, layer.merged_weight(), linear.bias)
    torch.testing.assert_close(merged.double(), plain, atol=1e-5 * largest, rtol=0)
