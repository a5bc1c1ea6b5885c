"""Pairs to be judged: two completions of each prompt, from two versions of the model and at two temperatures.

LLaMA-2 draws the two from different model variants and temperatures for diversity (arXiv:2307.09288, section 3.2.1).
With the newest version always among them, the reward model stays on the distribution that it will have to judge.
"""

from __future__ import annotations

import random
from typing import Any

from pydantic import Field

from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Comparison, Prompt, draw, read_records, write_records


class PairSettings(Settings):
    """Pair sampling."""

    model: ModelSettings = ModelSettings()
    """How the models are held in memory."""
    chat_format: str = "model"
    """Chat format of both models."""
    sampling: Sampling = Sampling(temperature=0.8)
    """How the newest version's completions are drawn."""
    other_sampling: Sampling = Sampling(temperature=1.1)
    """How the other version's completions are drawn."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in a model's context: set_aside (counted, and
    an error where more than half would go), cut (oldest turns first), or stop."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""


def sample_pairs(run: Run) -> dict[str, Any]:
    """Stage: `model`, `other_model`, `prompts` -> comparisons.jsonl, sides shuffled, equal completions left out."""
    s: PairSettings = run.settings
    drawn = draw(read_records(run.inputs["prompts"], Prompt), s.max_prompts, derived_seed(s.seed, "prompts"))
    readers = [Reader.of(run.inputs[name], s.chat_format) for name in ("model", "other_model")]
    most = max(s.sampling.max_new_tokens, s.other_sampling.max_new_tokens)
    prompts, too_long = fitting_prompts(run, drawn, readers, s.too_long, most)
    newest = _complete(run, "model", prompts, s.sampling)
    other = _complete(run, "other_model", prompts, s.other_sampling)
    sides = random.Random(derived_seed(s.seed, "sides"))
    comparisons = []
    for prompt, a, b in zip(prompts, newest, other, strict=True):
        if a.strip() == b.strip() or not a.strip() or not b.strip():
            continue
        (first, first_model), (second, second_model) = sides.sample([(a, "newest"), (b, "other")], 2)
        comparisons.append(
            Comparison(
                prompt=prompt.prompt,
                first=first.strip(),
                second=second.strip(),
                first_model=first_model,
                second_model=second_model,
                source=prompt.source,
                licence=prompt.licence,
                tags=prompt.tags,
            )
        )
    write_records(run.path / "comparisons.jsonl", comparisons)
    return {"num_prompts": len(prompts), "num_comparisons": len(comparisons)} | too_long


def _complete(run: Run, which: str, prompts: list[Prompt], sampling: Sampling) -> list[str]:
    s: PairSettings = run.settings
    policy = Policy.load(run.inputs[which], s.model, s.chat_format)
    ids = [policy.chat.prompt_ids(p.prompt) for p in prompts]
    with run.progress(f"completions of {which.replace('_', ' ')}", len(prompts)) as tick:
        drawn = policy.sample(ids, sampling, seed=derived_seed(s.seed, which), tick=tick)
    return [policy.chat.completion_text(samples[0].ids) for samples in drawn]
