"""The two sides of `benchmarks/training.py`: a piece of the rows trained on by camelid's stages' own calls, and by TRL.

A row is (ids, loss mask); for reward models and DPO it is a pair of them, chosen and rejected. Full weights train in
all but `lora`; the optimizer takes a step every `BATCH` rows or pairs on both sides.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from alternate import Clock

MAX_TOKENS = 1024
BATCH = 16
RANK = 16
LEARNING_RATE = 1e-5
PAIRS = ("reward", "dpo")
"""What trains on pairs."""
MICRO_BATCH_TOKENS = {"reward": 2048, "dpo": 2048}
"""Ours, where it is not the default: trees of pairs are a tenth faster so, and rows are not."""


class Ours:
    """camelid: bfloat16 products over float32 weights and moments."""

    def __init__(self, what: str, model: str):
        from camelid import process

        process.prepare()
        from camelid.models.model_settings import ModelSettings
        from camelid.models.optimizer import OptimizerSettings
        from camelid.models.policy import Policy
        from camelid.models.reward_model import RewardModel

        more = {"micro_batch_tokens": MICRO_BATCH_TOKENS[what]} if what in MICRO_BATCH_TOKENS else {}
        held = ModelSettings(lora_rank=RANK if what == "lora" else 0, **more)
        path, optimizer = Path(model), OptimizerSettings()
        self.what = what
        self.model: Any = (
            RewardModel.create(path, held, optimizer, num_layers=None, seed=0)
            if what == "reward"
            else Policy.load_for_training(path, held, optimizer, seed=0)
        )

    def train(self, rows: list[Any]) -> dict[str, Any]:
        """Seconds and the first step's loss."""
        from camelid.models.batch import Row

        made = [tuple(Row(*row) for row in pair) for pair in rows] if self.what in PAIRS else [Row(*r) for r in rows]
        clock, losses = Clock(), []
        if self.what == "dpo":
            made = self._with_reference(made)
        for start in range(0, len(made), BATCH):
            metrics = self._forward_backward(made[start : start + BATCH])
            self.model.step(LEARNING_RATE, metrics["count"])
            losses.append(metrics["loss"])
        return {**clock.read(), "loss": losses[0]}

    def _with_reference(self, pairs: list[Any]) -> list[Any]:
        from camelid.models.batch import Row

        rows = [row for pair in pairs for row in pair]
        known = self.model.logprobs(rows)
        made = [Row(r.ids, r.loss_mask, {"ref_logprobs": found}) for r, found in zip(rows, known, strict=True)]
        return list(zip(made[0::2], made[1::2], strict=True))

    def _forward_backward(self, batch: list[Any]) -> dict[str, float]:
        from camelid.train import dpo, sft

        if self.what == "reward":
            return self.model.forward_backward(batch, _pairs_loss)
        if self.what == "dpo":
            s = dpo.DpoSettings()
            loss = partial(dpo.pair_loss, s=s, offsets=[0.0] * len(batch))
            return self.model.forward_backward_groups(batch, loss)
        return self.model.forward_backward(batch, sft.loss)


def _pairs_loss(scores: Any, rows: Any) -> Any:
    """Of (chosen, rejected) scores in turn, without margins."""
    import torch

    from camelid.functional.ranking import ranking_loss
    from camelid.models.outputs import Loss

    chosen, rejected = scores[0::2], scores[1::2]
    return Loss(*ranking_loss(chosen, rejected, torch.zeros(len(chosen))), {})


class Theirs:
    """TRL, in a format and with a number of rows a pass."""

    def __init__(self, what: str, model: str):
        self.what, self.path = what, model
        self.model: Any = None
        self.reference: Any = None

    def train(self, rows: list[Any], *, precision: str, size: int) -> dict[str, Any]:
        """Seconds of the trainer's `train`, and the first step's loss; the dataset is made before the clock starts."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.path)
        if self.model is None:
            self.model = self._load(precision, tokenizer)
            self.reference = self._load(precision, tokenizer) if self.what == "dpo" else None
        trainer = self._trainer(rows, tokenizer, precision, size)
        clock = Clock()
        trainer.train()
        self.model = trainer.model
        return {**clock.read(), "loss": trainer.state.log_history[0]["loss"]}

    def _load(self, precision: str, tokenizer: Any) -> Any:
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

        auto: Any = AutoModelForSequenceClassification if self.what == "reward" else AutoModelForCausalLM
        more = {"num_labels": 1} if self.what == "reward" else {}
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        model = auto.from_pretrained(self.path, dtype=dtype, **more)
        model.config.pad_token_id = tokenizer.pad_token_id
        return model

    def _trainer(self, rows: list[Any], tokenizer: Any, precision: str, size: int) -> Any:
        import trl
        from datasets import Dataset
        from peft import LoraConfig

        kind = {"reward": "Reward", "dpo": "DPO"}.get(self.what, "SFT")
        settings = getattr(trl, f"{kind}Config")(
            output_dir="unused",
            per_device_train_batch_size=size,
            gradient_accumulation_steps=BATCH // size,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            gradient_checkpointing=False,
            bf16=precision == "autocast",
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            logging_steps=1,
            disable_tqdm=True,
            max_length=MAX_TOKENS,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=self.what not in PAIRS,  # the lengths to group by would go
        )
        more: dict[str, Any] = {}
        if self.what == "lora" and not hasattr(self.model, "peft_config"):  # else the piece before's adapters go on
            more["peft_config"] = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
        if self.what == "dpo":
            more["ref_model"] = self.reference
        lengths = [max(len(ids) for ids, _ in (row if self.what in PAIRS else [row])) for row in rows]
        data = Dataset.from_dict(self._columns(rows, tokenizer) | {"length": lengths})
        trainer_class = getattr(trl, f"{kind}Trainer")
        return trainer_class(model=self.model, args=settings, train_dataset=data, processing_class=tokenizer, **more)

    def _columns(self, rows: list[Any], tokenizer: Any) -> dict[str, list[Any]]:
        if self.what == "reward":
            return {name: [list(pair[i][0]) for pair in rows] for i, name in enumerate(("chosen_ids", "rejected_ids"))}
        if self.what == "dpo":  # it takes texts only, and tokenizes them before the clock starts
            return {
                "prompt": [tokenizer.decode(ids[: mask.index(True)]) for (ids, mask), _ in rows],
                "chosen": [tokenizer.decode(ids[mask.index(True) :]) for (ids, mask), _ in rows],
                "rejected": [tokenizer.decode(ids[mask.index(True) :]) for _, (ids, mask) in rows],
            }
        return {"input_ids": [list(ids) for ids, _ in rows], "assistant_masks": [list(map(int, m)) for _, m in rows]}
