"""What stages share that learn from groups: K completions a prompt, drawn anew each iteration and scored."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from camelid.models.policy import Policy
from camelid.runs import derived_seed
from camelid.train.common import in_turn
from camelid.train.practice import PracticeSettings
from camelid.train.rollout import Drawn, draw
from camelid.train.scoring import Scorer
from camelid.types import Prompt


class GroupSettings(PracticeSettings):
    """Settings of stages that learn from groups."""

    prompts_an_iteration: int = Field(default=128, ge=1)
    """Prompts drawn from at a time."""
    num_samples: int = Field(default=4, ge=1)
    """K, completions a prompt."""
    prompts_a_step: int = Field(default=16, ge=1)
    """Prompts whose completions make an optimizer step."""
    epochs: float = Field(default=1, gt=0)
    """Passes over an iteration's completions."""


def draw_groups(
    policy: Policy,
    prompts: Sequence[Prompt],
    scorer: Scorer,
    s: GroupSettings,
    iteration: int,
    *,
    attempt: int = 0,
    number: int | None = None,
) -> Drawn:
    """An iteration's groups, or the first `number`. Another `attempt` has other prompts and other random numbers."""
    order = derived_seed(s.seed, "attempt", attempt) if attempt else s.seed
    indices = in_turn(len(prompts), s.prompts_an_iteration, iteration, order)
    asked = [prompts[i] for i in indices[:number]]
    seed = derived_seed(order, "rollout", iteration)
    return draw(policy, asked, scorer, s.sampling, seed=seed, num_samples=s.num_samples)


def members(groups: Sequence[int], num_samples: int) -> list[int]:
    """Places of the completions of some groups, where groups stand side by side."""
    return [group * num_samples + k for group in groups for k in range(num_samples)]


def means(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each metric over an iteration's steps, from those steps that have it; nothing where there was no step."""
    names = {name for step in steps for name in step}
    found = {name: [step[name] for step in steps if name in step] for name in sorted(names)}
    return {name: sum(values) / len(values) for name, values in found.items()}
