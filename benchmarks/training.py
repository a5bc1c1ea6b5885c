"""Training steps: camelid against TRL on the same rows of tokens, the same number of optimizer steps.

    python benchmarks/training.py --what sft --data DATA --model MODEL [--rows 300] [--pieces 6] [--out FOLDER]

`--what`: sft and lora (LIMA and Alpaca rows mixed, assistant turns trained; more conversations with --add FILE), reward
(HH pairs). Ours computes in bfloat16 over float32 weights and moments. TRL runs at the fastest of its formats and batch
sizes tried on some rows first: pure bfloat16 (weights and moments too), bfloat16 over float32 weights, float32.

Tokenising is not timed (`benchmarks/data.py` does that). Real tokens are counted: what TRL pads is its own affair, and
what we compute once for two rows counts twice. `peak_share`: operations that these tokens need without sharing (6 a
weight and token, 4 below frozen weights), over those of a bare bfloat16 product in the same time.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

from alternate import SIDES, Clock, Side, compared, matmul_peak, parser, publish, serve, take_turns

FILES = {
    "sft": ("conversations/lima.json", "conversations/alpaca_random_9k.json"),
    "lora": ("conversations/lima.json", "conversations/alpaca_random_9k.json"),
    "reward": ("preferences/hh_harmless_1800.jsonl.gz",),
}
MAX_TOKENS = 1024
BATCH = 16
TRIAL = 16
TRIED = [("bfloat16", 4), ("bfloat16", 8), ("bfloat16", 16), ("autocast", 8), ("float32", 8)]
"""TRL's formats and rows a pass."""


def read_rows(chosen: Any) -> list[Any]:
    """(ids, loss mask) of conversations, or (chosen ids, rejected ids), in a seeded order, mixed from the files."""
    from transformers import AutoTokenizer

    from camelid.collect.readers import read
    from camelid.models.chat import load_chat_format
    from camelid.types import Conversation, Preference

    chat = load_chat_format(AutoTokenizer.from_pretrained(chosen.model), "model")
    files = [Path(chosen.data) / file for file in FILES[chosen.what]] + [Path(file) for file in chosen.add]
    draw, rows = random.Random(0), []
    for file in files:
        want = Preference if chosen.what == "reward" else Conversation
        found = draw.sample(read(file, want=want).rows, -(-chosen.rows // len(files)))
        rows += [_pair(chat, row) if chosen.what == "reward" else _conversation(chat, row) for row in found]
    draw.shuffle(rows)
    return rows[: chosen.rows]


def _conversation(chat: Any, row: Any) -> tuple[list[int], list[bool]]:
    rendered = chat.render(row.messages, train_on="assistant", max_tokens=MAX_TOKENS)
    return list(rendered.ids), list(rendered.loss_mask)


def _pair(chat: Any, row: Any) -> tuple[list[int], list[int]]:
    from camelid.types import Message

    wholes = [(*row.prompt, Message(role="assistant", content=text)) for text in (row.chosen, row.rejected)]
    chosen, rejected = (list(chat.render(w, train_on="last", max_tokens=MAX_TOKENS).ids) for w in wholes)
    return chosen, rejected


class Ours:
    def __init__(self, what: str, model: str):
        from camelid import process

        process.prepare()
        from camelid.models.optimizer import OptimizerSettings
        from camelid.models.policy import Policy
        from camelid.models.reward_model import RewardModel
        from camelid.models.trunk import ModelSettings

        held = ModelSettings(lora_rank=16 if what == "lora" else 0)
        path, optimizer = Path(model), OptimizerSettings()
        self.model: Any = (
            RewardModel.create(path, held, optimizer, num_layers=None, seed=0)
            if what == "reward"
            else Policy.load_for_training(path, held, optimizer, seed=0)
        )
        self.what = what

    def train(self, rows: list[Any], **settings: Any) -> dict[str, Any]:
        from camelid.models.batch import Row

        if self.what == "reward":
            batch = [tuple(Row(ids, [False] * len(ids)) for ids in pair) for pair in rows]
        else:
            batch = [Row(ids, mask) for ids, mask in rows]
        clock, loss = Clock(), 0.0
        for start in range(0, len(batch), BATCH):
            metrics = self.model.forward_backward(batch[start : start + BATCH], self.loss())
            self.model.step(1e-5, metrics["count"])
            loss = loss or metrics["loss"]
        return {**clock.read(), "loss": loss}

    def loss(self) -> Any:
        if self.what == "reward":
            import torch

            from camelid.functional.ranking import ranking_loss

            return lambda chosen, rejected, which: ranking_loss(chosen, rejected, torch.zeros(len(chosen)))
        from camelid.train.sft import loss

        return loss


class Theirs:
    def __init__(self, what: str, model: str):
        self.what, self.path = what, model
        self.held: dict[str, Any] = {}

    def train(self, rows: list[Any], *, precision: str, size: int) -> dict[str, Any]:
        import torch
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
        from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

        reward = self.what == "reward"
        tokenizer = AutoTokenizer.from_pretrained(self.path)
        if precision not in self.held:
            auto: Any = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
            more = {"num_labels": 1} if reward else {}
            dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
            self.held = {precision: auto.from_pretrained(self.path, dtype=dtype, **more)}
            self.held[precision].config.pad_token_id = tokenizer.pad_token_id
        common: dict[str, Any] = {
            "output_dir": "unused",
            "per_device_train_batch_size": size,
            "gradient_accumulation_steps": BATCH // size,
            "num_train_epochs": 1,
            "learning_rate": 1e-5,
            "lr_scheduler_type": "constant",
            "gradient_checkpointing": False,
            "train_sampling_strategy": "group_by_length",
            "bf16": precision == "autocast",
            "use_cpu": True,
            "save_strategy": "no",
            "report_to": "none",
            "logging_steps": 1,
            "disable_tqdm": True,
            "max_length": MAX_TOKENS,
        }
        columns = ("chosen_ids", "rejected_ids") if reward else ("input_ids", "assistant_masks")
        data = Dataset.from_dict({name: [list(map(int, row[i])) for row in rows] for i, name in enumerate(columns)})
        trainer_class, config = (RewardTrainer, RewardConfig) if reward else (SFTTrainer, SFTConfig)
        lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear") if self.what == "lora" else None
        if lora is not None and hasattr(self.held[precision], "peft_config"):
            lora = None  # the adapters of the piece before go on
        trainer: Any = trainer_class(
            model=self.held[precision],
            args=config(**common),
            train_dataset=data,
            processing_class=tokenizer,
            **({"peft_config": lora} if lora is not None else {}),
        )
        clock = Clock()
        trainer.train()
        self.held[precision] = trainer.model
        return {**clock.read(), "loss": trainer.state.log_history[0]["loss"]}


def answer(side: Any, rows: list[Any], job: dict[str, Any]) -> dict[str, Any]:
    return side.train([rows[number] for number in job.pop("rows")], **job)


def operations(what: str, model: str, rows: list[Any]) -> float:
    """Multiplications and additions with weights, without sharing; the head only where something is predicted."""
    from camelid.models.shape import Shape

    shape = Shape.read(Path(model))
    factor = 4 if what == "lora" else 6
    if what == "reward":
        return factor * shape.trunk_parameters * sum(len(ids) for pair in rows for ids in pair)
    trunk = factor * shape.trunk_parameters * sum(len(ids) for ids, _ in rows)
    return trunk + factor * shape.head_parameters * sum(sum(mask) for _, mask in rows)


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--what", required=True, choices=sorted(FILES))
    asked.add_argument("--add", nargs="*", default=[], metavar="FILE", help="more conversations to mix in")
    asked.add_argument("--rows", type=int, default=300)
    asked.add_argument("--pieces", type=int, default=6)
    asked.add_argument("--peer", nargs=2, metavar=("FORMAT", "SIZE"), help="TRL's best, where it is known")
    chosen = asked.parse_args()
    rows = read_rows(chosen)
    if chosen.side:
        return serve(partial(answer, {"ours": Ours, "theirs": Theirs}[chosen.side](chosen.what, chosen.model), rows))
    more = ["--what", chosen.what, "--model", chosen.model, "--data", chosen.data, "--rows", str(chosen.rows)]
    more += ["--add", *chosen.add] if chosen.add else []
    sides = {"ours": Side(__file__, "ours", more)}
    trial = list(range(TRIAL))
    tried: dict[tuple[str, int], float] = {}
    for precision, size in [(chosen.peer[0], int(chosen.peer[1]))] if chosen.peer else TRIED:
        side = Side(__file__, "theirs", more)  # anew for each, or the memory would be that of the hungriest
        tried[precision, size] = side.ask(rows=trial, precision=precision, size=size)["seconds"]
        side.close()
    print(f"TRL, {TRIAL} rows, seconds by format and batch: {tried}", file=sys.stderr, flush=True)
    precision, size = min(tried, key=lambda key: tried[key])
    sides["theirs"] = Side(__file__, "theirs", more)
    sides["ours"].ask(rows=trial)  # both have taken a step before the clock starts
    sides["theirs"].ask(rows=trial, precision=precision, size=size)
    pieces = [list(range(len(rows)))[number :: chosen.pieces] for number in range(chosen.pieces)]
    peak = matmul_peak("bfloat16")
    settings: dict[str, dict[str, Any]] = {"ours": {}, "theirs": {"precision": precision, "size": size}}
    replies = take_turns(sides, [{"rows": piece} for piece in pieces], settings)
    peak = max(peak, matmul_peak("bfloat16"))
    for side in sides.values():
        side.close()
    import trl

    pairs = chosen.what == "reward"
    tokens = sum(len(ids) for pair in rows for ids in pair) if pairs else sum(len(ids) for ids, _ in rows)
    result = compared(replies, len(rows) if pairs else tokens, "pairs" if pairs else "real tokens")
    seconds = sum(reply["seconds"] for reply in replies["ours"])
    publish(
        {
            "benchmark": f"training.{chosen.what}",
            "peer_name": f"TRL {trl.__version__}, {precision}, {size} rows a pass",
            **result,
            "rows": len(rows),
            "tokens": tokens,
            "first_losses": {who: replies[who][0]["loss"] for who in SIDES},
            "peak_share": operations(chosen.what, chosen.model, rows) / seconds / peak,
            "peak_gflops": peak / 1e9,
        },
        chosen.out,
    )


if __name__ == "__main__":
    main()
