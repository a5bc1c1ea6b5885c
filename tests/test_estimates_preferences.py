"""What reward models, DPO, KTO, distillation and PPO's optional inputs will cost, against numbers counted by hand."""

import pytest

from camelid.plan import make_plan
from camelid.runs import Stage
from camelid.types import Conversation, Message, Preference, Prompt, Ranking, write_records
from test_plan import model_folder, question, speed

pytest.importorskip("transformers")

PAIR = {"chosen": "y" * 80, "rejected": "z" * 40}
"""Answers of 80 / 4 + 5 = 25 and 15 tokens, 20 in the mean, behind a prompt of 40 / 4 + 5 = 15: rows of 35."""


def preferences(path, number=10):
    write_records(path, [Preference(prompt=question(f"{i:040}"), **PAIR) for i in range(number)])
    return path


def conversations(path, number):
    turns = [(*question(f"{i:040}"), Message(role="assistant", content="y" * 80)) for i in range(number)]
    write_records(path, [Conversation(messages=messages) for messages in turns])
    return path


def cost_of(tmp_path, name, function, settings, inputs):
    return make_plan([Stage(name, function, settings, inputs)], tmp_path / "run", speed())[0][0].cost


def test_a_reward_model_counts_every_completion_of_a_ranking_and_what_its_scale_is_by(tmp_path):
    from camelid.train.reward import RewardSettings, train_reward

    ranked = [
        Ranking(prompt=question(f"{i:040}"), completions=("y" * 80, "z" * 40, "x" * 60, "w" * 60), ranks=(1, 2, 3, 3))
        for i in range(8)
    ]
    write_records(tmp_path / "r.jsonl", ranked)  # four answers of 20 tokens in the mean, as the pairs'
    model = model_folder(tmp_path / "m")
    pairs = {"model": model, "preferences": preferences(tmp_path / "p.jsonl")}
    cost = cost_of(tmp_path, "reward", train_reward, RewardSettings(held_out=4, epochs=3), pairs)
    assert cost.trained_tokens == 2 * 6 * 3 * 35
    assert cost.scored_tokens == 2 * (4 + 4) * 35  # those held out, and as many that it trained on
    alone = {"model": model, "rankings": tmp_path / "r.jsonl"}
    cost = cost_of(tmp_path, "reward", train_reward, RewardSettings(held_out=3), alone)
    assert (cost.trained_tokens, cost.scored_tokens) == (4 * 5 * 35, 4 * (3 + 3) * 35)
    both = pairs | alone | {"demonstrations": conversations(tmp_path / "d.jsonl", 7)}
    cost = cost_of(tmp_path, "reward", train_reward, RewardSettings(held_out=0), both)
    assert cost.trained_tokens == pytest.approx((2 * 10 + 4 * 8) * 35)
    assert cost.scored_tokens == 7 * (15 + 25)


def test_dpo_looks_at_every_pair_for_the_reference_and_again_at_those_held_out(tmp_path):
    from camelid.train.dpo import DpoSettings, train_dpo

    inputs = {"model": model_folder(tmp_path / "m"), "preferences": preferences(tmp_path / "p.jsonl")}
    cost = cost_of(tmp_path, "dpo", train_dpo, DpoSettings(held_out=4, epochs=3), inputs)
    assert cost.trained_tokens == 2 * 6 * 3 * 35
    assert cost.scored_tokens == 2 * (10 + 4) * 35


def test_kto_looks_at_mismatched_answers_too(tmp_path):
    from camelid.train.kto import KtoSettings, train_kto

    inputs = {"model": model_folder(tmp_path / "m"), "preferences": preferences(tmp_path / "p.jsonl")}
    cost = cost_of(tmp_path, "kto", train_kto, KtoSettings(held_out=4, epochs=3), inputs)
    assert cost.trained_tokens == 12 * 3 * 35
    # The reference of 12 answers, their 12 mismatched ones and 8 held out; 12 mismatched an epoch; 8 at the end.
    assert cost.scored_tokens == (12 + 12 + 8 + 3 * 12 + 8) * 35
    files = {kind: conversations(tmp_path / f"{kind}.jsonl", n) for kind, n in (("desirable", 3), ("undesirable", 5))}
    alone = cost_of(tmp_path, "kto", train_kto, KtoSettings(), {"model": inputs["model"], **files})
    assert alone.trained_tokens == 8 * (15 + 25)


def test_distillation_counts_the_students_own_answers(tmp_path):
    from camelid.models.sampling import Sampling
    from camelid.train.distill import DistillSettings, train_distill

    model, text = model_folder(tmp_path / "m"), conversations(tmp_path / "text.jsonl", 12)
    more = {"held_out": 2, "epochs": 2, "sampling": Sampling(max_new_tokens=8)}
    inputs = {"model": model, "text": text}
    own = cost_of(tmp_path, "distill", train_distill, DistillSettings(on_policy=0.5, **more), inputs)
    assert own.sampled_tokens == 10 * 2 * 0.5 * 8
    assert cost_of(tmp_path, "distill", train_distill, DistillSettings(**more), inputs).sampled_tokens == 0
    larger = model_folder(tmp_path / "t", num_hidden_layers=60)
    taught = cost_of(tmp_path, "distill", train_distill, DistillSettings(**more), inputs | {"teacher_model": larger})
    assert taught.held_bytes > own.held_bytes


def test_ppo_counts_every_model_that_scores_and_every_text_that_trains(tmp_path):
    from camelid.models.sampling import Sampling
    from camelid.train.ppo import PpoSettings, train_ppo
    from camelid.train.pretraining_mix import MixSettings
    from camelid.train.scoring import ScoreSettings

    model = model_folder(tmp_path / "m")
    write_records(tmp_path / "prompts.jsonl", [Prompt(prompt=question(f"{i:040}")) for i in range(10)])
    inputs = {"model": model, "prompts": tmp_path / "prompts.jsonl"}
    tokens = 3 * 4 * (15 + 20)  # of the rollouts

    def cost(more, **settings):
        s = PpoSettings(num_iterations=3, batch_size=4, sampling=Sampling(max_new_tokens=20), **settings)
        return cost_of(tmp_path, "ppo", train_ppo, s, inputs | more)

    alone = cost({}, scoring=ScoreSettings(sources={"exact_answer": 1.0}))
    assert alone.scored_tokens == 2 * tokens  # the policy and the reference
    assert cost({"reward_model": model}).scored_tokens == 3 * tokens
    three = cost({"reward_model": model, "safety_reward_model": model, "alarm_model": model})
    assert three.scored_tokens == 5 * tokens
    assert three.held_bytes > alone.held_bytes
    # Looks before training, after 2 and after 3 iterations at 5 prompts.
    looks = cost({"reward_model": model}, held_out=5, held_out_every=2)
    assert looks.sampled_tokens == 3 * 4 * 20 + 3 * 5 * 20
    assert looks.scored_tokens == 3 * tokens + 3 * 5 * 35
    (tmp_path / "text.jsonl").write_text('{"text": "x"}\n')
    mixed = cost(
        {"reward_model": model, "pretraining": tmp_path / "text.jsonl"}, ptx=MixSettings(ratio=2, max_tokens=64)
    )
    assert mixed.trained_tokens == tokens + 3 * 4 * 2 * 64
