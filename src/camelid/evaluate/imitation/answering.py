"""What needs a network in a comparison: answers of a model to prompts, and a reward model's scores of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from camelid.evaluate.answer_files import prompt_key
from camelid.evaluate.imitation.answers import Answers
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.sampling import Sampling
from camelid.types import Messages

Tick = Callable[[int], None]


def sample_answers(
    model: Path,
    prompts: Sequence[Messages],
    sampling: Sampling,
    *,
    seed: int = 0,
    name: str = "",
    tick: Tick = lambda rows: None,
) -> Answers:
    """One answer of a model to each prompt, in its own chat format."""
    policy = Policy.load(model)
    drawn = policy.sample([policy.chat.prompt_ids(prompt) for prompt in prompts], sampling, seed=seed, tick=tick)
    texts = [policy.chat.completion_text(samples[0].ids).strip() for samples in drawn]
    keys = [prompt_key(prompt) for prompt in prompts]
    return Answers(name or model.name, dict(zip(keys, texts, strict=True)), dict(zip(keys, prompts, strict=True)))


def judge_scores(
    judge: RewardModel, texts: Mapping[str, str], prompts: Mapping[str, Messages], tick: Tick = lambda rows: None
) -> dict[str, float]:
    """A reward model's score of each answer, by key. Raises ValueError where an answer's prompt is not known."""
    missing = [key for key in texts if key not in prompts]
    if missing:
        raise ValueError(f"a judge needs the prompts, and the file has none to {missing[0]!r}")
    scores = judge.score([judge.row(prompts[key], text or " ") for key, text in texts.items()], tick)
    return dict(zip(texts, scores.tolist(), strict=True))
