"""Sampling against transformers' generate, against the trainer's forward pass, and against the distribution itself."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from camelid.models import prefill, sampler
from camelid.models.batch import Row
from camelid.models.draw import draw
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sample, Sampling
from tiny import write_tiny_llama

LENGTHS = (1, 23, 2, 40, 7, 7, 12, 31)


def random_prompts(lengths=LENGTHS, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 420, (length,), generator=generator).tolist() for length in lengths]


def seeds(samples: int) -> list[list[int]]:
    """Of each of `random_prompts()`."""
    return [[100 * prompt + k for k in range(samples)] for prompt in range(len(LENGTHS))]


@pytest.fixture
def policy(llama) -> Policy:
    return Policy.load(llama, ModelSettings(precision="float32"))


@pytest.fixture
def one(tied_llama) -> Policy:
    """For what cannot depend on where the head's weights come from."""
    return Policy.load(tied_llama, ModelSettings(precision="float32"))


def parts(policy: Policy) -> tuple:
    return policy.trunk, policy.model.get_output_embeddings()


def tokens(samples: list[list[Sample]]) -> list[list[list[int]]]:
    return [[sample.ids for sample in k] for k in samples]


# --- greedy ---


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("LlamaForCausalLM", {}),
        ("LlamaForCausalLM", {"tied": False, "num_key_value_heads": 4}),
        ("MistralForCausalLM", {"sliding_window": 6}),
        ("Qwen3ForCausalLM", {"head_dim": 16}),
    ],
)
def test_greedy_is_transformers_generate_token_by_token(tmp_path, architecture, changes):
    folder = write_tiny_llama(tmp_path, architecture=architecture, **changes)
    policy = Policy.load(folder, ModelSettings(precision="float32"))
    prompts = random_prompts()
    ours = policy.sample(prompts, Sampling(temperature=0, max_new_tokens=24), seed=0)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for prompt, (sample,) in zip(prompts, ours, strict=True):
        expected = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=list(policy.chat.stop_ids),
            pad_token_id=0,
        )
        assert sample.ids == expected[0, len(prompt) :].tolist()


def test_greedy_reports_logprobs_at_temperature_one(one):
    (prompt,) = random_prompts([9])
    ((sample,),) = one.sample([prompt], Sampling(temperature=0, max_new_tokens=10), seed=0)
    row = Row(prompt + sample.ids, [False] * 9 + [True] * len(sample.ids))
    torch.testing.assert_close(torch.tensor(sample.logprobs), one.logprobs([row])[0][9:], atol=1e-4, rtol=0)


# --- log-probabilities ---


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_sampled_logprobs_are_those_of_the_trainers_forward(policy, temperature):
    prompts = random_prompts()
    drawn = policy.sample(prompts, Sampling(temperature=temperature, max_new_tokens=24), seed=3, num_samples=2)
    pairs = [(prompt, sample) for prompt, k in zip(prompts, drawn, strict=True) for sample in k]
    rows = [Row(p + s.ids, [False] * len(p) + [True] * len(s.ids)) for p, s in pairs]
    for (prompt, sample), logprobs in zip(pairs, policy.logprobs(rows, temperature=temperature), strict=True):
        assert len(sample.ids) == len(sample.logprobs)
        torch.testing.assert_close(torch.tensor(sample.logprobs), logprobs[len(prompt) :], atol=1e-4, rtol=0)


def test_tokens_come_as_often_as_the_distribution_says(one):
    """Chi-square over 6,000 draws of one step, tokens that are expected less than 8 times taken together."""
    (prompt,) = random_prompts([9])
    draws, temperature = 6000, 0.8
    sampling = Sampling(temperature=temperature, max_new_tokens=1, batch_rows=2000)
    samples = one.sample([prompt], sampling, seed=1, num_samples=draws)[0]
    counts = torch.bincount(torch.tensor([s.ids[0] for s in samples]), minlength=421).double()
    with torch.no_grad():
        logits = one.model(torch.tensor([prompt]), segment_lengths=[9]).logits[0, -1]
    expected = draws * (logits.double() / temperature).softmax(-1)
    common = expected >= 8
    observed = torch.cat([counts[common], counts[~common].sum()[None]])
    wanted = torch.cat([expected[common], expected[~common].sum()[None]])
    freedom = len(wanted) - 1
    assert freedom >= 20
    statistic = ((observed - wanted) ** 2 / wanted).sum().item()
    # Mean k and variance 2k: four standard deviations either way.
    assert abs(statistic - freedom) < 4 * math.sqrt(2 * freedom)


def test_successive_draws_are_independent(one):
    """Two samples of a prompt agree on a step as often as two draws do: the sum of p^2."""
    (prompt,) = random_prompts([9])
    samples = one.sample([prompt], Sampling(max_new_tokens=1), seed=5, num_samples=3000)[0]
    drawn = [sample.ids[0] for sample in samples]
    agree = sum(a == b for a, b in zip(drawn[0::2], drawn[1::2], strict=True)) / 1500
    with torch.no_grad():
        p = one.model(torch.tensor([prompt]), segment_lengths=[9]).logits[0, -1].softmax(-1)
    expected = p.square().sum().item()
    assert abs(agree - expected) < 4 * math.sqrt(expected / 1500)


# --- other distributions ---


def test_top_p_top_k_and_the_penalty_are_generates_distribution(one):
    """Greedy with the penalty is `generate`'s; drawn tokens lie in its nucleus, with its log-probabilities."""
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    theirs = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.4),
            TemperatureLogitsWarper(0.7),
            TopKLogitsWarper(60),
            TopPLogitsWarper(0.8),
        ]
    )
    sampling = Sampling(temperature=0.7, top_p=0.8, top_k=60, repetition_penalty=1.4, max_new_tokens=12)
    sampling = sampling.model_copy(update={"model_logprobs": True})
    prompts = random_prompts([9, 23, 4])
    for prompt, samples in zip(prompts, one.sample(prompts, sampling, seed=0, num_samples=4), strict=True):
        for sample in samples:
            whole = torch.tensor([prompt + sample.ids])
            with torch.no_grad():
                logits = one.model(whole, segment_lengths=[whole.shape[1]]).logits[0]
            for i, token in enumerate(sample.ids):
                at = len(prompt) + i
                scores = theirs(whole[:, :at], logits[at - 1][None].clone())
                assert sample.logprobs[i] == pytest.approx(scores.log_softmax(-1)[0, token].item(), abs=1e-4)
                model = logits[at - 1].log_softmax(-1)[token].item()
                assert sample.model_logprobs[i] == pytest.approx(model, abs=1e-4)


def test_rows_with_other_distributions_do_not_touch_their_neighbours(one):
    prompts = random_prompts([9, 23])
    plain = tokens(one.sample(prompts, Sampling(max_new_tokens=12), seed=0, num_samples=2))
    loose = Sampling(max_new_tokens=12, top_k=10**6, min_new_tokens=1)  # goes through the filters and changes nothing
    assert tokens(one.sample(prompts, loose, seed=0, num_samples=2)) == plain


def test_no_end_of_turn_before_the_least_length(one):
    stops = list(range(60))
    drawn = sampler.sample(
        *parts(one), random_prompts(), Sampling(max_new_tokens=30, min_new_tokens=9), stops, seeds=seeds(4)
    )
    lengths = [len(sample.ids) for samples in drawn for sample in samples]
    assert min(lengths) == 10  # the first that may be an end is the tenth
    assert not any(id in stops for samples in drawn for sample in samples for id in sample.ids[:9])


# --- streams ---


def test_the_same_seed_gives_the_same_samples_and_another_others(one):
    prompts = random_prompts()
    sampling = Sampling(max_new_tokens=12)
    first, again, other = (one.sample(prompts, sampling, seed=seed, num_samples=2) for seed in (0, 0, 1))
    assert first == again
    assert all(a[0].ids != b[0].ids for a, b in zip(first, other, strict=True))
    assert all(k[0].ids != k[1].ids for k in first)


def test_a_sample_does_not_depend_on_the_rows_around_it(one):
    prompts = random_prompts()
    sampling = Sampling(max_new_tokens=16)
    whole = tokens(one.sample(prompts, sampling, seed=0, num_samples=4))
    assert tokens(one.sample(prompts, sampling, seed=0, num_samples=2)) == [k[:2] for k in whole]
    for rows in (1, 7, 12):  # fewer than a prompt's samples, a prompt's, three prompts'
        split = sampling.model_copy(update={"batch_rows": rows})
        assert tokens(one.sample(prompts, split, seed=0, num_samples=4)) == whole
    neighbours = [prompts[0], *random_prompts(LENGTHS[1:], seed=9)]
    assert tokens(one.sample(neighbours, sampling, seed=0, num_samples=4))[0] == whole[0]


def test_rows_that_finish_early_are_dropped_without_touching_the_others(one):
    """With 25 stop tokens rows end all the time and the cache is compacted; the others go on as they would have."""
    prompts = random_prompts()
    stops = set(range(25))
    arguments = {"seeds": seeds(3)}
    free = sampler.sample(*parts(one), prompts, Sampling(max_new_tokens=30), [], **arguments)
    stopped = sampler.sample(*parts(one), prompts, Sampling(max_new_tokens=30), sorted(stops), **arguments)
    lengths = set()
    for a, b in zip((s for k in free for s in k), (s for k in stopped for s in k), strict=True):
        end = next((i + 1 for i, id in enumerate(a.ids) if id in stops), 30)
        assert b.ids == a.ids[:end]
        assert b.logprobs == pytest.approx(a.logprobs[:end], abs=1e-4)
        assert b.finished == (a.ids[end - 1] in stops)
        assert not a.finished
        lengths.add(end)
    assert len(lengths) > 5
    assert 30 in lengths


def test_a_completion_ends_with_its_end_of_turn(one):
    end = one.chat.stop_ids[0]
    one.model.lm_head.weight.data = one.model.lm_head.weight.data.clone()
    hidden = one.model.base_model(torch.tensor([[1, 2, 3]]), segment_lengths=[3]).last_hidden_state[0, -1]
    one.model.lm_head.weight.data[end] = 10 * hidden  # after 1, 2, 3 nothing is likelier
    ((sample,),) = one.sample([[1, 2, 3]], Sampling(temperature=0, max_new_tokens=9), seed=0)
    assert sample == Sample([end], sample.logprobs, True)


def test_progress_counts_every_row_once(one):
    for stops in ([], list(range(60))):
        ticks: list[int] = []
        sampler.sample(
            *parts(one),
            random_prompts(),
            Sampling(max_new_tokens=8, batch_rows=10),
            stops,
            seeds=seeds(3),
            tick=ticks.append,
        )
        assert sum(ticks) == 3 * len(LENGTHS)


# --- work ---


def test_samples_of_a_prompt_share_its_prefill(one):
    shapes: list[tuple[int, int]] = []
    one.model.base_model.register_forward_pre_hook(
        lambda module, arguments, keywords: shapes.append(tuple(keywords["input_ids"].shape)), with_kwargs=True
    )
    prompts = random_prompts([10, 20, 30])
    sampler.sample(*parts(one), prompts, Sampling(max_new_tokens=5), [], seeds=[range(8)] * 3)
    # 60 prompt tokens once, packed; then 24 rows a step, and no pass for the token that is drawn last.
    assert shapes == [(1, 60), *[(1, 24)] * 4]


def test_long_prompts_are_prefilled_in_parts(one, monkeypatch):
    prompts = random_prompts()
    whole = one.sample(prompts, Sampling(max_new_tokens=8), seed=0)
    monkeypatch.setattr(prefill, "PREFILL_TOKENS", 45)
    assert tokens(one.sample(prompts, Sampling(max_new_tokens=8), seed=0)) == tokens(whole)


# --- limits ---


def test_limits_are_errors_that_say_what_is_wrong(one):
    assert one.sample([], Sampling(), seed=0) == []
    with pytest.raises(ValueError, match="prompt 1 of 250 tokens leaves no room for 7 more in the context of 256"):
        one.sample([[1], [1] * 250], Sampling(max_new_tokens=7), seed=0)
    ((sample,),) = one.sample([[1] * 250], Sampling(max_new_tokens=6), seed=0)
    assert len(sample.ids) == 6 or sample.finished
    with pytest.raises(ValueError, match="prompt 1 has no token"):
        one.sample([[1], []], Sampling(), seed=0)
    for wrong in (
        {"temperature": -1},
        {"max_new_tokens": 0},
        {"batch_rows": 0},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -1},
    ):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Sampling(**wrong)


def test_damaged_weights_are_an_error_not_a_sample(one):
    one.model.base_model.layers[0].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="logits are not finite"):
        one.sample([[1, 2]], Sampling(), seed=0)


def test_a_token_of_probability_zero_is_never_drawn():
    """The uniform numbers closest to 0 and to 1, with forbidden tokens at both ends of the vocabulary and inside."""
    logits = torch.full((2, 1000), float("-1e30"))
    allowed = torch.tensor([3, 500, 501, 990])
    logits[:, allowed] = torch.tensor([0.3, 1.1, -2.0, 0.7])

    lowest, highest = 0.0, 1 - 2**-24
    drawn, logprobs, _ = draw(logits, [1.0, 1.0], [lowest, highest], {})
    assert drawn.tolist() == [3, 990]
    torch.testing.assert_close(logprobs, logits.log_softmax(-1)[[0, 1], drawn])
