"""Packed rows against rows by themselves, and against transformers' own attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM

from camelid.functional.packing import position_ids
from camelid.functional.sft import sft_loss
from camelid.models import attention, block_attention
from camelid.models.batch import Batch, Row, make_batches
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from tiny import write_tiny_llama

CPU = torch.device("cpu")


def random_rows(lengths: list[int], seed: int = 0) -> list[Row]:
    """Rows of these lengths; about two thirds of the tokens train."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        ids = torch.randint(0, 420, (length,), generator=generator).tolist()
        mask = (torch.rand(length, generator=generator) < 0.66).tolist()
        rows.append(Row(ids, [False, *mask[1:]]))
    return rows


def own_logprobs(folder, row: Row, temperature: float = 1.0) -> Tensor:
    """(T,) by transformers' own model and attention, 0 where nothing trains."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    with torch.no_grad():
        logits = model(torch.tensor([row.ids])).logits[0, :-1] / temperature
    logprobs = logits.log_softmax(-1).gather(-1, torch.tensor(row.ids[1:])[:, None])[:, 0]
    return torch.cat([torch.zeros(1), logprobs * torch.tensor(row.loss_mask[1:])])


def sft(batch: Batch, outputs: Outputs) -> Loss:
    total, count = sft_loss(outputs.logprobs, batch.loss_mask)
    return Loss(total, count, {"twice": 2 * total})


# --- packing ---

row_lengths = st.lists(st.integers(1, 30), min_size=1, max_size=12)


@given(lengths=row_lengths, budget=st.integers(1, 64))
def test_rows_of_arrays_pack_like_rows_of_lists(lengths, budget):
    rows = random_rows(lengths)
    arrays = [Row(np.array(row.ids, dtype=np.int32), np.array(row.loss_mask)) for row in rows]
    for a, b in zip(*(make_batches([[row] for row in kind], budget, CPU) for kind in (rows, arrays)), strict=True):
        assert (a.rows, a.segment_lengths) == (b.rows, b.segment_lengths)
        assert a.positions[0].tolist() == position_ids(a.segment_lengths)
        for mine, their in ((a.ids, b.ids), (a.positions, b.positions), (a.loss_mask, b.loss_mask)):
            assert mine.dtype == their.dtype
            assert torch.equal(mine, their)


@given(lengths=row_lengths, budget=st.integers(1, 64))
def test_every_row_is_packed_once_and_unpacks_to_itself(lengths, budget):
    rows = [Row(r.ids, r.loss_mask, {"x": torch.arange(len(r.ids)) + 0.5}) for r in random_rows(lengths)]
    seen = []
    for batch in make_batches([[row] for row in rows], budget, CPU):
        assert batch.ids.shape[1] <= budget or len(batch.rows) == 1
        for index, ids in batch.unpack(batch.ids):
            assert ids.tolist() == rows[index].ids
            seen.append(index)
        assert all(mask.tolist() == rows[i].loss_mask for i, mask in batch.unpack(batch.loss_mask))
        assert all(p.tolist() == list(range(lengths[i])) for i, p in batch.unpack(batch.positions))
        assert all(torch.equal(x, rows[i].values["x"]) for i, x in batch.unpack(batch.values["x"]))
    assert sorted(seen) == list(range(len(rows)))


@given(lengths=row_lengths, budget=st.integers(1, 64))
def test_row_sums_are_over_what_trains_whatever_stands_elsewhere(lengths, budget):
    rows = []
    for r in random_rows(lengths + lengths):
        mask = torch.tensor(r.loss_mask)
        rows.append(Row(r.ids, r.loss_mask, {"x": torch.where(mask, torch.arange(len(r.ids)) + 0.5, torch.nan)}))
    pairs = [rows[i : i + 2] for i in range(0, len(rows), 2)]
    found = {}
    for batch in make_batches(pairs, budget, CPU):
        assert [row + 1 for row in batch.rows[0::2]] == batch.rows[1::2]  # the second row of a pair is at its side
        found.update(zip(batch.rows, batch.row_sums(batch.values["x"]).tolist(), strict=True))
    assert found == {i: row.values["x"].nansum().item() for i, row in enumerate(rows)}


@given(
    pairs=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=8), budget=st.integers(1, 64)
)
def test_the_rows_of_a_group_stay_side_by_side(pairs, budget):
    groups = [random_rows(list(pair)) for pair in pairs]
    batches = make_batches(groups, budget, CPU)
    for batch in batches:
        assert batch.rows[1::2] == [row + 1 for row in batch.rows[0::2]]
    assert sorted(row // 2 for batch in batches for row in batch.rows[0::2]) == list(range(len(groups)))


def test_a_row_that_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="3 ids but a loss mask of 2"):
        Row([1, 2, 3], [False, True])
    with pytest.raises(ValueError, match="first token of a row cannot train"):
        Row([1, 2], [True, True])


# --- packed rows through the model ---


def test_packed_rows_have_the_logprobs_of_rows_by_themselves_and_of_transformers(llama):
    rows = random_rows([1, 2, 17, 9, 30, 5])
    expected = [own_logprobs(llama, row) for row in rows]
    for budget in (1, 20, 1000):
        policy = Policy.load(llama, ModelSettings(precision="float32", micro_batch_tokens=budget))
        for got, want in zip(policy.logprobs(rows), expected, strict=True):
            torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "MistralForCausalLM"])
def test_segments_of_one_and_of_many_blocks_have_the_same_attention(tmp_path, monkeypatch, architecture):
    """Up to KEPT_BELOW tokens weights are kept, of more they are not; the second model has a sliding window."""
    more = {"sliding_window": 6} if architecture.startswith("Mistral") else {}
    folder = write_tiny_llama(tmp_path, architecture=architecture, **more)
    rows = random_rows([30, 28, 12, 5, 4])
    expected = [own_logprobs(folder, row) for row in rows]
    gradient_of = {}
    for limit in (0, 10, 256):
        monkeypatch.setattr(block_attention, "KEPT_BELOW", limit)
        monkeypatch.setattr(block_attention, "COLUMN", 4 * max(limit, 4))  # blocks of 4, 10 and 256 queries
        policy = Policy.load(folder, ModelSettings(precision="float32"))
        for got, want in zip(policy.logprobs(rows), expected, strict=True):
            torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
        gradient_of[limit], _ = gradients(folder, rows, 1000, 0)
    for name, gradient in gradient_of[0].items():
        torch.testing.assert_close(gradient_of[10][name], gradient, rtol=1e-4, atol=1e-4, msg=name)
        torch.testing.assert_close(gradient_of[256][name], gradient, rtol=1e-4, atol=1e-4, msg=name)


def test_logprobs_are_those_at_the_temperature(tied_llama):
    (row,) = random_rows([20])
    policy = Policy.load(tied_llama, ModelSettings(precision="float32"))
    got = policy.logprobs([row], temperature=0.5)[0]
    torch.testing.assert_close(got, own_logprobs(tied_llama, row, temperature=0.5), atol=1e-5, rtol=0)
    assert (got - policy.logprobs([row])[0]).abs().max() > 0.1


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(2, 30), min_size=2, max_size=6), victim=st.integers(0, 5))
def test_a_row_does_not_see_its_neighbours(tied_llama, lengths, victim):
    """Other tokens in one row change nothing, to the bit, in all the others."""
    policy = Policy.load(tied_llama, ModelSettings(precision="float32", micro_batch_tokens=1000))
    rows = random_rows(lengths)
    victim %= len(rows)
    changed = list(rows)
    changed[victim] = Row([(id + 7) % 420 for id in rows[victim].ids], rows[victim].loss_mask)
    for i, (a, b) in enumerate(zip(policy.logprobs(rows), policy.logprobs(changed), strict=True)):
        assert i == victim or torch.equal(a, b)


def test_a_row_does_not_see_its_future(tied_llama):
    policy = Policy.load(tied_llama, ModelSettings(precision="float32"))
    (row,) = random_rows([20])
    other = Row([*row.ids[:10], *[(id + 7) % 420 for id in row.ids[10:]]], row.loss_mask)
    a, b = policy.logprobs([row, other])
    torch.testing.assert_close(a[:10], b[:10], atol=1e-6, rtol=0)
    assert (a[10:] - b[10:]).abs().max() > 0.1


def test_entropies_are_those_of_the_whole_distribution(tied_llama):
    (row,) = random_rows([12])
    policy = Policy.load(tied_llama, ModelSettings(precision="float32"))
    model = AutoModelForCausalLM.from_pretrained(tied_llama, dtype=torch.float32)
    with torch.no_grad():
        p = (model(torch.tensor([row.ids])).logits[0, :-1] / 0.7).softmax(-1)
    expected = torch.cat([torch.zeros(1), -(p * p.log()).sum(-1)]) * torch.tensor(row.loss_mask)
    (got,) = policy.outputs([row], temperature=0.7)
    torch.testing.assert_close(got.entropies, expected, atol=1e-4, rtol=0)
    assert got.values is None


def gradients(folder, rows: list[Row], budget: int, rank: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    settings = ModelSettings(precision="float32", lora_rank=rank, micro_batch_tokens=budget)
    policy = Policy.load_for_training(folder, settings, OptimizerSettings(), seed=0)
    metrics = policy.forward_backward(rows, sft)
    return {name: p.grad for name, p in policy.updater.named.items()}, metrics


@pytest.mark.parametrize("rank", [0, 4])
def test_the_gradient_does_not_depend_on_the_micro_batches(llama, rank):
    rows = random_rows([3, 17, 9, 30, 5, 22])
    whole, metrics = gradients(llama, rows, 1000, rank)
    assert metrics["count"] == sum(sum(row.loss_mask) for row in rows)
    assert metrics["twice"] == pytest.approx(2 * metrics["loss"])
    for budget in (1, 35):
        parts, part_metrics = gradients(llama, rows, budget, rank)
        assert part_metrics == pytest.approx(metrics, rel=1e-5)
        for name, gradient in whole.items():
            torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-4, msg=name)


def test_full_gradients_are_those_of_transformers_own_loss(llama):
    rows = random_rows([12, 7])
    ours, metrics = gradients(llama, rows, 1000, 0)
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32, attn_implementation="sdpa")
    model.model.embed_tokens.padding_idx = None  # <|im_end|> is padding, too, and would get no gradient
    total = torch.zeros(())
    for row in rows:
        labels = torch.tensor([[id if trains else -100 for id, trains in zip(row.ids, row.loss_mask, strict=True)]])
        total = total + model(torch.tensor([row.ids]), labels=labels).loss * sum(row.loss_mask)
    total.backward()
    assert metrics["loss"] * metrics["count"] == pytest.approx(total.item(), rel=1e-5)
    theirs = dict(model.named_parameters())
    assert theirs.keys() == ours.keys()  # the head of its own, too, where there is one
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name].grad, rtol=1e-4, atol=1e-4, msg=name)


def test_the_end_of_turn_has_a_gradient_as_an_input_although_it_is_the_padding(untied_llama):
    settings = ModelSettings(precision="float32", lora_rank=0)
    policy = Policy.load_for_training(untied_llama, settings, OptimizerSettings(), seed=0)
    end = policy.chat.stop_ids[0]
    assert policy.tokenizer.pad_token_id == end
    policy.forward_backward([Row([5, end, 6], [False, False, True])], sft)
    assert policy.model.get_input_embeddings().weight.grad[end].abs().max() > 0


def test_a_batch_without_a_trained_token_is_an_error_but_a_micro_batch_is_not(tied_llama):
    silent = Row([1, 2, 3], [False] * 3)
    settings = ModelSettings(precision="float32", micro_batch_tokens=1)
    policy = Policy.load_for_training(tied_llama, settings, OptimizerSettings(), seed=0)
    with pytest.raises(ValueError, match="no supervised token in a batch of 1 rows"):
        policy.forward_backward([silent], sft)
    assert policy.forward_backward([silent, Row([1, 2], [False, True])], sft)["count"] == 1
    assert policy.logprobs([silent])[0].tolist() == [0.0, 0.0, 0.0]


# --- the attention itself ---


def test_a_sliding_window_hides_what_lies_before_it(tmp_path):
    folder = write_tiny_llama(tmp_path, architecture="MistralForCausalLM", sliding_window=4)
    policy = Policy.load(folder, ModelSettings(precision="float32"))
    row, other = random_rows([20, 3])
    got = policy.logprobs([other, row])[1]
    torch.testing.assert_close(got, own_logprobs(tmp_path, row), atol=1e-5, rtol=0)


def test_the_attention_refuses_what_it_cannot_do():
    q = torch.zeros(1, 4, 3, 8)
    with pytest.raises(ValueError, match="uses softcap, which camelid's attention does not have yet"):
        attention.attention(None, q, q, q, None, segment_lengths=[3], softcap=50.0)
    with pytest.raises(ValueError, match="needs segment_lengths, tree or cohorts"):
        attention.attention(None, q, q, q, None)


def test_bfloat16_stays_near_float32(tmp_path):
    """bfloat16 has 8 bits of mantissa: relative errors near 2^-8 = 0.4% a product, and log-probabilities of size 10."""
    folder = write_tiny_llama(tmp_path, initializer_range=0.1)
    rows = random_rows([20, 30])
    exact = Policy.load(folder, ModelSettings(precision="float32")).logprobs(rows)
    rough = Policy.load(folder, ModelSettings(precision="bfloat16")).logprobs(rows)
    for a, b in zip(exact, rough, strict=True):
        assert 0 < (a - b).abs().max() < 0.2
        assert b.dtype == torch.float32
