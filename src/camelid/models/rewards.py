"""Two reward models as one: that for safety scores what is asked on unsafe prompts, that for helpfulness the rest.

LLaMA-2 keeps two, since help and safety pull one model in two directions, and lets the safety model speak on prompts
that are tagged as dangerous (arXiv:2307.09288, sections 3.2.2 and 3.2.3). `score` does that; `gated` also lets it speak
wherever it finds an answer unsafe, which wants scores that are probabilities: those of calibrated models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from camelid.functional.gate import combine_scores
from camelid.functional.standardize import logit
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.sharing import reward_model_beside
from camelid.types import Comparison, Preference, Prompt

UNSAFE = "unsafe"
"""The tag of prompts on which the safety model speaks. Harmless ones that only sound dangerous are not among them:
there refusing is the fault, and the helpfulness model says so."""


def is_unsafe(asked: Prompt | Comparison | Preference) -> bool:
    return UNSAFE in asked.tags


class Gated(NamedTuple):
    """Scores of N completions, (N,) float32 on the CPU."""

    score: Tensor
    """logit(R_c) of the model that speaks."""
    helpfulness: Tensor
    """What the model itself gives, before any standardisation: the logit of its probability."""
    safety: Tensor


class Rewards:
    """A reward model, or one for helpfulness and one for safety."""

    def __init__(self, helpfulness: RewardModel, safety: RewardModel | None = None):
        self.helpfulness = helpfulness
        self.safety = safety

    @classmethod
    def load(cls, path: Path, safety_path: Path | None, settings: ModelSettings, chat_format: str) -> Rewards:
        """Trained reward models, to score with; without `safety_path` one scores everything."""
        safety = RewardModel.load(safety_path, settings, chat_format) if safety_path else None
        return cls(RewardModel.load(path, settings, chat_format), safety)

    @classmethod
    def beside(cls, policy: Policy, path: Path, safety_path: Path | None, chat_format: str) -> Rewards:
        """As `load`, of adapter folders, on the weights that the policy has in memory."""
        safety = reward_model_beside(policy, safety_path, chat_format) if safety_path else None
        return cls(reward_model_beside(policy, path, chat_format), safety)

    def of(self, asked: Prompt | Comparison) -> RewardModel:
        """The model that speaks on a prompt."""
        return self.safety if self.safety is not None and is_unsafe(asked) else self.helpfulness

    def score(
        self,
        asked: Sequence[Prompt] | Sequence[Comparison],
        completions: Sequence[str],
        tick: Callable[[int], None] = lambda rows: None,
    ) -> Tensor:
        """Standardised scores (N,) float32 of one completion each, on the CPU. An empty one is read as a space."""
        scores = torch.zeros(len(asked))
        for model in (self.helpfulness, self.safety):
            if model is None:
                continue
            mine = [i for i, item in enumerate(asked) if self.of(item) is model]
            scores[mine] = model.score([model.row(asked[i].prompt, completions[i] or " ") for i in mine], tick)
        return scores

    def gated(self, asked: Sequence[Prompt], completions: Sequence[str], threshold: float) -> Gated:
        """LLaMA-2's combination (`functional.gate`) of the two models' probabilities, sigmoid of their raw scores.

        Raises ValueError where there is no model for safety.
        """
        if self.safety is None:
            raise ValueError(
                "the gate needs a reward model for safety beside the other: give safety_reward_model, or set "
                "two_models=tag"
            )
        helpfulness, safety = (
            model.raw(
                model.score([model.row(i.prompt, text or " ") for i, text in zip(asked, completions, strict=True)])
            )
            for model in (self.helpfulness, self.safety)
        )
        unsafe = torch.tensor([is_unsafe(item) for item in asked])
        spoken = combine_scores(safety.sigmoid(), helpfulness.sigmoid(), unsafe, threshold=threshold)
        return Gated(logit(spoken), helpfulness, safety)
