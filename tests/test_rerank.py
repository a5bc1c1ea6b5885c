"""Preference and rules as one reward, the best of N by it, in the terminal and measured by another judge."""

from __future__ import annotations

import json

import pytest
import torch

from camelid.cli import main
from camelid.evaluate.rules.rerank import Reranked, RerankSettings, describe, measure_rerank, read_reranked
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.rerank import Candidate, best_of, candidates
from camelid.models.reward_model import RewardModel
from camelid.models.rewards import Rewards
from camelid.models.rule_rewards import RuleRewards
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Prompt, write_records
from rule_rows import LORA, RULES, rule_model
from test_chat_terminal import talk
from tiny import user

PROMPTS = [Prompt(prompt=user(f"Tell me of {word}.")) for word in ("red", "Paris", "llamas")]


@pytest.fixture(scope="module")
def folders(tied_llama, tmp_path_factory):
    """A preference model, a rule model, and a judge that has learnt from other prompts; none of them is trained."""
    folder = tmp_path_factory.mktemp("models")
    RewardModel.create(tied_llama, LORA, OptimizerSettings(), num_layers=None, seed=3).save(folder / "reward", "")
    rule_model(tied_llama, prompts=("aa", "bb")).save(folder / "rules", "")
    judge = rule_model(tied_llama, prompts=("cc",))
    judge.reward.model.score.weight.data.neg_()
    judge.save(folder / "judge", "")
    return folder


# --- the reward ---


def test_the_reward_is_the_preference_less_what_is_broken(folders):
    rewards = RuleRewards.load(folders / "reward", folders / "rules", LORA, violation_coef=2.0)
    texts = ["Red and blue.", "Paris.", ""]
    found = rewards.judge(PROMPTS, texts)
    preference = Rewards.load(folders / "reward", None, LORA, "model").score(PROMPTS, texts)
    torch.testing.assert_close(found.preferences, preference)
    assert rewards.rule_model is not None
    broken = rewards.rule_model.violations([p.prompt for p in PROMPTS], texts, RULES)
    torch.testing.assert_close(found.violations, broken)
    torch.testing.assert_close(found.rewards, preference - 2 * broken.sum(1))
    assert found.rewards.std() > 1e-3
    torch.testing.assert_close(rewards.score(PROMPTS, texts), found.rewards)


def test_some_of_the_rules_or_none(folders):
    one = RuleRewards.load(folders / "reward", folders / "rules", LORA, rules=RULES[1:])
    assert one.judge(PROMPTS, ["Hi."] * 3).violations.shape == (3, 1)
    none = RuleRewards.load(folders / "reward", None, LORA)
    found = none.judge(PROMPTS, ["Hi."] * 3)
    assert found.violations.shape == (3, 0)
    torch.testing.assert_close(found.rewards, found.preferences)


def test_models_in_each_others_place_are_refused(folders):
    with pytest.raises(ValueError, match="is a rule model, and a preference model is wanted here"):
        RuleRewards.load(folders / "rules", folders / "rules", LORA)
    with pytest.raises(ValueError, match="is no rule model"):
        RuleRewards.load(folders / "reward", folders / "reward", LORA)


# --- the best of N ---


def candidate(text: str, reward: float, finished: bool = True) -> Candidate:
    return Candidate(text, 3, finished, reward, reward, {})


@pytest.mark.parametrize(
    ("answers", "best"),
    [
        ([candidate("a", 1), candidate("b", 3), candidate("c", 2)], 1),
        ([candidate("a", 1), candidate("b", 9, finished=False), candidate("c", 2)], 2),
        ([candidate("", 9), candidate("b", 3, finished=False)], 1),
        ([candidate("", 1), candidate("", 2)], 1),
        ([candidate("a", 2), candidate("b", 2)], 0),
    ],
)
def test_whole_answers_come_before_cut_and_empty_ones_then_the_reward_counts(answers, best):
    assert best_of(answers) == best


def test_candidates_are_the_policys_own_samples_with_their_rewards(tied_llama, folders):
    policy, rewards = Policy.load(tied_llama, LORA), RuleRewards.load(folders / "reward", folders / "rules", LORA)
    sampling = Sampling(max_new_tokens=8)
    found = candidates(policy, rewards, PROMPTS, sampling, 3, seed=5)
    drawn = policy.sample([policy.chat.prompt_ids(p.prompt) for p in PROMPTS], sampling, seed=5, num_samples=3)
    assert [[c.text for c in k] for k in found] == [
        [policy.chat.completion_text(sample.ids).strip() for sample in k] for k in drawn
    ]
    for prompt, k in zip(PROMPTS, found, strict=True):
        alone = rewards.score([prompt] * 3, [c.text for c in k])
        torch.testing.assert_close(torch.tensor([c.reward for c in k]), alone, atol=1e-5, rtol=0)
        for c in k:
            assert c.reward == pytest.approx(c.preference - sum(c.violations.values()), abs=1e-5)
            assert list(c.violations) == ["no-paris", "no-red"]


def test_at_temperature_0_there_is_nothing_to_choose(tied_llama, folders):
    policy, rewards = Policy.load(tied_llama, LORA), RuleRewards.load(folders / "reward", None, LORA)
    with pytest.raises(ValueError, match="temperature 0 draws 4 times the same answer"):
        candidates(policy, rewards, PROMPTS, Sampling(temperature=0), 4, seed=0)


# --- the terminal ---


def test_the_terminal_says_the_best_and_shows_all_on_request(tied_llama, folders, monkeypatch, capsys):
    words = ["--rerank", "4", "--reward", str(folders / "reward"), "--rules", str(folders / "rules")]
    talk(["Tell me of red."], monkeypatch, str(tied_llama), *words, "--max-new-tokens", "8", "--show-all")
    out, err = capsys.readouterr()
    policy = Policy.load(tied_llama)
    rewards = RuleRewards.load(folders / "reward", folders / "rules", ModelSettings())
    sampling = Sampling(temperature=0.7, max_new_tokens=8)
    found = candidates(policy, rewards, PROMPTS[:1], sampling, 4, seed=1)[0]
    best = found[best_of(found)]
    assert out.strip() == (best.text + ("" if best.finished else " [cut]")).strip()
    shown = [line for line in err.splitlines() if "reward " in line]
    assert [line[0] for line in shown] == ["*" if c is best else " " for c in found]
    for line, c in zip(shown, found, strict=True):
        assert f"reward {c.reward:+.2f} (preference {c.preference:+.2f}" in line
        assert repr(c.text) in line
        assert f"no-red {c.violations['no-red']:.2f}" in line


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--rerank", "8"], "--rerank N (2 or more) and --reward MODEL go together"),
        (["--reward", "MODEL"], "--rerank N (2 or more) and --reward MODEL go together"),
        (["--rules", "MODEL"], "--rules wants --rerank N and --reward MODEL"),
        (["--show-all"], "--show-all wants --rerank N and --reward MODEL"),
        (["--rerank", "0"], "--rerank 0: draw at least 2 answers"),
    ],
)
def test_words_that_go_together(tied_llama, words, error, capsys):
    assert main(["chat", str(tied_llama), *words]) == 1
    assert error in capsys.readouterr().err


# --- measured ---


def answered(judged, picked, rules=("a", "b")) -> Reranked:
    n = len(judged)
    return Reranked(
        prompt_id="p",
        texts=["x"] * n,
        num_tokens=list(range(1, n + 1)),
        finished=[True] * n,
        rewards=[0.0] * n,
        preferences=[0.0] * n,
        violations=[{}] * n,
        judged=[dict(zip(rules, row, strict=True)) for row in judged],
        picked=picked,
    )


def test_rates_by_hand():
    """First prompt: of two answers one breaks a, the pick does not. Second: both break b, so does the pick."""
    answers = [answered([(0.9, 0.1), (0.2, 0.1)], 1), answered([(0.1, 0.5), (0.1, 0.8)], 0)]
    found = describe(answers, ["a", "b"], 0.5)
    values = {name: {k: v["value"] for k, v in row.items()} for name, row in found["by_rule"].items()}
    assert values["a"] == {"without": 0.25, "with": 0.0, "difference": -0.25}
    assert values["b"] == {"without": 0.5, "with": 0.5, "difference": 0.0}
    assert {k: v["value"] for k, v in found["any_rule"].items()} == {"without": 0.75, "with": 0.5, "difference": -0.25}
    assert {k: v["value"] for k, v in found["length_tokens"].items()} == {"without": 1.5, "with": 1.5}  # 1.5, 1.5; 2, 1
    assert found["n"] == found["any_rule"]["with"]["n"] == 2
    assert found["by_rule"]["a"]["with"]["high"] > 0.5  # nothing seen twice is no proof: Wilson's interval


def measure(folders, model, root, prompts=PROMPTS, **inputs):
    write_records(root / "prompts.jsonl", prompts)
    settings = RerankSettings(
        model=LORA, num_samples=4, sampling=Sampling(max_new_tokens=8), prompts_a_chunk=2, violation_coef=50.0
    )
    files = {
        "model": model,
        "prompts": root / "prompts.jsonl",
        "reward_model": folders / "reward",
        "judge_model": folders / "judge",
    } | inputs
    path = execute([Stage("rerank", measure_rerank, settings, files)], root / "runs")["rerank"]
    return path, read_manifest(path)["metrics"], read_reranked(path / "answers.jsonl")


def test_who_reranks_does_not_judge_and_the_rules_decide(tied_llama, folders, tmp_path):
    """The judge's head is the rule model's, negated: with a weight on the rules that outweighs all preference, the pick
    is the worst of all in the judge's eyes, which a judge that was the same model would never say."""
    path, metrics, answers = measure(folders, tied_llama, tmp_path, rule_model=folders / "rules")
    assert metrics["num_prompts"] == len(answers) == 3
    for a in answers:
        said = [i for i in range(4) if a.texts[i]]
        whole = [i for i in said if a.finished[i]] or said
        assert a.picked == min(whole, key=lambda i: sum(a.violations[i].values()))
        for mine, theirs in zip(a.violations, a.judged, strict=True):
            for rule in ("no-paris", "no-red"):
                assert mine[rule] + theirs[rule] == pytest.approx(1.0, abs=1e-4)  # sigmoid(z) + sigmoid(-z)
    results = json.loads((path / "results.json").read_text())
    assert results["num_samples"] == 4
    assert set(results["by_rule"]) == {"no-paris", "no-red"}
    for name in ("with", "without", "difference"):
        assert metrics[name] == results["any_rule"][name]["value"]


def test_without_a_rule_model_the_preference_alone_reranks(tied_llama, folders, tmp_path):
    _, _, answers = measure(folders, tied_llama, tmp_path)
    assert all(a.rewards == a.preferences and a.violations == [{}] * 4 for a in answers)
    assert all(list(one) == ["no-paris", "no-red"] for a in answers for one in a.judged)


def test_a_judge_that_has_seen_the_same_prompts_is_refused(tied_llama, folders, tmp_path):
    with pytest.raises(ValueError, match="the judge has learnt from 2 of the 2 prompts"):
        measure(folders, tied_llama, tmp_path, rule_model=folders / "rules", judge_model=folders / "rules")
    with pytest.raises(ValueError, match="is no rule model"):
        measure(folders, tied_llama, tmp_path, judge_model=folders / "reward")


def test_no_prompt_is_an_error(tied_llama, folders, tmp_path):
    with pytest.raises(ValueError, match="holds no prompt"):
        measure(folders, tied_llama, tmp_path, prompts=[])
