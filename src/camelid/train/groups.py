"""What stages share that learn from groups: K completions a prompt, drawn anew each iteration and scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import Field

from camelid.functional.schedules import Schedule
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, derived_seed
from camelid.train.common import TrainSettings
from camelid.train.ppo import prompt_indices
from camelid.train.rollout import Drawn, Score, draw
from camelid.types import Prompt, read_records


class GroupSettings(TrainSettings):
    """Settings of stages that learn from groups."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak learning rate."""
    schedule: Schedule = "constant"
    """Shape of the learning rate over the iterations."""
    checkpoint_every: int = Field(default=1, ge=1)
    """Iterations between checkpoints."""
    sampling: Sampling = Sampling()
    """How completions are drawn."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context: set_aside (counted, and
    an error where more than half would go), cut (oldest turns first), or stop."""
    num_iterations: int = Field(default=100, ge=1)
    """Batches of completions."""
    prompts_an_iteration: int = Field(default=128, ge=1)
    """Prompts drawn from at a time."""
    num_samples: int = Field(default=4, ge=1)
    """K, completions a prompt."""
    prompts_a_step: int = Field(default=16, ge=1)
    """Prompts whose completions make an optimizer step."""
    epochs: float = Field(default=1, gt=0)
    """Passes over an iteration's completions."""
    unfinished_score: float | None = -1.0
    """Score of a completion that was cut before its end of turn, whatever the reward model says (null: its own)."""
    share_trunk: bool = False
    """Put the reward models on the policy's weights in memory. They must be adapter folders (model.save_adapter=true in
    their stages) over the very model that training starts from; scores differ from merged ones by their rounding."""


class Prepared(NamedTuple):
    """What a loop needs."""

    policy: Policy
    prompts: Sequence[Prompt]
    score: Score
    too_long: dict[str, Any]
    """How many prompts did not fit."""


def prepare(run: Run) -> Prepared:
    """Inputs `model`, `reward_model`, optional `safety_reward_model`, `prompts`, loaded."""
    s: GroupSettings = run.settings
    policy = Policy.load_for_training(
        run.inputs["model"], s.model, s.optimizer, seed=derived_seed(s.seed, "adapters"), chat_format=s.chat_format
    )
    safety = run.inputs.get("safety_reward_model")
    if s.share_trunk:
        rewards = Rewards.beside(policy, run.inputs["reward_model"], safety, s.chat_format)
    else:
        rewards = Rewards.load(run.inputs["reward_model"], safety, s.model, s.chat_format)
    reader = Reader(policy.chat, policy.model.config.max_position_embeddings)
    given = read_records(run.inputs["prompts"], Prompt)
    prompts, too_long = fitting_prompts(run, given, [reader], s.too_long, s.sampling.max_new_tokens)
    return Prepared(policy, prompts, rewards.score, too_long)


def draw_groups(
    policy: Policy,
    prompts: Sequence[Prompt],
    score: Score,
    s: GroupSettings,
    iteration: int,
    *,
    attempt: int = 0,
    number: int | None = None,
) -> Drawn:
    """An iteration's groups, or the first `number`. Another `attempt` has other prompts and other random numbers."""
    order = derived_seed(s.seed, "attempt", attempt) if attempt else s.seed
    indices = prompt_indices(len(prompts), s.prompts_an_iteration, iteration, order)
    asked = [prompts[i] for i in indices[:number]]
    return draw(
        policy,
        asked,
        score,
        s.sampling,
        seed=derived_seed(order, "rollout", iteration),
        num_samples=s.num_samples,
        unfinished_score=s.unfinished_score,
    )


def members(groups: Sequence[int], num_samples: int) -> list[int]:
    """Places of the completions of some groups, where groups stand side by side."""
    return [group * num_samples + k for group in groups for k in range(num_samples)]


def means(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each metric over an iteration's steps, from those steps that have it; nothing where there was no step."""
    names = {name for step in steps for name in step}
    found = {name: [step[name] for step in steps if name in step] for name in sorted(names)}
    return {name: sum(values) / len(values) for name, values in found.items()}
