"""From what the sources of a score say to what trains: penalties, missing ends of turn, bounds, a running scale.

Penalties are at least 0 and are subtracted. That for repetition is a weight times `diversity.repetition`. Scores are
(N,) float32, one a completion; lengths are in tokens, the end of turn included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .standardize import RELATIVE_FLOOR


def length_penalty(num_tokens: Tensor, *, free_tokens: int, per_token: float) -> Tensor:
    """per_token max(0, length - free_tokens): (N,) float32 in units of the score."""
    return per_token * (num_tokens - free_tokens).clamp(min=0).float()


def soft_overlong_penalty(num_tokens: Tensor, *, max_tokens: int, buffer_tokens: int) -> Tensor:
    """How far a completion has come into the last `buffer_tokens` before `max_tokens` (Yu et al. 2025, DAPO,
    arXiv:2503.14476, eq. 13, with the sign turned):

        0                                          where length <= max_tokens - buffer_tokens
        (length - (max_tokens - buffer_tokens)) / buffer_tokens      up to max_tokens
        1                                          beyond

    (N,) float32 in [0, 1]. Raises ValueError for a buffer that is not within 1 .. max_tokens.
    """
    if not 1 <= buffer_tokens <= max_tokens:
        raise ValueError(
            f"a buffer of {buffer_tokens} tokens before a limit of {max_tokens}: it must be within 1 and that"
        )
    return ((num_tokens - (max_tokens - buffer_tokens)).float() / buffer_tokens).clamp(0, 1)


def score_unfinished(scores: Tensor, finished: Tensor, score: float) -> Tensor:
    """`scores` with `score` in the place of each completion that has no end of turn (Huang, Liu and von Werra 2023,
    'N implementation details', policy 5; theirs is -1). `finished`: (N,) bool."""
    return torch.where(finished, scores, score)


def penalise_unfinished(scores: Tensor, finished: Tensor, penalty: float) -> Tensor:
    """`scores` less `penalty` for each completion that has no end of turn, as TRL's `missing_eos_penalty` has it: what
    the completion says still counts. `finished`: (N,) bool."""
    return torch.where(finished, scores, scores - penalty)


def clip_scores(scores: Tensor, limit: float) -> Tensor:
    """Each score brought into [-limit, limit]: no single completion decides a step (DeepSpeed-Chat takes 5, OpenRLHF
    10)."""
    return scores.clamp(-limit, limit)


@dataclass
class RunningMoments:
    """Mean and variance of all scores so far (Chan, Golub and LeVeque 1979, eq. 2.1: batches joined without a loss of
    digits), in float64.

    The state is these three numbers: `dataclasses.asdict(it)` saves it, `RunningMoments(**saved)` restores it exactly.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    """Sum of the squared distances from the mean."""

    def update(self, scores: Tensor) -> None:
        """Take in (N,) scores, N >= 1."""
        new = scores.double().tolist()
        # fsum: the same sum whatever the number of threads.
        mean = math.fsum(new) / len(new)
        gap, total = mean - self.mean, self.count + len(new)
        self.m2 += math.fsum((x - mean) ** 2 for x in new) + gap**2 * self.count * len(new) / total
        self.mean += gap * len(new) / total
        self.count = total

    @property
    def std(self) -> float:
        """Biased standard deviation of all scores so far."""
        return math.sqrt(self.m2 / self.count)

    def standardise(self, scores: Tensor) -> Tensor:
        """(scores - mean) / std, (N,) float32; 0 where all scores so far are equal up to rounding."""
        if not self.count:
            raise ValueError("no score has been taken in yet, so there is no scale")
        deviations = scores.double() - self.mean
        largest = max(abs(self.mean), scores.double().abs().max().item())
        if self.std <= RELATIVE_FLOOR * largest:
            return torch.zeros_like(scores)
        return (deviations / self.std).to(scores.dtype)
