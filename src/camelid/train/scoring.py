"""The score of a completion: reward models and verifiable rewards, added up, brought to a scale, shaped. Every part is
kept, so that a reader sees what was rewarded.

In this order: each source's score times its weight; their sum, `score`, which means the same in every iteration; then
the standardisation, the penalties, the bounds, and last the fixed score of unfinished completions: `final`, which
trains. A second general reward model may look on as an alarm; it is in no sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from camelid.functional.diversity import repetition
from camelid.functional.shaping import (
    RunningMoments,
    clip_scores,
    length_penalty,
    penalise_unfinished,
    score_unfinished,
    soft_overlong_penalty,
)
from camelid.functional.standardize import standardize
from camelid.train.verifiable import Score
from camelid.types import Prompt

SourceName = Literal["reward_model", "rules", "exact_answer", "final_number", "pattern", "unit_test", "function"]


class ScoreSettings(BaseModel):
    """What completions are scored by."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sources: dict[SourceName, float] = {"reward_model": 1.0}
    """What is added up, each with its weight: reward_model; rules, minus the expected number of rules that the input
    rule_model takes for broken (Sparrow); exact_answer, final_number, pattern and unit_test, which
    are 1 or 0 and compare with the `answer` of the prompt; function, from the input reward_function."""
    two_models: Literal["tag", "gate"] = "tag"
    """Where there is a reward model for safety, it speaks on prompts tagged unsafe (tag), or, as in LLaMA-2, also
    wherever its probability is below `gate_threshold`; the score is then the logit of the probability (gate)."""
    gate_threshold: float = Field(default=0.15, ge=0, le=1)
    """LLaMA-2's; with another reward model it must be set anew."""
    pattern: str = ""
    """The regular expression of the source pattern, for all prompts; empty takes each prompt's own `answer`."""
    function: str = "reward"
    """Name of the function in the file reward_function: (Prompt, completion text) -> number."""
    allow_code: bool = False
    """Say that the source unit_test may run what the model wrote, in a confined process."""
    standardise: Literal["no", "batch", "running"] = "no"
    """To mean 0 and standard deviation 1: over the batch (LLaMA-2), or by mean and deviation of all scores so far."""
    length_penalty: float = Field(default=0.0, ge=0)
    """Subtracted for each token above `free_tokens`."""
    free_tokens: int = Field(default=0, ge=0)
    """Tokens of a completion that cost nothing."""
    overlong_tokens: int = Field(default=0, ge=0)
    """Length of DAPO's stretch before max_new_tokens in which the overlong penalty rises from 0 to its whole; 0: none
    of it."""
    overlong_penalty: float = Field(default=1.0, ge=0)
    """The whole of it."""
    repetition_penalty: float = Field(default=0.0, ge=0)
    """Subtracted times the share of a completion's word 4-grams that it had before."""
    clip: float = Field(default=0.0, ge=0)
    """Scores are brought into -clip .. clip; 0: they are not."""
    unfinished_score: float | None = -1.0
    """Score of a completion that was cut before its end of turn, whatever the sources say (null: their own)."""
    unfinished_penalty: float = Field(default=0.0, ge=0)
    """Subtracted from the score of such a completion, where `unfinished_score` is null."""

    @model_validator(mode="after")
    def _hold_together(self) -> ScoreSettings:
        if not any(self.sources.values()):
            names = ", ".join(get_args(SourceName))
            raise ValueError(f"sources: nothing scores; give a weight to one or several of {names}")
        if "unit_test" in self.sources and not self.allow_code:
            raise ValueError(
                "sources: unit_test runs code that the model wrote, within limits that camelid.confined.sandbox "
                "describes; set allow_code=true if that is what you want"
            )
        if self.unfinished_penalty and self.unfinished_score is not None:
            raise ValueError(
                "unfinished_penalty: a completion that has a fixed score has no penalty; set unfinished_score=null"
            )
        return self


class Completion(NamedTuple):
    """What is scored."""

    text: str
    num_tokens: int
    """The end of turn included."""
    finished: bool
    """Whether it has an end of turn."""


@dataclass(frozen=True)
class Scored:
    """Scores of N completions, (N,) float32 each, on the CPU."""

    final: Tensor
    """What trains."""
    score: Tensor
    """What the sources say together: comparable from iteration to iteration."""
    parts: dict[str, Tensor]
    """Each source's score, each model's raw logit behind a gate, each penalty, the alarm's score, by name."""

    def columns(self) -> dict[str, Tensor]:
        """By the names that they have in metrics.jsonl and samples.jsonl."""
        return {"score": self.score, "shaped_score": self.final} | self.parts

    def means(self) -> dict[str, float]:
        """For metrics.jsonl."""
        return {name: values.mean().item() for name, values in self.columns().items()}

    def row(self, index: int) -> dict[str, float]:
        """All scores of one completion."""
        return {name: values[index].item() for name, values in self.columns().items()}

    def take(self, indices: Sequence[int]) -> Scored:
        """Of some of the completions."""
        chosen = torch.tensor([*indices], dtype=torch.long)
        parts = {name: values[chosen] for name, values in self.parts.items()}
        return Scored(self.final[chosen], self.score[chosen], parts)

    def joined(self, other: Scored) -> Scored:
        """Of these completions, then of the others, scored by the same scorer."""
        parts = {name: torch.cat([values, other.parts[name]]) for name, values in self.parts.items()}
        return Scored(torch.cat([self.final, other.final]), torch.cat([self.score, other.score]), parts)


Parts = Callable[[Sequence[Prompt], Sequence[str]], dict[str, Tensor]]
"""(prompts, completions) -> raw scores by name, that under the source's own name among them."""


class Scorer:
    """Prompts and completions in, scores out. Its one state is the running scale."""

    def __init__(
        self, settings: ScoreSettings, sources: Mapping[str, Parts], max_new_tokens: int, alarm: Score | None = None
    ):
        self.settings = settings
        self.sources = sources
        self.max_new_tokens = max_new_tokens
        self.alarm = alarm
        self.moments = RunningMoments()

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scored:
        """Scores that train. Moves the running scale on."""
        s = self.settings
        score, parts = self.measure(prompts, completions)
        final = self._to_scale(score)
        for name, penalty in self._penalties(completions).items():
            final, parts[name] = final - penalty, penalty
        if self.alarm is not None:
            parts["alarm_score"] = self.alarm(prompts, [c.text for c in completions])
        finished = torch.tensor([c.finished for c in completions])
        if s.unfinished_penalty:
            final = penalise_unfinished(final, finished, s.unfinished_penalty)
        if s.clip:
            final = clip_scores(final, s.clip)
        if s.unfinished_score is not None:
            final = score_unfinished(final, finished, s.unfinished_score)
        return Scored(final, score, parts)

    def measure(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> tuple[Tensor, dict[str, Tensor]]:
        """(`score`, raw parts) by the sources alone: for prompts that nothing is learnt from."""
        texts = [completion.text for completion in completions]
        total = torch.zeros(len(texts))
        found: dict[str, Tensor] = {}
        for name, source in self.sources.items():
            parts = source(prompts, texts)
            self._check_finite(parts, prompts)
            total = total + self.settings.sources[name] * parts[name]  # type: ignore[index]
            found |= {f"{part}_score": values for part, values in parts.items()}
        return total, found

    def state(self) -> dict[str, Any]:
        return asdict(self.moments)

    def restore(self, state: Mapping[str, Any]) -> None:
        self.moments = RunningMoments(**state)

    def _to_scale(self, score: Tensor) -> Tensor:
        if self.settings.standardise == "batch":
            return standardize(score, torch.ones_like(score, dtype=torch.bool))
        if self.settings.standardise == "running":
            self.moments.update(score)
            return self.moments.standardise(score)
        return score

    def _penalties(self, completions: Sequence[Completion]) -> dict[str, Tensor]:
        s = self.settings
        lengths = torch.tensor([c.num_tokens for c in completions])
        penalties: dict[str, Tensor] = {}
        if s.length_penalty:
            penalties["length_penalty"] = length_penalty(lengths, free_tokens=s.free_tokens, per_token=s.length_penalty)
        if s.overlong_tokens:
            share = soft_overlong_penalty(lengths, max_tokens=self.max_new_tokens, buffer_tokens=s.overlong_tokens)
            penalties["overlong_penalty"] = s.overlong_penalty * share
        if s.repetition_penalty:
            shares = torch.tensor([repetition(c.text) for c in completions])
            penalties["repetition_penalty"] = s.repetition_penalty * shares
        return penalties

    @staticmethod
    def _check_finite(parts: Mapping[str, Tensor], prompts: Sequence[Prompt]) -> None:
        for name, values in parts.items():
            wrong = (~values.isfinite()).nonzero().flatten().tolist()
            if wrong:
                raise ValueError(
                    f"{name}: the score of a completion of prompt {prompts[wrong[0]].id} is {values[wrong[0]].item()}; "
                    f"a score must be a finite number"
                )
