"""The recipe on a tiny model: judgements of labels, rule models that share no prompt, both rewards, rerank, probes."""

import json

import pytest

from camelid import settings_text
from camelid.models.rule_notes import RuleNotes
from camelid.recipes.sparrow_tiny import SparrowTiny, stages
from camelid.runs import Output, execute
from tiny import write_tiny_llama
from tiny_rounds import HELD, REWARD, SFT, flat, write_data

DRAWN = {"sampling.max_new_tokens": 6, "model.precision": "float32"}
CHANGES = {
    "hold_back.judge_share": 0.3,
    "sft": SFT,
    "judge": REWARD,
    "preference": REWARD,
    "rules": {**HELD, "num_layers": 1, "max_tokens": 800, "epochs": 0.3, "held_out": 6, "batch_size": 8},
    "practise": {
        **HELD,
        "num_iterations": 2,
        "prompts_an_iteration": 3,
        "num_samples": 2,
        "prompts_a_step": 3,
        "sampling.max_new_tokens": 6,
    },
    "rerank": {**DRAWN, "num_samples": 2, "max_prompts": 3},
    "probe": {**DRAWN, "probes_per_rule": 2, "probing.max_new_tokens": 6},
    "evaluate": {**DRAWN, "kl_prompts": 4},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sparrow")
    model = write_tiny_llama(folder / "start", max_position_embeddings=2048)
    write_data(folder)
    files = {
        "demonstrations": ["demonstrations.jsonl"],
        "preferences": ["preferences.jsonl"],
        "replies": [],
        "prompts": ["prompts.jsonl"],
        "evaluation_prompts": ["evaluation.jsonl"],
    }
    given = {"start_model": str(model), "data": {"folder": str(folder)} | files}
    plan = stages(settings_text.change(SparrowTiny(), flat(given | CHANGES)))
    return execute(plan, folder / "run"), {stage.name: stage for stage in plan}


def test_the_judge_of_rules_has_learnt_from_no_prompt_of_the_rule_model(run):
    finished, plan = run
    mine, judge = (set(RuleNotes.read(finished[name] / "model").prompts) for name in ("rules", "rules-judge"))
    assert mine
    assert judge
    assert not mine & judge
    assert (plan["rules"].settings.part, plan["rules-judge"].settings.part) == ("first", "second")


def test_one_policy_learns_by_preference_and_one_by_rules_too(run):
    finished, plan = run
    assert "rule_model" not in plan["rl-preference"].inputs
    assert plan["rl-both"].inputs["rule_model"] == Output("rules", "model")
    rows = [json.loads(line) for line in (finished["rl-both"] / "metrics.jsonl").read_text().splitlines()]
    assert all(row["score"] == pytest.approx(row["reward_model_score"] + row["rules_score"], abs=1e-4) for row in rows)
    assert all(row["rules_score"] < 0 for row in rows)


def test_every_version_is_reranked_and_probed_by_the_judge_of_rules(run):
    finished, plan = run
    for name in ("sft", "rl-preference", "rl-both"):
        assert plan[f"rerank-{name}"].inputs["judge_model"] == Output("rules-judge", "model")
        assert plan[f"probe-{name}"].inputs["rule_model"] == Output("rules-judge", "model")
        assert (finished[f"rerank-{name}"] / "results.json").exists()
    found = json.loads((finished["path"] / "results.json").read_text())
    assert [row["version"] for row in found["versions"]] == ["sft", "by preference", "by preference and rules"]
