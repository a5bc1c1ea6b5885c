"""What learning from groups will cost, against numbers counted by hand."""

import pytest

from camelid.types import Prompt, write_records
from test_estimates_preferences import cost_of
from test_plan import model_folder, question

pytest.importorskip("transformers")


def inputs(tmp_path):
    write_records(tmp_path / "prompts.jsonl", [Prompt(prompt=question(f"{i:040}")) for i in range(10)])
    model = model_folder(tmp_path / "m")
    return {"model": model, "reward_model": model, "prompts": tmp_path / "prompts.jsonl"}


def test_completions_are_counted_by_what_happens_to_them(tmp_path):
    """3 iterations of 20 prompts of 40 / 4 + 5 = 15 tokens, each with 5 completions of 10: 60 groups, rows of 25."""
    from camelid.models.sampling import Sampling
    from camelid.train.expert_iteration import ExpertIterationSettings, train_expert_iteration
    from camelid.train.online_dpo import OnlineDpoSettings, train_online_dpo
    from camelid.train.policy_gradient import PolicyGradientSettings, train_policy_gradient

    few = {"num_iterations": 3, "prompts_an_iteration": 20, "num_samples": 5, "epochs": 2}
    few["sampling"] = Sampling(max_new_tokens=10)
    given = inputs(tmp_path)
    # Scored by the reward model, and looked at by policy and reference; trained twice over.
    for function, s, looked_at, trained in (
        (train_policy_gradient, PolicyGradientSettings(**few), 5, 5),
        (train_online_dpo, OnlineDpoSettings(**few), 5, 2),
        (train_expert_iteration, ExpertIterationSettings(**few), 1, 1),
        (train_expert_iteration, ExpertIterationSettings(**few, threshold=0.5), 1, 5),
    ):
        cost = cost_of(tmp_path, "one", function, s, given)
        assert cost.sampled_tokens == 60 * 5 * 10
        assert cost.scored_tokens == pytest.approx(60 * (5 + 2 * looked_at) * 25 + 60 * 15, abs=60 * 15)
        assert cost.trained_tokens == 2 * 60 * trained * 25


def test_full_weights_hold_a_reference_and_a_shared_trunk_no_reward_model(tmp_path):
    from camelid.models.model_settings import ModelSettings
    from camelid.train.policy_gradient import PolicyGradientSettings, train_policy_gradient

    def held(**changes):
        s = PolicyGradientSettings(**changes)
        return cost_of(tmp_path, "one", train_policy_gradient, s, inputs(tmp_path)).held_bytes

    apart = held()
    assert held(share_trunk=True) < apart < held(model=ModelSettings(lora_rank=0))
