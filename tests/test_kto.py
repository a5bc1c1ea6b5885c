"""KTO as a stage: mismatched answers, one reference point a step, that it learns, and what it refuses."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from camelid.train.answers import Answer, mismatch, read_answers
from camelid.train.kto import KtoSettings, answer_loss, by_kind, train_kto
from camelid.types import Conversation, Message, write_records
from preference_rows import LORA, PREFERENCES, preference, run_stage, write
from test_dpo import random_pairs, trainable
from tiny import user


def train(tmp_path, llama, *, inputs=None, **changes):
    few = {"model": LORA, "batch_size": 16, "epochs": 3, "held_out": 16, "learning_rate": 1e-2}
    given = inputs or {"preferences": write(tmp_path / "p.jsonl")}
    return run_stage(train_kto, KtoSettings(**few | changes), tmp_path / "runs", model=llama, **given)


def answers(*prompts: str) -> list[Answer]:
    return [Answer(user(prompt), f"answer {i}", i % 2 == 0, str(i)) for i, prompt in enumerate(prompts)]


def conversations(path, texts: list[tuple[str, str]]):
    write_records(
        path,
        [Conversation(messages=(*user(asked), Message(role="assistant", content=said))) for asked, said in texts],
    )
    return path


def test_a_prompt_is_mismatched_with_the_next_answer_to_another_prompt():
    found = mismatch(answers("a", "a", "b", "c"))
    assert [(one.prompt, one.text) for one in found] == [
        (user("a"), "answer 2"),
        (user("a"), "answer 2"),
        (user("b"), "answer 3"),
        (user("c"), "answer 0"),
    ]
    with pytest.raises(ValueError, match="all answers are to one prompt"):
        mismatch(answers("a", "a"))


def test_both_answers_of_a_preference_are_taken_once_by_the_mismatch():
    """Beside each other they would both be passed over, and the reference point would know chosen answers only."""
    own = read_answers({}, PREFERENCES)
    others = mismatch(own)
    assert sum(answer.desirable for answer in others) == len(PREFERENCES)
    assert len({(answer.prompt, answer.text) for answer in others}) == len(own)


def test_the_gradient_does_not_depend_on_the_micro_batches(llama):
    """The reference point is one number for the whole step, which a mean inside each micro-batch would not be."""
    rows = [row for pair in random_pairs(4) for row in pair]
    loss = partial(answer_loss, s=KtoSettings(undesirable_weight=2.0), desirable=[True, False] * 3 + [True] * 2, kl=4.0)
    results = []
    for budget in (1, 60, 1000):
        policy = trainable(llama, budget)
        metrics = by_kind(policy.forward_backward(rows, loss))
        results.append((metrics, {name: p.grad for name, p in policy.updater.named.items() if p.grad is not None}))
    (metrics, gradients), *others = results
    assert metrics["count"] == 8
    for other_metrics, other_gradients in others:
        assert other_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
        for name, gradient in gradients.items():
            scale = gradient.abs().max().item()
            torch.testing.assert_close(other_gradients[name], gradient, rtol=1e-3, atol=1e-4 * scale, msg=name)


def test_means_are_over_the_answers_of_a_kind():
    # 8 answers, 2 of them desirable with rewards that sum to 6: a mean of 0.75 over all, of 3 over the kind.
    sums = {"desirable_reward": 6 / 8, "desirable_logprob": -40 / 8, "desirable_share": 2 / 8}
    others = {"undesirable_reward": 0.0, "undesirable_logprob": 0.0, "undesirable_share": 0.0}
    assert by_kind({"loss": 0.5, **sums, **others}) == {"loss": 0.5, "desirable_reward": 3, "desirable_logprob": -20}


def test_a_preference_is_learnt_from_its_two_answers(tied_llama, tmp_path):
    _, results, rows = train(tmp_path, tied_llama)
    assert (results["num_desirable"], results["num_undesirable"]) == (40, 40)
    assert rows[0]["loss"] == pytest.approx(0.5, abs=1e-4)  # at the reference: half of weight 1
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert rows[-1]["loss"] < 0.35
    assert rows[-1]["desirable_reward"] > rows[-1]["undesirable_reward"] + 1
    assert results["accuracy"]["value"] >= 15 / 16
    assert {"longer_wins", "tfidf", "likelier_at_start_wins"} <= results.keys()


def test_answers_without_a_partner_train_by_themselves(tied_llama, tmp_path):
    good = conversations(tmp_path / "good.jsonl", [(p.prompt[0].content, p.chosen) for p in PREFERENCES[:20]])
    bad = conversations(tmp_path / "bad.jsonl", [(p.prompt[0].content, p.rejected) for p in PREFERENCES[20:30]])
    given = {"desirable": good, "undesirable": bad}
    _, results, rows = train(tmp_path, tied_llama, inputs=given, undesirable_weight=2.0)
    assert (results["num_desirable"], results["num_undesirable"], results["num_held_out"]) == (20, 10, 0)
    assert "accuracy" not in results
    assert rows[-1]["desirable_logprob"] > rows[0]["desirable_logprob"]
    # With the pairs beside them, all train.
    _, results, _ = train(tmp_path, tied_llama, inputs=given | {"preferences": write(tmp_path / "p.jsonl")}, epochs=0.2)
    assert (results["num_desirable"], results["num_undesirable"]) == (60, 50)


def test_bad_inputs_are_errors_that_say_what_is_wrong(tied_llama, tmp_path):
    good = conversations(tmp_path / "good.jsonl", [("Tell me more.", "A llama.")])
    with pytest.raises(ValueError, match="1 desirable and 0 undesirable answers: KTO wants some of both"):
        train(tmp_path, tied_llama, inputs={"desirable": good})
    with pytest.raises(ValueError, match="0 desirable and 0 undesirable"):
        train(tmp_path, tied_llama, inputs={"good": good})
    with pytest.raises(ValueError, match="all answers are to one prompt"):
        rows = [preference("red", "blue")] * 3
        train(tmp_path, tied_llama, inputs={"preferences": write(tmp_path / "one.jsonl", rows)}, held_out=0)
    with pytest.raises(ValueError, match=r"p\.jsonl, line 1: not a Conversation"):
        train(tmp_path, tied_llama, inputs={"undesirable": write(tmp_path / "p.jsonl")})
    asked = conversations(tmp_path / "long.jsonl", [("Tell me more. " * 30, "Yes.")])
    with pytest.raises(ValueError, match=r"conversation \w+ \(\) has \d+ tokens, more than max_tokens = 20: raise"):
        train(tmp_path, tied_llama, inputs={"desirable": asked, "undesirable": good}, max_tokens=20, too_long="stop")
