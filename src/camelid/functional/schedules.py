"""Numbers that change from step to step: the learning rate and the coefficient of the KL penalty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate(
    step: int,
    num_steps: int,
    peak: float,
    *,
    kind: Schedule,
    warmup_steps: int = 0,
    final_fraction: float = 0.0,
) -> float:
    """Learning rate of step `step` (from 0) out of `num_steps` optimizer steps, in the units of `peak`.

    A linear warm-up over `warmup_steps` steps (the first step is not 0 but peak / warmup_steps), then by `kind`:

        constant  peak
        linear    from peak to final_fraction * peak, reached at the last step
        cosine    the same ends, along half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, no restart)

    LLaMA-2's reward models use cosine with final_fraction 0.1 and a warm-up of 3% of the steps, at least 5
    (arXiv:2307.09288, section 3.2.2). A single step after the warm-up runs at the peak.
    Raises ValueError for a step outside the run or an unknown kind.
    """
    if not 0 <= step < num_steps:
        raise ValueError(f"step {step} is outside a run of {num_steps} steps (0 to {num_steps - 1})")
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(num_steps - 1 - warmup_steps, 1)
    if kind == "constant":
        return peak
    if kind == "linear":
        share = 1 - progress
    elif kind == "cosine":
        share = (1 + math.cos(math.pi * progress)) / 2
    else:
        raise ValueError(f"no schedule {kind!r}; there are constant, linear, cosine")
    return peak * (final_fraction + (1 - final_fraction) * share)


def warmup(num_steps: int, *, at_least: int, fraction: float) -> int:
    """Steps of warm-up: a `fraction` of all steps, rounded, but `at_least` so many.

    LLaMA-2's reward models: 3%, at least 5 (arXiv:2307.09288, section 3.2.2).
    """
    return max(at_least, round(fraction * num_steps))


@dataclass
class AdaptiveKL:
    """A KL coefficient that steers the divergence to a target (Ziegler et al. 2019, arXiv:1909.08593, section 2.2).

        e = clip(KL / target - 1, -0.2, 0.2),        coef <- coef (1 + e num_samples / horizon)

    The paper writes a constant K = 0.1 for num_samples / horizon; the form here is that of its code, which does not
    depend on how samples are split into batches. Huang, Liu and von Werra use 0.15, 6 nats and 10,000 samples.
    The state is these three numbers: `dataclasses.asdict(it)` saves it, `AdaptiveKL(**saved)` restores it.
    """

    coef: float
    """The coefficient now."""
    target: float
    """KL divergence to steer to, in nats per completion (summed over its tokens)."""
    horizon: float
    """Time constant, in samples."""

    def update(self, kl: float, num_samples: int) -> float:
        """Take in the mean KL (nats per completion) of `num_samples` completions; returns the new coefficient."""
        if not math.isfinite(kl):
            raise ValueError(f"the KL divergence is {kl}; the coefficient cannot follow it")
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.coef *= 1 + error * num_samples / self.horizon
        return self.coef
