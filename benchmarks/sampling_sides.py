"""The sides of `benchmarks/sampling.py`: camelid, transformers in its two ways, vLLM.

Each has `sample(prompts, new, seed, ...)`, which draws `copies` completions of each prompt at temperature 1 in bfloat16
and says how long they became.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Ours:
    """camelid."""

    def __init__(self, chosen: Any):
        from camelid import process

        process.prepare()
        from camelid.models.policy import Policy

        self.chosen, self.policy = chosen, Policy.load(Path(chosen.model))

    def sample(self, prompts: list[list[int]], new: int, seed: int = 0) -> list[int]:
        """Tokens of each completion."""
        from camelid.models.sampling import EngineSettings, Sampling

        engine = EngineSettings(weights=self.chosen.weights)
        sampling = Sampling(max_new_tokens=new, batch_rows=self.chosen.places, engine=engine)
        drawn = self.policy.sample(prompts, sampling, seed=seed, num_samples=self.chosen.copies)
        return [len(one.ids) for samples in drawn for one in samples]


class Transformers:
    """`generate` in batches of `size`, rows of like length together; continuous batching where it is 0."""

    def __init__(self, chosen: Any):
        import torch
        import transformers
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.name = f"transformers {transformers.__version__}, {chosen.against}"
        self.copies = chosen.copies
        self.tokenizer = AutoTokenizer.from_pretrained(chosen.model)
        self.model = AutoModelForCausalLM.from_pretrained(chosen.model, dtype=torch.bfloat16).eval()

    def sample(self, prompts: list[list[int]], new: int, size: int, seed: int = 0) -> list[int]:
        """Tokens of each completion."""
        import torch
        from transformers import GenerationConfig

        torch.manual_seed(seed)
        settings = GenerationConfig(max_new_tokens=new, do_sample=True, temperature=1.0, top_k=0, top_p=1.0)
        settings.pad_token_id = self.tokenizer.pad_token_id
        settings.eos_token_id = self.tokenizer.eos_token_id
        rows = sorted((prompt for prompt in prompts for _ in range(self.copies)), key=len)
        if not size:
            done = self.model.generate_batch(inputs=rows, generation_config=settings, progress_bar=False)
            return [len(one.generated_tokens) for one in done.values()]
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [length for part in parts for length in self._generate(part, settings)]

    def _generate(self, rows: Sequence[list[int]], settings: Any) -> list[int]:
        import torch

        width, pad, end = max(map(len, rows)), settings.pad_token_id, settings.eos_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        with torch.no_grad():
            made = self.model.generate(ids, attention_mask=mask, generation_config=settings)[:, width:].tolist()
        return [row.index(end) + 1 if end in row else len(row) for row in made]


class Vllm:
    """vLLM, compiled, with its prefix cache: the samples of a prompt are one request."""

    def __init__(self, chosen: Any):
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # so that memory and processor time are counted
        os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
        import vllm

        self.vllm, self.copies, self.name = vllm, chosen.copies, f"vLLM {vllm.__version__}"
        self.llm = vllm.LLM(
            chosen.model,
            dtype="bfloat16",
            max_model_len=chosen.longest + chosen.new,
            max_num_seqs=chosen.places,
            kv_cache_memory_bytes=4 << 30,
            generation_config="vllm",
        )

    def sample(self, prompts: list[list[int]], new: int, size: int, seed: int = 0) -> list[int]:
        """Tokens of each completion."""
        settings = self.vllm.SamplingParams(temperature=1.0, max_tokens=new, n=self.copies)
        done = self.llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], settings, use_tqdm=False)
        return [len(one.token_ids) for found in done for one in found.outputs]
