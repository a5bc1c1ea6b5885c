"""Rerank: draw N answers of a policy, give the one that scores highest. It needs no training, only N times the work.

Sparrow's serving reranks 8 (Glaese et al. 2022, arXiv:2209.14375). Answers that were cut at `max_new_tokens` or are
empty are taken only where there is no other. Used by `camelid chat --rerank` and by the stage that measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from camelid.models.policy import Policy
from camelid.models.rule_rewards import RuleRewards
from camelid.models.sampling import Sampling
from camelid.types import Prompt


class Candidate(NamedTuple):
    """One of N answers, with what stands for and against it."""

    text: str
    num_tokens: int
    finished: bool
    reward: float
    preference: float
    violations: dict[str, float]
    """P(broken) by id of the rule."""


def candidates(
    policy: Policy,
    rewards: RuleRewards,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    number: int,
    *,
    seed: int,
    tick: Callable[[int], None] = lambda rows: None,
) -> list[list[Candidate]]:
    """`number` answers to each prompt, in the order in which they were drawn. `tick` hears of drawn answers.

    Raises ValueError at temperature 0, where all would be the same.
    """
    if sampling.temperature == 0:
        raise ValueError(f"temperature 0 draws {number} times the same answer: raise it, or do not rerank")
    ids = [policy.chat.prompt_ids(prompt.prompt) for prompt in prompts]
    drawn = policy.sample(ids, sampling, seed=seed, num_samples=number, tick=tick)
    flat = [
        (p, one, policy.chat.completion_text(one.ids).strip()) for p, k in zip(prompts, drawn, strict=True) for one in k
    ]
    scored = rewards.judge([p for p, _, _ in flat], [text for _, _, text in flat])
    names = [rule.id for rule in rewards.rules]
    found = [
        Candidate(text, len(one.ids), one.finished, reward, preference, dict(zip(names, broken, strict=True)))
        for (_, one, text), reward, preference, broken in zip(flat, *(part.tolist() for part in scored), strict=True)
    ]
    return [found[i : i + number] for i in range(0, len(found), number)]


def best_of(answers: Sequence[Candidate]) -> int:
    """Place of the answer to give: whole before cut before empty, then by reward; the first of equals."""
    return max(range(len(answers)), key=lambda i: (bool(answers[i].text), answers[i].finished, answers[i].reward, -i))
