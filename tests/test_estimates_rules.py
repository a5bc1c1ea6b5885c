"""What rule models, rerank and probing will cost, against numbers counted by hand."""

import pytest

from camelid.estimates_rules import INSTRUCTION_TOKENS, RULE_TOKENS
from camelid.plan import make_plan
from camelid.runs import Output, Stage
from camelid.types import RuleJudgement, write_records
from test_plan import model_folder, prompts_file, question, speed

pytest.importorskip("transformers")

from camelid.evaluate.rules.attacks import attacks_on, instruction, read_attacks
from camelid.evaluate.rules.judgements import RuleJudgementSettings, make_rule_judgements
from camelid.evaluate.rules.probe import ProbeSettings, probe_rules
from camelid.evaluate.rules.rerank import RerankSettings, measure_rerank
from camelid.expected import tokens_of
from camelid.models.rule_notes import rule_turn
from camelid.models.sampling import Sampling
from camelid.rules import read_rules
from camelid.train.rules import RulesSettings, train_rules


def judgements(path, number=10):
    """A prompt of 40 / 4 + 5 = 15 tokens, an answer of 80 / 4 + 5 = 25."""
    rows = [
        RuleJudgement(prompt=question(f"{i:040}"), completion="y" * 80, rule="on-topic", violated=i % 2)
        for i in range(number)
    ]
    write_records(path, rows)
    return path


def costs(tmp_path, *stages):
    return [line.cost for line in make_plan(list(stages), tmp_path / "run", speed())[0]]


def test_the_constants_are_those_of_our_rules_and_attacks():
    rules, attacks = list(read_rules().values()), read_attacks()
    turns = [tokens_of(rule_turn(rule).content) for rule in rules]
    told = [tokens_of(instruction(rule, a)[0].content) for rule in rules for a in attacks_on(rule, attacks)]
    assert pytest.approx(sum(turns) / len(turns), abs=1) == RULE_TOKENS
    assert pytest.approx(sum(told) / len(told), abs=1) == INSTRUCTION_TOKENS


def test_a_rule_model_reads_the_rule_and_the_general_one_does_not(tmp_path):
    inputs = {"model": model_folder(tmp_path / "m"), "judgements": judgements(tmp_path / "j.jsonl")}
    (cost,) = costs(tmp_path, Stage("r", train_rules, RulesSettings(held_out=4, epochs=3), inputs))
    assert cost.trained_tokens == 6 * 3 * (40 + RULE_TOKENS)
    assert cost.scored_tokens == 4 * (40 + RULE_TOKENS)
    general = RulesSettings(held_out=4, epochs=3, conditional=False, part="first")
    (cost,) = costs(tmp_path, Stage("r", train_rules, general, inputs))
    assert cost.trained_tokens == 1 * 3 * 40


def test_rerank_counts_every_answer_once_a_model_and_once_a_rule(tmp_path):
    model = model_folder(tmp_path / "m")
    inputs = {
        "model": model,
        "reward_model": model,
        "judge_model": model,
        "prompts": prompts_file(tmp_path / "p.jsonl"),
    }
    settings = RerankSettings(num_samples=8, sampling=Sampling(max_new_tokens=32), rules=("on-topic", "no-hate"))
    (cost,) = costs(tmp_path, Stage("r", measure_rerank, settings, inputs))
    assert cost.sampled_tokens == 10 * 8 * 32
    assert cost.scored_tokens == 80 * (15 + 32) + 80 * (15 + 32 + 2 * RULE_TOKENS)
    (both,) = costs(tmp_path, Stage("r", measure_rerank, settings, inputs | {"rule_model": model}))
    assert both.scored_tokens - cost.scored_tokens == 80 * (15 + 32 + 2 * RULE_TOKENS)


@pytest.mark.parametrize("prober", ["model", "server"])
def test_probing_draws_probes_and_answers_and_a_servers_are_free(tmp_path, prober):
    model = model_folder(tmp_path / "m")
    new = Sampling(max_new_tokens=20)
    settings = ProbeSettings(prober=prober, probes_per_rule=5, probing=new, sampling=new)
    (cost,) = costs(tmp_path, Stage("p", probe_rules, settings, {"model": model, "rule_model": model}))
    probes = 12 * 5
    asked = 20 if prober == "model" else settings.remote.max_tokens
    assert cost.sampled_tokens == probes * 20 * (2 if prober == "model" else 1)
    assert cost.scored_tokens == probes * (asked + 20 + RULE_TOKENS)


def test_judgements_of_files_that_are_there_are_counted_for_the_stage_after(tmp_path):
    claims = tmp_path / "claims.jsonl"
    claims.write_text("".join(f'{{"question": "{i:040}", "answer": "{"y" * 80}", "true": "no"}}\n' for i in range(6)))
    made = Stage("made", make_rule_judgements, RuleJudgementSettings(), {"claims": claims})
    inputs = {"model": model_folder(tmp_path / "m"), "judgements": Output("made", "judgements.jsonl")}
    _, cost = costs(tmp_path, made, Stage("r", train_rules, RulesSettings(held_out=0), inputs))
    assert cost.trained_tokens == 6 * (40 + RULE_TOKENS)
