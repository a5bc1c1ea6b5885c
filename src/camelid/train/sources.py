"""The scorer of a run: its reward models loaded, its verifiable rewards checked against every prompt, before any step.

Inputs: `reward_model`, `safety_reward_model`, `rule_model`, `reward_function` (a .py file), `alarm_model`; those that
the settings ask for must be there, and one that nothing would use is an error. `gate`: the accuracy.json of the safety
model, whose threshold then stands in place of the setting.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camelid.functional.rules import rule_reward
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.rule_model import RuleModel
from camelid.rows import read_rows
from camelid.train.scoring import Parts, Scorer, ScoreSettings
from camelid.train.verifiable import ExactAnswer, FinalNumber, Function, Pattern, Score, UnitTest
from camelid.types import Prompt

USED_BY = {
    "reward_model": "reward_model",
    "safety_reward_model": "reward_model",
    "rule_model": "rules",
    "gate": "reward_model",
    "reward_function": "function",
}
"""Which source an input is for."""


def make_scorer(
    inputs: Mapping[str, Any],
    s: ScoreSettings,
    prompts: Sequence[Prompt],
    *,
    model: ModelSettings,
    chat_format: str,
    max_new_tokens: int,
    beside: Policy | None = None,
) -> Scorer:
    """Everything that scores, loaded; `prompts` are all that will be scored. `beside`: put reward models on this
    policy's weights. Raises ValueError for inputs, settings and prompts that do not go together."""
    _check_inputs(inputs, s)
    sources: dict[str, Parts] = {}
    for name in s.sources:
        if name == "reward_model":
            sources[name] = _reward_models(inputs, s, model, chat_format, beside)
        elif name == "rules":
            sources[name] = _alone(name, _rules(RuleModel.load(inputs["rule_model"], model, chat_format)))
        else:
            rule = _rule(name, inputs, s)
            rule.check(prompts)
            sources[name] = _alone(name, rule)
    alarm = Rewards.load(inputs["alarm_model"], None, model, chat_format).score if "alarm_model" in inputs else None
    return Scorer(s, sources, max_new_tokens, alarm)


def _check_inputs(inputs: Mapping[str, Any], s: ScoreSettings) -> None:
    unused = [name for name, source in USED_BY.items() if name in inputs and source not in s.sources]
    if unused:
        raise ValueError(
            f"the input {unused[0]} would score nothing: scoring.sources is {dict(s.sources)}; give "
            f"{USED_BY[unused[0]]} a weight there, or leave the input out"
        )
    if "gate" in inputs and s.two_models != "gate":
        raise ValueError(
            "the input gate has the threshold of scoring.two_models=gate: set that, or leave the input out"
        )
    if s.two_models == "gate" and "safety_reward_model" not in inputs:
        raise ValueError("scoring.two_models=gate needs the input safety_reward_model beside reward_model")


def _reward_models(
    inputs: Mapping[str, Any], s: ScoreSettings, model: ModelSettings, chat_format: str, beside: Policy | None
) -> Parts:
    path, safety = inputs["reward_model"], inputs.get("safety_reward_model")
    if beside is not None:
        rewards = Rewards.beside(beside, path, safety, chat_format)
    else:
        rewards = Rewards.load(path, safety, model, chat_format)
    if s.two_models == "tag":
        return _alone("reward_model", rewards.score)

    threshold = gate_threshold(inputs["gate"], s.gate_threshold) if "gate" in inputs else s.gate_threshold

    def gated(prompts: Sequence[Prompt], texts: Sequence[str]) -> dict[str, Tensor]:
        found = rewards.gated(prompts, texts, threshold)
        return {"reward_model": found.score, "helpfulness": found.helpfulness, "safety": found.safety}

    return gated


def gate_threshold(file: Path, otherwise: float) -> float:
    """The threshold in the accuracy.json of a safety model, chosen for LLaMA-2's precision on its held-out answers.

    Where none flags anything there, `otherwise`, and a line says so. Raises ValueError for a file without labels.
    """
    safety = read_rows(file, "safety.gate_threshold")[0].values.get("safety")
    if not isinstance(safety, dict) or "gate_threshold" not in safety:
        raise ValueError(
            f"{file}: no safety.gate_threshold; give the accuracy.json of a reward model whose held-out answers are "
            "labelled safe or unsafe, or set scoring.gate_threshold"
        )
    if safety["gate_threshold"] is None:
        print(
            f"{file}: no threshold flags an unsafe answer; scoring.gate_threshold={otherwise:g} is taken",
            file=sys.stderr,
        )
        return otherwise
    return float(safety["gate_threshold"])


def _rules(rule_model: RuleModel) -> Score:
    """Minus the expected number of broken rules, of all that the rule model knows."""

    def score(prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        violations = rule_model.violations([p.prompt for p in prompts], texts, rule_model.notes.rules)
        return rule_reward(torch.zeros(len(texts)), violations, violation_coef=1.0)

    return score


def _rule(name: str, inputs: Mapping[str, Any], s: ScoreSettings) -> Any:
    if name == "pattern":
        return Pattern(s.pattern)
    if name == "function":
        return Function(Path(inputs["reward_function"]), s.function)
    return {"exact_answer": ExactAnswer, "final_number": FinalNumber, "unit_test": UnitTest}[name]()


def _alone(name: str, score: Score) -> Parts:
    """A source with no parts but its own score."""
    return lambda prompts, texts: {name: score(prompts, texts)}
