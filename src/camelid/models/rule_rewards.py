"""Preference and rules together: what a preference model says of an answer, less what a rule model says it breaks.

`score` is that of `Rewards`, so that whatever takes the one takes the other. Sparrow optimises and reranks by both
(Glaese et al. 2022, arXiv:2209.14375); how they are weighed here is our reading (`functional/rules.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from camelid.functional.rules import rule_reward
from camelid.models.model_settings import ModelSettings
from camelid.models.rewards import Rewards
from camelid.models.rule_model import RuleModel
from camelid.models.rule_notes import NOTES
from camelid.types import Comparison, Prompt, Rule


class Scored(NamedTuple):
    """N answers."""

    rewards: Tensor
    """(N,) preference less violations."""
    preferences: Tensor
    """(N,) standardised scores."""
    violations: Tensor
    """(N, R) P(rule broken)."""


class RuleRewards:
    """A preference model, or one for helpfulness and one for safety, with a rule model over some of its rules."""

    def __init__(
        self, preference: Rewards, rule_model: RuleModel | None, rules: Sequence[Rule], violation_coef: float = 1.0
    ):
        self.preference = preference
        self.rule_model = rule_model
        self.rules = list(rules) if rule_model else []
        self.violation_coef = violation_coef

    @classmethod
    def load(
        cls,
        path: Path,
        rule_path: Path | None,
        settings: ModelSettings,
        chat_format: str = "model",
        *,
        rules: Sequence[Rule] = (),
        violation_coef: float = 1.0,
    ) -> RuleRewards:
        """Trained models, to score with. No `rules`: all that the rule model knows; no `rule_path`: preference alone.

        Raises ValueError for models in each other's place.
        """
        if (path / NOTES).exists():
            raise ValueError(
                f"{path} is a rule model, and a preference model is wanted here: `camelid reward` trains one"
            )
        model = RuleModel.load(rule_path, settings, chat_format) if rule_path else None
        chosen = rules or (model.notes.rules if model else ())
        return cls(Rewards.load(path, None, settings, chat_format), model, chosen, violation_coef)

    def judge(
        self,
        asked: Sequence[Prompt] | Sequence[Comparison],
        completions: Sequence[str],
        tick: Callable[[int], None] = lambda rows: None,
    ) -> Scored:
        """Rewards with the parts that they are made of, all float32 on the CPU."""
        preferences = self.preference.score(asked, completions, tick)
        violations = torch.zeros(len(asked), len(self.rules))
        if self.rule_model:
            violations = self.rule_model.violations([item.prompt for item in asked], completions, self.rules)
        reward = rule_reward(preferences, violations, violation_coef=self.violation_coef)
        return Scored(reward, preferences, violations)

    def score(
        self,
        asked: Sequence[Prompt] | Sequence[Comparison],
        completions: Sequence[str],
        tick: Callable[[int], None] = lambda rows: None,
    ) -> Tensor:
        """Rewards (N,) of one completion each, as `Rewards.score`."""
        return self.judge(asked, completions, tick).rewards
