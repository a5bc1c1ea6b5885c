"""Estimates of Ghost Attention, safety data, temperatures and pools: what is counted, before anything has run."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")

from camelid.collect.context_distillation import DistillationSettings, context_distillation
from camelid.collect.demands import DemandSettings, demand_rows
from camelid.collect.ghost_attention import GhostSettings, ghost_attention
from camelid.costs import Cost
from camelid.curate.safety_share import ShareSettings, safety_share
from camelid.estimates import TABLE
from camelid.evaluate.attribute_recall import RecallSettings, attribute_recall
from camelid.evaluate.safety.refusal_rates import RefusalSettings, evaluate_safety
from camelid.evaluate.score_answers import ScoreSettings, score_answers
from camelid.expected import Known, Reads, Rows
from camelid.models.devices import DEVICES
from camelid.models.loading import SIZES
from camelid.models.sampling import Sampling
from camelid.runs import Stage, function_name
from camelid.train.pool import PoolSettings, pool_rounds
from camelid.train.temperature import TemperatureSettings, choose_temperature
from camelid.types import Conversation, Message, Prompt, read_records, write_records
from tiny import user

MODEL = SIZES / "smollm2-135m"
SHORT = Sampling(max_new_tokens=10)


@pytest.fixture
def files(tmp_path):
    """Ten prompts and ten conversations of 15 prompt tokens: 40 bytes are 10, and 5 stand around a turn."""
    question = "q" * 39
    answered = [
        Conversation(messages=(*user(f"{question}{n}"), Message(role="assistant", content="a" * 20))) for n in range(10)
    ]
    write_records(tmp_path / "rows.jsonl", answered)
    write_records(
        tmp_path / "prompts.jsonl", [Prompt(prompt=user(f"{question}{n}"), tags=("unsafe",)) for n in range(10)]
    )
    return {"rows": tmp_path / "rows.jsonl", "prompts": tmp_path / "prompts.jsonl"}


def estimate(function, settings, inputs):
    stage = Stage("stage", function, settings, inputs)
    cost = Cost(DEVICES["h100"])
    left = TABLE[function_name(stage)](settings, Reads(stage, Known({})), cost)
    assert cost.total_seconds > 0 and cost.total_seconds < 1000
    return left, cost


def test_dialogues_are_sampled_turn_by_turn(files):
    settings = GhostSettings(sampling=SHORT, num_dialogues=20, min_turns=2, max_turns=4)
    left, cost = estimate(ghost_attention, settings, {"model": MODEL, "conversations": files["rows"]})
    assert cost.sampled_tokens == 20 * 3 * 10  # three turns at the mean
    assert left["demonstrations.jsonl"].number == 20
    assert left["demonstrations.jsonl"].tokens == 3 * 15 + 3 * 10 + 20
    assert left["told.jsonl"].tokens == 3 * 15 + 3 * 10 + 3 * 20
    left, _ = estimate(demand_rows, DemandSettings(num_dialogues=9, plain_share=0), {"conversations": files["rows"]})
    rows = Rows.of(read_records(files["rows"], Conversation))
    assert (left["rows.jsonl"].number, left["rows.jsonl"].tokens) == (9, 2 * (15 + 9) + 2 * rows.answer_tokens)
    settings = RecallSettings(sampling=SHORT, num_dialogues=7, turns=(2, 6))
    _, cost = estimate(attribute_recall, settings, {"model": MODEL, "prompts": files["prompts"]})
    assert cost.sampled_tokens == 7 * 6 * 10


def test_two_answers_to_the_unsafe_prompts(files):
    inputs = {"model": MODEL, "safety_reward_model": MODEL, "prompts": files["prompts"]}
    left, cost = estimate(context_distillation, DistillationSettings(sampling=SHORT), inputs)
    assert cost.sampled_tokens == pytest.approx(2 * 3.7 * 10)
    assert cost.scored_tokens == pytest.approx(2 * 3.7 * (15 + 10))
    assert left["demonstrations.jsonl"].number == pytest.approx(3.7)


def test_a_share_of_the_safety_rows(files):
    left, _ = estimate(safety_share, ShareSettings(share=0.1), {"helpful": files["rows"], "safety": files["rows"]})
    assert left["rows.jsonl"].number == 11


def test_every_temperature_is_sampled_and_scored(files):
    settings = TemperatureSettings(sampling=SHORT, temperatures=(0.5, 1.0, 1.5), max_prompts=4)
    inputs = {"model": MODEL, "reward_model": MODEL, "prompts": files["prompts"]}
    _, cost = estimate(choose_temperature, settings, inputs)
    assert (cost.sampled_tokens, cost.scored_tokens) == (4 * 8 * 3 * 10, 4 * 8 * 3 * 25)


def test_a_pool_is_scored_once(files):
    inputs = {"best": [files["rows"], files["rows"]], "reward_model": MODEL}
    left, cost = estimate(pool_rounds, PoolSettings(top_share=0.25), inputs)
    assert cost.scored_tokens == 20 * (15 + 10)
    assert left["pool.jsonl"].number == 5


@pytest.mark.parametrize("name", ["ours", "xstest", "bianchi"])
def test_refusals_are_estimated_for_every_kind_of_prompt_file(files, tmp_path, name):
    (tmp_path / "xstest.csv").write_text("id,prompt,type,label\n" + "1,What is it?,homonyms,safe\n" * 10)
    (tmp_path / "I-Alpaca.json").write_text('{"instructions": [' + ", ".join(['"What is it?"'] * 10) + "]}")
    paths = {"ours": files["prompts"], "xstest": tmp_path / "xstest.csv", "bianchi": tmp_path / "I-Alpaca.json"}
    inputs = {"model": MODEL, "prompts": [paths[name]], "demonstrations": files["rows"]}
    _, cost = estimate(evaluate_safety, RefusalSettings(sampling=SHORT), inputs)
    assert cost.sampled_tokens == 10 * 10
    assert cost.scored_tokens == 10 * 25


def test_every_prompt_is_answered_so_often_and_once_more_and_scored_by_both(files):
    settings = ScoreSettings(sampling=SHORT, num_samples=4, max_prompts=5)
    inputs = {"model": MODEL, "reward_model": MODEL, "second_reward_model": MODEL, "prompts": files["prompts"]}
    _, cost = estimate(score_answers, settings, inputs)
    assert (cost.sampled_tokens, cost.scored_tokens) == (5 * 5 * 10, 2 * 5 * 5 * (15 + 10))
    _, cost = estimate(score_answers, settings.model_copy(update={"tag": "unsafe"}), inputs)
    assert cost.sampled_tokens == pytest.approx(3.7 * 5 * 10)
