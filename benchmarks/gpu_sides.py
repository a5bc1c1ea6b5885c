"""The two sides of `benchmarks/gpu.py`: packs trained on by camelid's stages' own calls, and by TRL or transformers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alternate import Clock
from gpu_model import (
    PACKS_A_STEP,
    device,
    empty_cache,
    finished,
    make_policy,
    make_rows,
    prompt_tokens,
    random_model,
    start_memory,
    write_tokenizer,
)

WAYS = [
    {"attention": attention, "packed": packed, "liger": liger, "compiled": compiled}
    for attention, packed in (("flash_attention_2", True), ("sdpa", True), ("sdpa", False))
    for liger in (True, False)
    for compiled in (False, True)
]
"""How the other side may run."""


def possible_ways() -> Iterator[dict[str, Any]]:
    on_gpu = device().type == "cuda"
    for way in WAYS:
        if way["attention"] == "flash_attention_2" and not (on_gpu and find_spec("flash_attn")):
            continue
        if (way["liger"] and not (on_gpu and find_spec("liger_kernel"))) or (way["compiled"] and not on_gpu):
            continue
        yield way


def peer_name() -> str:
    return f"TRL {version('trl')}" if find_spec("trl") else f"transformers' Trainer {version('transformers')}"


class Ours:
    def __init__(self, size: str, weights: str):
        from camelid import process

        process.prepare()
        self.held = {"size": size, "weights": weights, "rank": 0, "folder": Path(tempfile.mkdtemp())}
        self.compiled, self.policy = "never", None

    def train(self, packs: list[Any], compiled: str = "never") -> dict[str, Any]:
        from camelid.train.sft import loss

        if self.policy is None or compiled != self.compiled:
            self.policy, self.compiled = None, compiled
            empty_cache()
            self.policy = make_policy(**self.held, compile=compiled)
            self.policy.compile_for(1e12)
        start_memory()
        first, clock = 0.0, Clock()
        for start in range(0, len(packs), PACKS_A_STEP):
            metrics = self.policy.forward_backward(make_rows(packs[start : start + PACKS_A_STEP]), loss)
            self.policy.step(1e-5, metrics["count"])
            first = first or metrics["loss"]
        return finished(clock, first)


class Theirs:
    """transformers' Trainer, or TRL's: the same packs as ours, one a pass, four a step."""

    def __init__(self, size: str, weights: str):
        self.size, self.weights = size, weights
        self.way: dict[str, Any] | None = None
        self.model: Any = None

    def train(self, packs: list[Any], **way: Any) -> dict[str, Any]:
        import torch

        if way != self.way:
            self.model = None
            empty_cache()
            self.model = random_model(self.size, getattr(torch, self.weights), way["attention"])
            self.way = way
        from transformers import TrainerCallback

        trainer = self.trainer(packs, way)
        clocks: list[Any] = []

        class FromTheFirstStep(TrainerCallback):
            """What a trainer prepares before its first step is not timed."""

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                if not clocks:
                    start_memory()
                    clocks.append(Clock())

            def on_step_end(self, *_: Any, **__: Any) -> None:
                clocks[1:] = [finished(clocks[0], 0.0)]

        trainer.add_callback(FromTheFirstStep())
        trainer.train()
        trainer.optimizer = trainer.lr_scheduler = None
        return clocks[1] | {"loss": trainer.state.log_history[0]["loss"]}

    def trainer(self, packs: list[Any], way: dict[str, Any]) -> Any:
        common: dict[str, Any] = {
            "output_dir": tempfile.mkdtemp(),
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": PACKS_A_STEP,
            "num_train_epochs": 1,
            "learning_rate": 1e-5,
            "lr_scheduler_type": "constant",
            "optim": "adamw_torch_fused",
            "weight_decay": 0.1,
            "bf16": True,
            "use_cpu": device().type == "cpu",
            "torch_compile": way["compiled"],
            "use_liger_kernel": way["liger"],
            "gradient_checkpointing": False,
            "save_strategy": "no",
            "report_to": "none",
            "logging_steps": 1,
            "disable_tqdm": True,
            "remove_unused_columns": False,
            "dataloader_pin_memory": device().type == "cuda",
        }
        data = [{"rows": pack} for pack in packs]
        collate = flattened if way["packed"] else padded
        if find_spec("trl"):
            from datasets import Dataset
            from trl import SFTConfig, SFTTrainer

            config = SFTConfig(**common, dataset_kwargs={"skip_prepare_dataset": True}, max_length=None)
            tokenizer: Any = load_tokenizer(write_tokenizer(Path(tempfile.mkdtemp())))
            return SFTTrainer(
                model=self.model,
                args=config,
                train_dataset=Dataset.from_list(data),
                data_collator=collate,
                processing_class=tokenizer,
            )
        from transformers import Trainer, TrainingArguments

        return Trainer(model=self.model, args=TrainingArguments(**common), train_dataset=data, data_collator=collate)


def load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def labels(row: list[int]) -> list[int]:
    start = prompt_tokens(row)
    return [-100] * start + row[start:]


def flattened(features: list[dict[str, Any]]) -> dict[str, Any]:
    """All rows end to end; positions that begin anew tell the model where rows do."""
    import torch

    rows = [row for feature in features for row in feature["rows"]]
    parts = {
        "input_ids": [token for row in rows for token in row],
        "labels": [token for row in rows for token in labels(row)],
        "position_ids": [place for row in rows for place in range(len(row))],
    }
    return {name: torch.tensor([part]) for name, part in parts.items()}


def padded(features: list[dict[str, Any]]) -> dict[str, Any]:
    """A rectangle."""
    import torch

    rows = [row for feature in features for row in feature["rows"]]
    width = max(map(len, rows))
    parts = {
        "input_ids": [row + [0] * (width - len(row)) for row in rows],
        "labels": [labels(row) + [-100] * (width - len(row)) for row in rows],
        "attention_mask": [[1] * len(row) + [0] * (width - len(row)) for row in rows],
    }
    return {name: torch.tensor(part) for name, part in parts.items()}
