"""K scored samples of each prompt, kept on disk a chunk of prompts at a time: what rejection sampling and the choice of
its temperature have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.runs import derived_seed
from camelid.types import Prompt

CURVE_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Where a curve of the best of N has points, as far as there are samples."""


class ScoredSample(BaseModel):
    """One completion: what was sampled, as ids; text is only a view of it."""

    model_config = ConfigDict(frozen=True)

    prompt_id: str
    ids: list[int]
    logprobs: list[float]
    finished: bool
    text: str
    score: float


def finished_samples(file: Path, num_prompts: int, num_samples: int, prompts_a_chunk: int) -> int:
    """Prompts whose samples are in the file; a chunk that a kill cut short is taken out of it."""
    return keep_whole_chunks(file, prompts_a_chunk * num_samples, num_prompts * num_samples) // num_samples


def sample_and_score(
    file: Path,
    policy: Policy,
    rewards: Rewards,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    num_samples: int,
    *,
    done: int,
    prompts_a_chunk: int,
    seed: int,
    tick: Callable[[int], None],
) -> None:
    """Append the samples of all prompts after the first `done` to the file."""
    for start in range(done, len(prompts), prompts_a_chunk):
        chunk = prompts[start : start + prompts_a_chunk]
        drawn = policy.sample(
            [policy.chat.prompt_ids(p.prompt) for p in chunk],
            sampling,
            seed=derived_seed(seed, "samples", start),
            num_samples=num_samples,
            tick=tick,
        )
        flat = [
            (p, sample, policy.chat.completion_text(sample.ids))
            for p, k in zip(chunk, drawn, strict=True)
            for sample in k
        ]
        scores = rewards.score([p for p, _, _ in flat], [text for _, _, text in flat])
        append_json_lines(
            file,
            [
                ScoredSample(prompt_id=p.id, **sample._asdict(), text=text, score=score).model_dump()
                for (p, sample, text), score in zip(flat, scores.tolist(), strict=True)
            ],
        )


def read_groups(file: Path, num_samples: int) -> list[list[ScoredSample]]:
    """The samples of each prompt, in order."""
    samples = [ScoredSample.model_validate_json(line) for line in read_whole_lines(file)]
    return [samples[i : i + num_samples] for i in range(0, len(samples), num_samples)]
