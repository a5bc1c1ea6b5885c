"""Rejection sampling: draw K answers a prompt from the policy, keep the one that the reward model scores highest.

Fine-tuning on the best of all rounds is `sft` again, on the files that this stage leaves (LLaMA-2 forgot what only
earlier rounds had taught until it kept their best samples, arXiv:2307.09288, section 3.2.3).

    camelid best --model MODEL --reward_model REWARD --prompts prompts.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from camelid.durable import write_json
from camelid.functional.best_of_n import best_of_n_curve
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.rows import finite, read_rows
from camelid.runs import Run, Settings, derived_seed
from camelid.train.scored_samples import CURVE_SIZES, ScoredSample, finished_samples, read_groups, sample_and_score
from camelid.types import Conversation, Message, Prompt, draw, read_records, write_records


class BestSettings(Settings):
    """Rejection sampling."""

    model: ModelSettings = ModelSettings()
    """How the models are held in memory."""
    sampling: Sampling = Sampling()
    """How completions are drawn."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context: set_aside (counted, and
    an error where more than half would go), cut (oldest turns first), or stop."""
    chat_format: str = "model"
    """Chat format of the policy and the reward model."""
    num_samples: int = Field(default=4, ge=2)
    """K, completions a prompt."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""
    prompts_a_chunk: int = Field(default=32, ge=1)
    """Prompts sampled between two writes to disk: what a kill can cost."""


def sample_best(run: Run) -> dict[str, Any]:
    """Stage: `model`, `reward_model`, optional `safety_reward_model`, `prompts` -> samples, best.jsonl, curve.json.

    Optional `temperature`: the temperature.json of a stage `temperature`, in place of the setting.
    """
    s: BestSettings = run.settings
    drawn = draw(read_records(run.inputs["prompts"], Prompt), s.max_prompts, derived_seed(s.seed, "prompts"))
    reader = Reader.of(run.inputs["model"], s.chat_format)
    prompts, too_long = fitting_prompts(run, drawn, [reader], s.too_long, s.sampling.max_new_tokens)
    sampling = s.sampling.model_copy(update=chosen_temperature(run.inputs.get("temperature"), s.num_samples))
    file = run.path / "samples.jsonl"
    done = finished_samples(file, len(prompts), s.num_samples, s.prompts_a_chunk)
    if done < len(prompts):
        policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
        safety = run.inputs.get("safety_reward_model")
        rewards = Rewards.load(run.inputs["reward_model"], safety, s.model, s.chat_format)
        with run.progress("samples", len(prompts) * s.num_samples, done * s.num_samples) as tick:
            sample_and_score(
                file,
                policy,
                rewards,
                prompts,
                sampling,
                s.num_samples,
                done=done,
                prompts_a_chunk=s.prompts_a_chunk,
                seed=s.seed,
                tick=tick,
            )
    groups = read_groups(file, s.num_samples)

    best = [
        conversation for prompt, group in zip(prompts, groups, strict=True) if (conversation := pick(prompt, group))
    ]
    write_records(run.path / "best.jsonl", best)
    scores = np.array([[sample.score for sample in group] for group in groups])
    sizes = [n for n in CURVE_SIZES if n <= s.num_samples]
    curve = [
        {"n": n, "mean": mean, "standard_error": error if len(prompts) > 1 else None}
        for n, mean, error in best_of_n_curve(scores, sizes)
    ]
    write_json(
        run.path / "curve.json", {"temperature": sampling.temperature, "num_prompts": len(prompts), "points": curve}
    )
    return {
        "num_prompts": len(prompts),
        "num_best": len(best),
        "unfinished_prompts": len(prompts) - len(best),
        "mean_score": scores.mean(),
        "best_score": scores.max(1).mean(),
    } | too_long


def chosen_temperature(file: Path | None, num_samples: int) -> dict[str, float]:
    """The temperature in a file of the stage `temperature`, as a change of `Sampling`; none without a file.

    Raises ValueError where it was chosen for the best of another number of samples: with more of them, a higher
    temperature pays.
    """
    if file is None:
        return {}
    found = read_rows(file, "temperature and best_of")[0]
    temperature, best_of = finite(found.values.get("temperature")), found.values.get("best_of")
    if temperature is None:
        raise ValueError(f"{found.place}: no temperature; give the temperature.json of a stage `temperature`")
    if best_of != num_samples:
        raise ValueError(
            f"{file}: temperature {temperature:g} was chosen for the best of {best_of}, and num_samples = "
            f"{num_samples}; make them equal"
        )
    return {"temperature": temperature}


def pick(prompt: Prompt, group: Sequence[ScoredSample]) -> Conversation | None:
    """The best finished, non-empty sample as a demonstration; None where all were cut: they would teach not to end."""
    whole = [sample for sample in group if sample.finished and sample.text.strip()]
    if not whole:
        return None
    best = max(whole, key=lambda sample: sample.score)
    messages = (*prompt.prompt, Message(role="assistant", content=best.text.strip()))
    return Conversation(messages=messages, source="best of K", licence=prompt.licence, tags=prompt.tags)
