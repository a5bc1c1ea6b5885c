"""Reward models: what they read, what they learn, and that others read the same scores from the saved folder."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from camelid.functional.ranking import ranking_loss
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss
from camelid.models.reward_model import RewardModel
from camelid.types import Message
from test_batch import random_rows
from test_saving import pickles
from tiny import user, write_tiny_llama

CONVERSATIONS = [
    (user("Hello there!"), "Hi, how are you?"),
    (user("Name two colours."), "Red and blue, blue and red, and then some more of them, which is longer."),
    (user("What is the capital of France?"), "P"),
    (user("Tell me more."), "A llama is a camelid."),
]


def create(folder, *, num_layers=None, rank=4, budget=1000, chat_format="model", seed=0) -> RewardModel:
    settings = ModelSettings(precision="float32", lora_rank=rank, micro_batch_tokens=budget)
    optimizer = OptimizerSettings(weight_decay=0.0)
    return RewardModel.create(folder, settings, optimizer, num_layers=num_layers, seed=seed, chat_format=chat_format)


def random_pairs(number: int, seed: int = 0) -> list[tuple[Row, Row]]:
    rows = random_rows([5 + (7 * i) % 23 for i in range(2 * number)], seed)
    return list(zip(rows[0::2], rows[1::2], strict=True))


def ranking(scores: Tensor, rows: Tensor) -> Loss:
    chosen, rejected = scores[0::2], scores[1::2]
    total, count = ranking_loss(chosen, rejected, torch.zeros(len(chosen)))
    return Loss(total, count, {"accuracy": (chosen > rejected).float().sum()})


def train(reward: RewardModel, steps: int = 3) -> list[float]:
    losses = []
    for _ in range(steps):
        metrics = reward.forward_backward(random_pairs(6), ranking)
        reward.step(1e-2, metrics["count"])
        losses.append(metrics["loss"])
    return losses


def conversation_rows(reward: RewardModel) -> list[Row]:
    return [reward.row(messages, completion) for messages, completion in CONVERSATIONS]


# --- what it computes ---


def test_a_score_is_the_heads_product_with_the_last_state(llama):
    reward = create(llama)
    rows = random_rows([9, 1, 17])
    whole = transformers.AutoModel.from_pretrained(llama, dtype=torch.float32)
    for row, score in zip(rows, reward.score(rows), strict=True):
        with torch.no_grad():
            last = whole(torch.tensor([row.ids])).last_hidden_state[0, -1]
        assert score.item() == pytest.approx((reward.model.score.weight[0] @ last).item(), abs=1e-4)


def test_scores_do_not_depend_on_packing_or_order(tied_llama):
    rows = [row for pair in random_pairs(6) for row in pair]
    whole = create(tied_llama).score(rows)
    for budget in (1, 40):
        reward = create(tied_llama, budget=budget)
        torch.testing.assert_close(reward.score(rows), whole, atol=1e-5, rtol=0)
        torch.testing.assert_close(reward.score(rows[::-1]), whole.flip(0), atol=1e-5, rtol=0)


def test_a_trunk_may_be_cut_after_its_first_layers(tied_llama, tmp_path):
    reward = create(tied_llama, num_layers=1)
    assert len(reward.model.base_model.layers) == 1
    train(reward)
    reward.save(tmp_path, "")
    assert len(RewardModel.load(tmp_path).model.base_model.layers) == 1
    for wrong in (0, 3):
        with pytest.raises(ValueError, match=f"num_layers = {wrong}, but the model has 2 layers"):
            create(tied_llama, num_layers=wrong)


def test_the_head_is_drawn_small_and_by_the_seed(tied_llama):
    a, b, c = (create(tied_llama, seed=seed).model.score.weight for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.std().item() == pytest.approx(33**-0.5, rel=0.4)  # N(0, 1 / (32 + 1)), from 32 draws


# --- what it learns ---


@pytest.mark.parametrize("rank", [0, 4])
def test_it_learns_to_rank(llama, rank):
    reward = create(llama, rank=rank)
    losses = train(reward, 12)
    assert losses[-1] < 0.7 * losses[0]
    assert reward.forward_backward(random_pairs(6), ranking)["accuracy"] == 1.0


def test_the_gradient_does_not_depend_on_the_micro_batches_and_pairs_keep_their_numbers(tied_llama):
    """A weight a pair, found by the number that the loss is given, so that a mix-up would show."""
    weights = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])

    def weighted(scores: Tensor, rows: Tensor) -> Loss:
        pairs = rows[0::2] // 2
        return Loss((weights[pairs] * (scores[0::2] - scores[1::2])).sum(), torch.tensor(len(pairs)), {})

    results = []
    for budget in (1, 50, 1000):
        reward = create(tied_llama, budget=budget)
        metrics = reward.forward_backward(random_pairs(6), weighted)
        results.append((metrics, {name: p.grad for name, p in reward.updater.named.items()}))
    (metrics, gradients), *others = results
    assert metrics["count"] == 6
    for other_metrics, other_gradients in others:
        assert other_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(other_gradients[name], gradient, rtol=1e-3, atol=1e-3, msg=name)


def test_an_infinite_loss_names_its_rows_and_leaves_the_weights(tied_llama):
    reward = create(tied_llama)
    before = {name: p.detach().clone() for name, p in reward.updater.named.items()}
    with pytest.raises(FloatingPointError, match=r"the loss of rows \[.*\] is inf"):
        reward.forward_backward(
            random_pairs(2), lambda scores, rows: Loss(scores.sum() * 0 + torch.inf, torch.tensor(2), {})
        )
    assert all(torch.equal(p, before[name]) for name, p in reward.updater.named.items())


def test_a_restored_state_goes_on_to_the_bit(tied_llama, tmp_path):
    straight, resumed = create(tied_llama), create(tied_llama)
    train(straight, 2)
    straight.save_state(tmp_path)
    resumed.load_state(tmp_path)
    train(straight, 2), train(resumed, 2)
    rows = random_rows([9, 17])
    assert torch.equal(straight.score(rows), resumed.score(rows))
    assert pickles(tmp_path) == []


def test_a_model_for_scoring_cannot_be_trained(tied_llama, tmp_path):
    create(tied_llama).save(tmp_path, "")
    with pytest.raises(ValueError, match=r"loaded for scoring; use RewardModel\.create"):
        RewardModel.load(tmp_path).step(1e-3, 1)


# --- scale ---


def test_scores_are_standardised_on_given_ones_and_stay_so_when_loaded(tied_llama, tmp_path):
    reward = create(tied_llama)
    rows = random_rows([9, 17, 5, 30, 12])
    raw = reward.score(rows)
    reward.standardise_on(raw)
    scores = reward.score(rows)
    assert scores.mean().item() == pytest.approx(0, abs=1e-5)
    assert scores.std().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(scores * reward.score_std + reward.score_mean, raw, atol=1e-5, rtol=1e-5)
    # Again, on scores that are standardised already: those of other rows now have mean 0.
    others = random_rows([8, 20, 11], seed=1)
    reward.standardise_on(reward.score(others))
    assert reward.score(others).mean().item() == pytest.approx(0, abs=1e-5)
    reward.save(tmp_path, "")
    again = RewardModel.load(tmp_path, ModelSettings(precision="float32"))
    torch.testing.assert_close(again.score(rows), reward.score(rows), atol=1e-4, rtol=1e-4)


def test_equal_scores_do_not_divide_by_zero(tied_llama):
    reward = create(tied_llama)
    reward.standardise_on(torch.full((4,), 2.5))
    assert torch.isfinite(reward.score(random_rows([9]))).all()


def test_a_new_reward_model_on_the_trunk_of_another_has_a_scale_of_its_own(tied_llama, tmp_path):
    old = create(tied_llama)
    old.standardise_on(torch.tensor([5.0, 9.0]))
    old.temperature = 3.0
    old.save(tmp_path, "")
    new = create(tmp_path)
    assert (new.score_mean, new.score_std, new.temperature) == (0.0, 1.0, 1.0)


def test_scores_are_shifted_to_those_of_demonstrations_and_keep_their_unit(tied_llama):
    reward = create(tied_llama)
    rows, others = random_rows([9, 17, 5]), random_rows([8, 20], seed=1)
    raw = reward.score(rows), reward.score(others)
    reward.standardise_on(raw[1])
    reward.shift_to(reward.score(rows))  # takes the scale's place
    torch.testing.assert_close(reward.score(rows), raw[0] - raw[0].mean(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(reward.raw(reward.score(others)), raw[1], atol=1e-5, rtol=1e-5)


def test_probabilities_are_of_raw_scores_over_the_temperature_and_both_are_kept_on_disk(tied_llama, tmp_path):
    reward = create(tied_llama)
    rows = random_rows([9, 17])
    first, second = reward.score(rows)
    reward.standardise_on(torch.tensor([-1.0, 7.0]))
    reward.temperature = 2.5
    # Whatever the scale: raw gap / 2.5.
    assert reward.preference_logits(*reward.score(rows)).item() == pytest.approx(
        (first - second).item() / 2.5, rel=1e-4
    )
    reward.save(tmp_path / "whole", "")
    reward.settings = reward.settings.model_copy(update={"save_adapter": True})
    reward.save(tmp_path / "both", "")
    for folder in ("whole", "adapter"):
        again = RewardModel.load(tmp_path / folder, ModelSettings(precision="float32"))
        assert (again.score_mean, again.score_std, again.temperature) == (
            reward.score_mean,
            reward.score_std,
            reward.temperature,
        )


# --- others read the same ---


@pytest.mark.parametrize("chat_format", ["model", "vicuna"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_transformers_reads_our_raw_scores_from_padded_batches(llama, tmp_path, chat_format, side):
    """The source tokenizer's padding is its end of turn: read with it, scores would be those before the turn's end."""
    reward = create(llama, chat_format=chat_format)
    assert reward.tokenizer.pad_token_id == reward.chat.stop_ids[0]
    train(reward)
    reward.standardise_on(reward.score(random_rows([9, 17, 5])))
    reward.save(tmp_path, "# card\n")

    model, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    assert model.config.num_labels == 1
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, padding_side=side)
    batch = tokenizer.apply_chat_template(
        [
            [*(m.model_dump() for m in messages), Message(role="assistant", content=completion).model_dump()]
            for messages, completion in CONVERSATIONS
        ],
        padding=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert (batch["attention_mask"] == 0).any()
    rows = conversation_rows(reward)
    for row, ids, mask in zip(rows, batch["input_ids"], batch["attention_mask"], strict=True):
        assert ids[mask.bool()].tolist() == list(row.ids)
    with torch.no_grad():
        theirs = model(**batch).logits
    assert theirs.shape == (len(rows), 1)
    ours = reward.score(rows) * reward.score_std + reward.score_mean
    torch.testing.assert_close(theirs[:, 0], ours, atol=1e-4, rtol=0)


def test_the_saved_folder_says_what_it_is(tied_llama, tmp_path):
    reward = create(tied_llama)
    reward.save(tmp_path, "# card\n")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert config["camelid"] == {"score_mean": 0.0, "score_std": 1.0, "temperature": 1.0}
    assert config["pad_token_id"] not in reward.chat.stop_ids
    assert pickles(tmp_path) == []
    assert reward.tokenizer.pad_token_id == reward.chat.stop_ids[0]  # the one in memory is left as it was


def test_a_cut_conversation_is_read_at_its_cut(tied_llama):
    reward = create(tied_llama)
    messages, completion = CONVERSATIONS[1]
    whole = reward.row(messages, completion)
    cut = reward.row(messages, completion, max_tokens=len(whole.ids) - 4)
    assert list(cut.ids) == list(whole.ids)[:-4]
    assert reward.score([cut]).item() != pytest.approx(reward.score([whole]).item(), abs=1e-3)


def test_a_model_without_the_attention_interface_is_refused(tmp_path):
    folder = write_tiny_llama(tmp_path, architecture="BloomForCausalLM", n_head=4, n_layer=2)
    with pytest.raises(ValueError, match="BloomForSequenceClassification does not use transformers' attention"):
        create(folder)
