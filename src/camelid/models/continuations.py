"""Plain continuations of texts by a language model: no chat format, as for a model that only completes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from camelid.models.policy import Policy
from camelid.models.sampling import Sampling


def continuations(
    path: Path, texts: Sequence[str], sampling: Sampling, *, seed: int, tick: Callable[[int], None] = lambda rows: None
) -> list[str]:
    """One continuation of each text, its first space included; it ends with the model's end of turn or is cut."""
    policy = Policy.load(path)
    start = [] if policy.tokenizer.bos_token_id is None or not _adds_start(policy) else [policy.tokenizer.bos_token_id]
    ids = [start + policy.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    drawn = policy.sample(ids, sampling, seed=seed, tick=tick)
    return [policy.tokenizer.decode(samples[0].ids, skip_special_tokens=True) for samples in drawn]


def _adds_start(policy: Policy) -> bool:
    """Whether the tokenizer itself begins every text with the start token, as LLaMA's does and SmolLM2's does not."""
    ids = policy.tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == policy.tokenizer.bos_token_id
