"""The value network that begins at a reward model: what it says at first, its gradient, that it learns."""

import pytest
import torch

from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss
from camelid.models.reward_model import RewardModel
from camelid.models.value_model import ValueModel
from tiny import user

PLAIN = OptimizerSettings(weight_decay=0.0)


@pytest.fixture
def reward(tied_llama, tmp_path):
    settings = ModelSettings(precision="float32", lora_rank=4)
    made = RewardModel.create(tied_llama, settings, PLAIN, num_layers=1, seed=3)
    made.score_mean, made.score_std = 0.4, 2.5
    made.save(tmp_path / "reward", "")
    return RewardModel.load(tmp_path / "reward", ModelSettings(precision="float32"))


def value_model(tmp_path, budget=1000, rank=4):
    held = ModelSettings(precision="float32", lora_rank=rank, micro_batch_tokens=budget)
    return ValueModel.begin(tmp_path / "reward", held, PLAIN, seed=0)


def rows():
    draw = torch.Generator().manual_seed(0)
    found = []
    for length in (9, 14, 20, 7):
        ids = torch.randint(0, 300, (length,), generator=draw).tolist()
        mask = [False] * (length // 2) + [True] * (length - length // 2)
        found.append(Row(ids, mask, {"targets": torch.randn(length, generator=draw)}))
    return found


@pytest.mark.parametrize("rank", [4, 0])
def test_a_whole_conversation_is_worth_its_score_at_first(reward, tmp_path, rank):
    read = [reward.row(user(f"Name {n} colours."), "Red and blue.") for n in (2, 3)]
    after = [Row([*row.ids, 5], [False] * len(row.ids) + [True]) for row in read]  # valued: the state before the 5
    values = [v[-1] for v in value_model(tmp_path, rank=rank).values(after)]
    torch.testing.assert_close(torch.stack(values), reward.score(read), rtol=1e-4, atol=1e-4)


def squared(batch, values):
    loss = batch.row_sums((values - batch.values["targets"]) ** 2 * batch.loss_mask).sum()
    return Loss(loss, batch.loss_mask.sum(), {"value_loss": loss})


def test_the_gradient_does_not_depend_on_the_micro_batches(reward, tmp_path):
    gradients = []
    for budget in (1000, 25, 1):
        model = value_model(tmp_path, budget)
        metrics = model.forward_backward(rows(), squared)
        named = model.updater.named.items()
        gradients.append((metrics["value_loss"], {name: p.grad.clone() for name, p in named if p.grad is not None}))
    (loss, expected), *others = gradients
    assert "score.bias" in expected and len(expected) > 3
    for other_loss, other in others:
        assert other_loss == pytest.approx(loss, rel=1e-5)
        for name, gradient in expected.items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_it_learns_and_its_state_comes_back_exactly(reward, tmp_path):
    model = value_model(tmp_path)
    losses = []
    for _ in range(30):
        losses.append(model.forward_backward(rows(), squared)["value_loss"])
        model.step(1e-2, 20.0)
    assert losses[-1] < 0.7 * losses[0]
    (tmp_path / "state").mkdir()
    model.save_state(tmp_path / "state")
    other = value_model(tmp_path)
    other.load_state(tmp_path / "state")
    assert all(torch.equal(a, b) for a, b in zip(model.values(rows()), other.values(rows()), strict=True))
    for one in (model, other):
        one.forward_backward(rows(), squared)
        one.step(1e-2, 20.0)
    assert all(torch.equal(a, b) for a, b in zip(model.values(rows()), other.values(rows()), strict=True))
