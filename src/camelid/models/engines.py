"""Engines that draw in place of the policy itself, behind one interface, each held at the policy's weights.

`sampling.engine.kind=vllm` puts vLLM beside the trainer, `server` asks an OpenAI-compatible one. Both get tokens and
give tokens with their log-probabilities, as the policy's own engine does (`sampler.py`).
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from camelid.models.adapter_config import is_adapter
from camelid.models.batch import Row
from camelid.models.sampling import EngineSettings, Sample, Sampling, wrong_prompt
from camelid.types import Message

if TYPE_CHECKING:
    from camelid.models.policy import Policy

OTHER_MODEL = 0.5
"""Nats a token between engine and policy, in the mean, above which they cannot be the same: rounding to bfloat16 gives
some hundredths, an update of all weights at a usual rate hardly more."""


class SamplingEngine(Protocol):
    """What draws."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        seeds: Sequence[Sequence[int]],
        tick: Callable[[int], None],
    ) -> list[list[Sample]]:
        """Completions of each prompt, one a seed. `tick` hears of rows that are done."""
        ...

    def refresh(self, save: Callable[[Path], None]) -> None:
        """Take other weights, which `save` writes into a folder."""
        ...


class Outside:
    """The engine beside a policy, opened when it is first asked for."""

    def __init__(self) -> None:
        self.engine: SamplingEngine | None = None
        self.settings = EngineSettings()
        self.updates = 0
        """The policy's, when the engine got its weights."""

    def sample(
        self,
        policy: Policy,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        seeds: Sequence[Sequence[int]],
        tick: Callable[[int], None],
    ) -> list[list[Sample]]:
        """As the policy's own engine. Raises ValueError for a prompt that cannot be gone on with."""
        for index, prompt in enumerate(prompts):
            wrong = wrong_prompt(len(prompt), sampling, policy.model.config.max_position_embeddings)
            if wrong:
                raise ValueError(f"prompt {index} {wrong}")
        return self._of(policy, sampling.engine).sample(prompts, sampling, seeds=seeds, tick=tick)

    def _of(self, policy: Policy, settings: EngineSettings) -> SamplingEngine:
        is_new = self.engine is None or self.settings != settings
        if is_new:
            self.engine = None  # vLLM must be gone before another comes
            gc.collect()
            self.engine, self.settings, self.updates = _open(policy, settings), settings, 0
        assert self.engine is not None
        if self.updates != policy.updates:
            self.engine.refresh(lambda folder: policy.save(folder, "Weights on their way to a sampling engine."))
            self.updates, is_new = policy.updates, True
        if is_new:
            _check(policy, self.engine)
        return self.engine


def _open(policy: Policy, settings: EngineSettings) -> SamplingEngine:
    """An engine with the weights that the policy began with."""
    if settings.kind == "server":
        from camelid.models.server_engine import ServerEngine

        return ServerEngine(settings, policy.chat, policy.tokenizer)
    from camelid.models.vllm_engine import VllmEngine

    if is_adapter(policy.path):
        raise ValueError(
            f"{policy.path} is an adapter, and vLLM starts from a whole model: merge it first with "
            f"`camelid models merge {policy.path} --out FOLDER`"
        )
    context, dtype = policy.model.config.max_position_embeddings, str(policy.compute.dtype).removeprefix("torch.")
    return VllmEngine(policy.path, settings, policy.chat.stop_ids, context, dtype, policy.compute.device.type)


def _check(policy: Policy, engine: SamplingEngine) -> None:
    """Raises ValueError for an engine whose model is not the policy's: a few tokens, as both see them."""
    prompt = policy.chat.prompt_ids((Message(role="user", content="Tell me a story."),))
    ((sample,),) = engine.sample([prompt], Sampling(max_new_tokens=8), seeds=[[0]], tick=lambda rows: None)
    row = Row([*prompt, *sample.ids], [False] * len(prompt) + [True] * len(sample.ids))
    own = policy.logprobs([row])[0][len(prompt) :].tolist()
    gap = sum(abs(a - b) for a, b in zip(own, sample.logprobs, strict=True)) / len(own)
    if gap > OTHER_MODEL:  # nothing is known where a server gives no log-probabilities: NaN
        raise ValueError(
            f"the engine's log-probabilities are {gap:.2f} nats a token from those of {policy.path}: it has another "
            f"model, or weights of another round; start it with this one"
        )


def through_folder(save: Callable[[Path], None], hand_over: Callable[[Path], object], inside: str = "") -> None:
    """Write weights into a passing folder and hand that over; `inside`: where the folder is made."""
    with tempfile.TemporaryDirectory(prefix="camelid-weights-", dir=inside or None) as folder:
        save(Path(folder))
        hand_over(Path(folder))
