"""What both sides of `benchmarks/gpu.py` train: models with random weights, packs of random rows; and their memory."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from alternate import Clock

LLAMA = {"num_key_value_heads": 8, "vocab_size": 128256, "rope_theta": 500000.0, "max_position_embeddings": 8192}
SIZES: dict[str, dict[str, Any]] = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
    | {"tie_word_embeddings": True}
    | LLAMA,
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32} | LLAMA,
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 8192, "tie_word_embeddings": True},
}
"""The shapes of Llama-3.2-1B and Llama-3-8B; `tiny` for a CPU."""
TOKENS = {"1b": 4096, "8b": 4096, "tiny": 256}
"""Of a micro-batch."""
LONGEST = {"1b": 2048, "8b": 2048, "tiny": 128}
PACKS_A_STEP = 4


def make_packs(size: str, number: int) -> list[list[list[int]]]:
    """Packs of rows of tokens: lengths log-normal around 250, as conversations are, the same at every call."""
    from camelid.functional.packing import pack

    draw, longest = random.Random(0), LONGEST[size]
    wanted = number * TOKENS[size]
    lengths: list[int] = []
    while sum(lengths) < wanted:
        lengths.append(max(16, min(longest, int(draw.lognormvariate(5.5 if longest > 500 else 3.5, 0.9)))))
    vocabulary = SIZES[size]["vocab_size"]
    rows = [[draw.randrange(10, vocabulary) for _ in range(length)] for length in lengths]
    return [[rows[i] for i in part] for part in pack(lengths, TOKENS[size])][:number]


def prompt_tokens(row: list[int]) -> int:
    """The first two fifths of a row are its prompt, which does not train."""
    return max(1, 2 * len(row) // 5)


def device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def random_model(size: str, dtype: Any, attention: str) -> Any:
    """A model with random weights, made where and as it is used: there is no second copy of it anywhere."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(**SIZES[size], bos_token_id=1, eos_token_id=2, pad_token_id=0)
    with device():
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)


def write_tokenizer(folder: Path) -> Path:
    """Bytes as tokens, and chat marks: a policy wants a tokenizer, if only to know where a turn ends."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from camelid.models.formats import built_in_template

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*marks, *alphabet])}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(marks)
    names = dict(zip(("unk_token", "bos_token", "eos_token"), marks, strict=True))
    template = built_in_template("chatml", tokenizer_writes_start=False)
    made = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=marks[0], chat_template=template, **names)
    made.save_pretrained(folder)
    return folder


def make_policy(size: str, weights: str, rank: int, folder: Path, **settings: Any) -> Any:
    """A policy ready to train, as `Policy.load_for_training` makes it of a folder."""
    import torch

    from camelid.models import attention
    from camelid.models.compute import choose_compute
    from camelid.models.model_settings import ModelSettings
    from camelid.models.optimizer import OptimizerSettings, Updater
    from camelid.models.policy import Policy
    from camelid.models.trained import prepare_training, trained_parameters

    held = ModelSettings(lora_rank=rank, micro_batch_tokens=TOKENS[size], precision="bfloat16", **settings)
    attention.register()
    model = random_model(size, getattr(torch, weights), attention.NAME)
    policy = Policy(write_tokenizer(folder), model, choose_compute(held.precision), held, "model")
    prepare_training(model, held, seed=0)
    policy.updater = Updater(trained_parameters(model), OptimizerSettings())
    return policy


def make_rows(packs: list[list[list[int]]]) -> list[Any]:
    import torch

    from camelid.models.batch import Row

    rows = []
    for row in (row for pack in packs for row in pack):
        start = prompt_tokens(row)
        mask = [False] * start + [True] * (len(row) - start)
        rows.append(Row(row, mask, {"weights": torch.ones(len(row))}))
    return rows


def shape_of(size: str) -> Any:
    from camelid.models.shape import Shape

    return Shape.of(SIZES[size] | {"dtype": "bfloat16"}, size)


def empty_cache() -> None:
    import gc

    import torch

    gc.collect()
    if device().type == "cuda":
        torch.cuda.empty_cache()


def start_memory() -> None:
    import torch

    if device().type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def finished(clock: Clock, loss: float) -> dict[str, Any]:
    """The reply of a side; on a GPU its peak is what torch gave out, on a CPU that of the process."""
    import torch

    if device().type == "cuda":
        torch.cuda.synchronize()
    reply: dict[str, Any] = {**clock.read(), "loss": loss}
    if device().type == "cuda":
        reply["peak_bytes"] = torch.cuda.max_memory_allocated()
    return reply
