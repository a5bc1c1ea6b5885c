"""Estimates of what is asked of teachers and made of preferences: what is counted, before anything has run."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("transformers")

from camelid.annotate.judge import JudgeSettings, annotate_by_judge
from camelid.annotate.verdicts import QUESTION, SHAPE
from camelid.collect.evol_instruct.stage import EvolInstructSettings, evol_instruct
from camelid.collect.explanations.rationales import RationaleSettings, rationale_targets
from camelid.collect.explanations.stage import ExplanationSettings, explanation_traces
from camelid.collect.hindsight import HindsightSettings, hindsight
from camelid.collect.self_chat import SelfChatSettings, self_chat
from camelid.collect.self_distillation import SelfDistillationSettings, self_distillation
from camelid.collect.self_instruct.stage import SelfInstructSettings, self_instruct
from camelid.costs import Cost
from camelid.estimates import TABLE
from camelid.expected import Known, Reads, tokens_of
from camelid.models.loading import SIZES
from camelid.models.remote import RemoteSettings
from camelid.models.sampling import Sampling
from camelid.models.server import ServerSettings
from camelid.models.server_cost import ServerCost
from camelid.models.teacher import Decoding, TeacherSettings
from camelid.plan import UNMET
from camelid.runs import Stage, function_name
from camelid.types import Comparison, Preference, Prompt, write_records
from test_estimates_safety import estimate
from tiny import user

MODEL = SIZES / "smollm2-135m"
SHORT = Decoding(max_tokens=10)


@pytest.fixture
def prompts(tmp_path):
    """Ten prompts of 15 tokens: 40 bytes are 10, and 5 stand around a turn."""
    write_records(tmp_path / "prompts.jsonl", [Prompt(prompt=user(f"{'q' * 39}{n}")) for n in range(10)])
    return tmp_path / "prompts.jsonl"


def test_a_teacher_here_takes_its_time_and_a_server_ours_none(prompts):
    settings = ExplanationSettings(decoding=SHORT, share=0.5)
    left, here = estimate(explanation_traces, settings, {"prompts": prompts, "teacher": MODEL})
    assert here.sampled_tokens == 5 * 10
    assert (left["demonstrations.jsonl"].number, left["demonstrations.jsonl"].tokens) == (5, 15 + 30 + 10)
    _, elsewhere = estimate(explanation_traces, settings, {"prompts": prompts})
    assert elsewhere.sampled_tokens == 0 and elsewhere.total_seconds < here.total_seconds


def test_what_is_asked_of_a_server(prompts, tmp_path):
    """Ten seeds of 15 tokens, two chats of each: 20 requests of 15 + 150 tokens, answers of 10 at most."""
    (tmp_path / "prices.json").write_text('{"m": {"input": 1, "output": 3}}')
    server = ServerSettings(model="m", prices=str(tmp_path / "prices.json"), requests_per_minute=60)
    settings = SelfChatSettings(decoding=SHORT, chats=2, teacher=TeacherSettings(server=server))
    _, cost = estimate(self_chat, settings, {"seeds": prompts})
    assert (cost.asked.requests, cost.asked.prompt_tokens, cost.asked.completion_tokens) == (20, 20 * 165, 200)
    assert cost.asked.usd == pytest.approx((20 * 165 + 3 * 200) / 1e6)
    assert cost.asked.seconds == pytest.approx(20 / 0.98)  # one a second
    for other in ({"replay": "answers.json"}, {}):  # recorded answers are no server; a teacher here is none either
        inputs = {"seeds": prompts} | ({} if other else {"teacher": MODEL})
        _, cost = estimate(self_chat, SelfChatSettings(decoding=SHORT, teacher=TeacherSettings(**other)), inputs)
        assert cost.server is None and cost.asked == ServerCost()


def test_a_judge_is_asked_in_both_orders(tmp_path):
    """Answers of 15 tokens, prompts of 15, and the question's own."""
    rows = [Comparison(prompt=user(f"{'q' * 39}{n}"), first="a" * 40, second="b" * 40) for n in range(5)]
    write_records(tmp_path / "rows.jsonl", rows)
    settings = JudgeSettings(remote=RemoteSettings(model="m", max_tokens=7))
    cost = Cost(UNMET)
    stage = Stage("judge", annotate_by_judge, settings, {"comparisons": tmp_path / "rows.jsonl"})
    TABLE[function_name(stage)](settings, Reads(stage, Known({})), cost)
    question = tokens_of(QUESTION + SHAPE)
    assert (cost.asked.requests, cost.asked.completion_tokens) == (10, 70)
    assert cost.asked.prompt_tokens == pytest.approx(10 * (15 + 2 * 15 + question))
    assert math.isnan(cost.asked.usd) and math.isnan(cost.asked.seconds)


def test_each_target_has_all_questions_but_those_held_out(tmp_path):
    (tmp_path / "a.tsv").write_text("".join(f"Question {i}?\t{i}\tSince.\n" for i in range(9)))
    left, _ = estimate(rationale_targets, RationaleSettings(held_out=2), {"data": [tmp_path / "a.tsv"]})
    assert {name: rows.number for name, rows in left.items()} == dict.fromkeys(
        ("answer.jsonl", "rationale.jsonl", "explained.jsonl", "held_out.jsonl"), 7
    )


def test_a_pair_gives_a_row_or_two(tmp_path, prompts):
    pairs = [Preference(prompt=user(f"{i}?"), chosen="a" * 20, rejected="b" * 20) for i in range(4)]
    write_records(tmp_path / "pairs.jsonl", pairs)
    inputs = {"preferences": tmp_path / "pairs.jsonl", "prompts": prompts}
    left, _ = estimate(hindsight, HindsightSettings(), inputs)
    assert (left["demonstrations.jsonl"].number, left["demonstrations.jsonl"].answers) == (8, 1)
    assert left["good_prompts.jsonl"].number == left["bad_prompts.jsonl"].number == 10
    left, _ = estimate(hindsight, HindsightSettings(answers="good"), inputs)
    assert left["demonstrations.jsonl"].number == 4


def test_a_script_for_each_chat_about_a_seed(prompts):
    left, _ = estimate(self_chat, SelfChatSettings(decoding=SHORT, chats=3, max_seeds=4), {"seeds": prompts})
    assert (left["demonstrations.jsonl"].number, left["demonstrations.jsonl"].tokens) == (12, 5)


def test_tasks_that_a_teacher_makes_up(prompts):
    inputs = {"seeds": prompts, "teacher": MODEL}
    lists = SelfInstructSettings(num_instructions=40, variant="alpaca", alpaca={"listing": SHORT})
    left, cost = estimate(self_instruct, lists, inputs)
    assert left["demonstrations.jsonl"].number == 40 and cost.sampled_tokens == 4 * 10
    steps = {name: SHORT for name in ("instructions", "kinds", "examples")}
    left, cost = estimate(self_instruct, SelfInstructSettings(num_instructions=40, davinci=steps), inputs)
    assert left["demonstrations.jsonl"].number == 40 and cost.sampled_tokens == (10 + 40 + 40) * 10


def test_each_step_is_asked_of_a_server(prompts):
    """The first step's requests bring four instructions each; the others ask for every one."""
    server = TeacherSettings(server=ServerSettings(model="m"))
    settings = SelfInstructSettings(num_instructions=40, teacher=server)
    _, cost = estimate(self_instruct, settings, {"seeds": prompts})
    assert (cost.asked.requests, cost.asked.completion_tokens) == (10 + 40 + 40, 10 * 1024 + 40 * 3 + 40 * 350)


def test_each_round_of_evolution_asks_three_times(prompts):
    decodings = {name: SHORT for name in ("evolving", "judging", "answering")}
    settings = EvolInstructSettings(rounds=3, max_prompts=4, **decodings)
    left, cost = estimate(evol_instruct, settings, {"prompts": prompts, "teacher": MODEL})
    assert cost.sampled_tokens == 3 * 12 * 10
    rows = left["demonstrations.jsonl"]
    assert (rows.number, rows.prompt_tokens, rows.answer_tokens) == (12, 15 + 30 + 20, 10)


def test_k_answers_and_one_order_a_prompt(prompts):
    settings = SelfDistillationSettings(decoding=SHORT, sampling=Sampling(max_new_tokens=20), num_samples=4)
    left, cost = estimate(self_distillation, settings, {"model": MODEL, "prompts": prompts, "teacher": MODEL})
    assert cost.sampled_tokens == 10 * 4 * 20 + 10 * 10
    assert left["demonstrations.jsonl"].tokens == 15 + 20 and left["rankings.jsonl"].answers == 4
