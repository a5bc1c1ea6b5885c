"""Rejection sampling: draw K answers a prompt from the policy, keep the one that the reward model scores highest.

Fine-tuning on the best of all rounds is `sft` again, on the files that this stage leaves (LLaMA-2 forgot what only
earlier rounds had taught until it kept their best samples, arXiv:2307.09288, section 3.2.3).

    camelid best --model MODEL --reward_model REWARD --prompts prompts.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.functional.best_of_n import best_of_n_curve
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, Settings, derived_seed
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


class ScoredSample(BaseModel):
    """One completion: what was sampled, as ids; text is only a view of it."""

    model_config = ConfigDict(frozen=True)

    prompt_id: str
    ids: list[int]
    logprobs: list[float]
    finished: bool
    text: str
    score: float


def sample_best(run: Run) -> dict[str, Any]:
    """Stage: `model`, `reward_model`, optional `safety_reward_model`, `prompts` -> samples, best.jsonl, curve.json."""
    s: BestSettings = run.settings
    drawn = draw(read_records(run.inputs["prompts"], Prompt), s.max_prompts, derived_seed(s.seed, "prompts"))
    reader = Reader.of(run.inputs["model"], s.chat_format)
    prompts, too_long = fitting_prompts(run, drawn, [reader], s.too_long, s.sampling.max_new_tokens)
    file = run.path / "samples.jsonl"
    total = len(prompts) * s.num_samples
    done = keep_whole_chunks(file, s.prompts_a_chunk * s.num_samples, total) // s.num_samples
    if done < len(prompts):
        _sample_and_score(run, prompts, done)
    samples = [ScoredSample.model_validate_json(line) for line in read_whole_lines(file)]
    groups = [samples[i : i + s.num_samples] for i in range(0, len(samples), s.num_samples)]

    best = [
        conversation for prompt, group in zip(prompts, groups, strict=True) if (conversation := pick(prompt, group))
    ]
    write_records(run.path / "best.jsonl", best)
    scores = np.array([[sample.score for sample in group] for group in groups])
    sizes = [n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n <= s.num_samples]
    curve = [
        {"n": n, "mean": mean, "standard_error": error if len(prompts) > 1 else None}
        for n, mean, error in best_of_n_curve(scores, sizes)
    ]
    write_json(
        run.path / "curve.json", {"temperature": s.sampling.temperature, "num_prompts": len(prompts), "points": curve}
    )
    return {
        "num_prompts": len(prompts),
        "num_best": len(best),
        "unfinished_prompts": len(prompts) - len(best),
        "mean_score": scores.mean(),
        "best_score": scores.max(1).mean(),
    } | too_long


def _sample_and_score(run: Run, prompts: Sequence[Prompt], done: int) -> None:
    s: BestSettings = run.settings
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    safety = run.inputs.get("safety_reward_model")
    rewards = Rewards.load(run.inputs["reward_model"], safety, s.model, s.chat_format)
    with run.progress("samples", len(prompts) * s.num_samples, done * s.num_samples) as tick:
        for start in range(done, len(prompts), s.prompts_a_chunk):
            chunk = prompts[start : start + s.prompts_a_chunk]
            drawn = policy.sample(
                [policy.chat.prompt_ids(p.prompt) for p in chunk],
                s.sampling,
                seed=derived_seed(s.seed, "samples", start),
                num_samples=s.num_samples,
                tick=tick,
            )
            flat = [
                (p, sample, policy.chat.completion_text(sample.ids))
                for p, k in zip(chunk, drawn, strict=True)
                for sample in k
            ]
            scores = rewards.score([p for p, _, _ in flat], [text for _, _, text in flat])
            append_json_lines(
                run.path / "samples.jsonl",
                [
                    ScoredSample(prompt_id=p.id, **sample._asdict(), text=text, score=score).model_dump()
                    for (p, sample, text), score in zip(flat, scores.tolist(), strict=True)
                ],
            )


def pick(prompt: Prompt, group: Sequence[ScoredSample]) -> Conversation | None:
    """The best finished, non-empty sample as a demonstration; None where all were cut: they would teach not to end."""
    whole = [sample for sample in group if sample.finished and sample.text.strip()]
    if not whole:
        return None
    best = max(whole, key=lambda sample: sample.score)
    messages = (*prompt.prompt, Message(role="assistant", content=best.text.strip()))
    return Conversation(messages=messages, source="best of K", licence=prompt.licence, tags=prompt.tags)
