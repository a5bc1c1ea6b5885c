"""Fine-tuning on a GPU: camelid against TRL, or against transformers' Trainer where TRL is not installed.

    python benchmarks/gpu.py --what sft [--weights bfloat16] [--pieces 4] [--out FOLDER]
    python benchmarks/gpu.py --what memory [--out FOLDER]
    python benchmarks/gpu.py --what sft --size tiny          the same code on a CPU, in seconds

`sft`: a Llama-shaped model of 1.2B parameters with random weights, made on the device; rows of random tokens, as long
as conversations are, packed into micro-batches of 4,096 tokens, four a step: the same for both sides. The other side
runs at the fastest of the ways that are tried on a step first: packed rows or padded ones, torch's attention or flash
attention where it is installed, Liger's kernels where they are, compiled or not. `--weights`: format of the weights;
products are in bfloat16 either way. `peak_share`: operations that the tokens need (6 a weight and token, the head
where something is predicted), over those of a bare product of 8,192 x 8,192 x 8,192 in the same time.

`memory`: peak memory of two steps of an 8B model, full weights and LoRA, beside what an estimate says before it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alternate import SIDES, Clock, Side, compared, parser, publish, serve, take_turns

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
WAYS = [
    {"attention": attention, "packed": packed, "liger": liger, "compiled": compiled}
    for attention, packed in (("flash_attention_2", True), ("sdpa", True), ("sdpa", False))
    for liger in (True, False)
    for compiled in (False, True)
]
"""How the other side may run."""


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


def product_peak(size: int) -> float:
    """Operations a second of a bfloat16 product of random matrices, the median of ten."""
    import torch

    x, y = (torch.randn(size, size, device=device(), dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        x @ y
    seconds = []
    for _ in range(10):
        start_memory()
        start = time.perf_counter()
        product = x @ y
        product[0, 0].item()  # waits
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / sorted(seconds)[5]


def answer(side: Any, packs: list[Any], job: dict[str, Any]) -> dict[str, Any]:
    chosen = [packs[number] for number in job.pop("packs")]
    try:
        return side.train(chosen, **job)
    except Exception as error:
        if not job.get("may_fail", True):
            raise
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", "seconds": 1e9}


def possible_ways() -> Iterator[dict[str, Any]]:
    on_gpu = device().type == "cuda"
    for way in WAYS:
        if way["attention"] == "flash_attention_2" and not (on_gpu and find_spec("flash_attn")):
            continue
        if (way["liger"] and not (on_gpu and find_spec("liger_kernel"))) or (way["compiled"] and not on_gpu):
            continue
        yield way


def fastest(side: Side, ways: list[dict[str, Any]], trial: list[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The way that is fastest at its second step (the first one compiles), and what all of them took."""
    tried = {}
    for way in ways:
        side.ask(packs=trial, **way)
        reply = side.ask(packs=trial, **way)
        tried[json.dumps(way)] = reply.get("failed", round(reply["seconds"], 4))
        print(way, tried[json.dumps(way)], file=sys.stderr, flush=True)
    works = {way: seconds for way, seconds in tried.items() if isinstance(seconds, float)}
    if not works:
        raise SystemExit(f"no way of the other side works here: {tried}")
    return json.loads(min(works, key=lambda way: works[way])), tried


def compare(chosen: Any) -> None:
    size = chosen.size
    packs = make_packs(size, (chosen.pieces + 1) * chosen.steps * PACKS_A_STEP)
    more = ["--what", "sft", "--size", size, "--weights", chosen.weights]
    more += ["--pieces", str(chosen.pieces), "--steps", str(chosen.steps)]
    sides = {who: Side(__file__, who, more) for who in SIDES}
    trial = list(range(PACKS_A_STEP))
    own = [{"compiled": how} for how in (("never", "always") if device().type == "cuda" else ("never",))]
    best, tried = {}, {}
    for who, ways in (("ours", own), ("theirs", list(possible_ways()))):
        best[who], tried[who] = fastest(sides[who], ways, trial)
    each = chosen.steps * PACKS_A_STEP
    pieces = [
        list(range(start, start + each)) for start in range(PACKS_A_STEP, PACKS_A_STEP + chosen.pieces * each, each)
    ]
    for who in SIDES:
        sides[who].ask(packs=trial, **best[who])  # the model of the best way is in memory, and warm
    replies = take_turns(sides, [{"packs": piece} for piece in pieces], best)
    for side in sides.values():
        side.close()
    rows = [row for piece in pieces for number in piece for row in packs[number]]
    tokens = sum(map(len, rows))
    result = compared(replies, tokens, "tokens")
    peak = product_peak(8192 if device().type == "cuda" else 512)
    seconds = {who: sum(reply["seconds"] for reply in replies[who]) for who in SIDES}
    needed = operations(size, rows)
    publish(
        {
            "benchmark": f"gpu.sft.{size}.{chosen.weights}",
            "peer_name": f"{peer_name()}, {best['theirs']}",
            **result,
            "own_way": best["ours"],
            "tried": tried,
            "rows": len(rows),
            "tokens": tokens,
            "first_losses": {who: replies[who][0]["loss"] for who in SIDES},
            "peak_share": needed / seconds["ours"] / peak,
            "peak_share_of_peer": needed / seconds["theirs"] / peak,
            "peak_tflops": peak / 1e12,
        },
        chosen.out,
    )


def peer_name() -> str:
    from importlib.metadata import version

    return f"TRL {version('trl')}" if find_spec("trl") else f"transformers' Trainer {version('transformers')}"


def shape_of(size: str) -> Any:
    from camelid.models.shape import Shape

    return Shape.of(SIZES[size] | {"dtype": "bfloat16"}, size)


def operations(size: str, rows: list[list[int]]) -> float:
    """Multiplications and additions with weights."""
    shape = shape_of(size)
    predicted = sum(len(row) - prompt_tokens(row) for row in rows)
    return 6 * (shape.trunk_parameters * sum(map(len, rows)) + shape.head_parameters * predicted)


def measure_memory(size: str, kind: str) -> dict[str, Any]:
    """Peak bytes of two steps; where they do not fit, what was there and what one more tensor asked for."""
    import torch

    from camelid.train.sft import loss

    rank, weights = (16, "bfloat16") if kind == "lora" else (0, "bfloat16" if kind == "full-bfloat16" else "float32")
    start_memory()
    packs = make_packs(size, PACKS_A_STEP)
    found: dict[str, Any] = {"kind": kind, "estimate_bytes": estimated(size, rank, packs)}
    try:
        policy = make_policy(size, weights, rank, Path(tempfile.mkdtemp()), compile="never")
        for _ in range(2):
            metrics = policy.forward_backward(make_rows(packs), loss)
            policy.step(1e-5, metrics["count"])
    except torch.OutOfMemoryError as error:
        return found | {"fits": False, "peak_bytes": torch.cuda.max_memory_allocated(), "said": str(error)[:300]}
    found |= {"fits": True, "parameters": sum(p.numel() for p in policy.model.parameters())}
    if device().type == "cuda":
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
        found["reserved_bytes"] = torch.cuda.max_memory_reserved()
    return found


def estimated(size: str, rank: int, packs: list[Any]) -> float:
    """What `camelid estimate` says of the same step, without the process around it."""
    from camelid.costs import Cost
    from camelid.models.devices import Device
    from camelid.models.model_settings import ModelSettings
    from camelid.models.recomputing import free_bytes

    rows = [row for pack in packs for row in pack]
    tokens = sum(map(len, rows))
    here = Device("here", device().type == "cpu", 2, free_bytes(device()), None)
    cost = Cost(here)
    held = ModelSettings(lora_rank=rank, micro_batch_tokens=TOKENS[size])
    shape = shape_of(size)
    cost.load_for_training(shape, held)
    # A token's length is that of its row: the mean over tokens, not over rows.
    length = sum(len(row) ** 2 for row in rows) / tokens
    cost.train(shape, held, tokens, with_head=0.6 * tokens, length=length, step_tokens=tokens)
    return cost.memory_bytes - here.process_bytes


def memory(chosen: Any) -> None:
    """Each kind in a process of its own: what one leaves behind must not count for the next."""
    size = "8b" if chosen.size == "1b" else chosen.size
    kinds = {}
    for kind in ("full", "full-bfloat16", "lora"):
        command = [sys.executable, __file__, "--what", "memory", "--size", size, "--kind", kind]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        kinds[kind] = json.loads(lines[-1]) if lines else {"failed": done.stderr[-500:]}
        print(kind, kinds[kind], file=sys.stderr, flush=True)
    publish({"benchmark": f"gpu.memory.{size}", "unit": "bytes", "n": 1, "kinds": kinds}, chosen.out)


def main() -> None:
    asked = parser(__doc__, model=None)  # weights are random
    asked.add_argument("--what", required=True, choices=["sft", "memory"])
    asked.add_argument("--size", default="1b", choices=sorted(SIZES))
    asked.add_argument("--weights", default="float32", choices=["float32", "bfloat16"])
    asked.add_argument("--pieces", type=int, default=4)
    asked.add_argument("--steps", type=int, default=6, help="optimizer steps a piece")
    asked.add_argument("--kind", default="", help="one measurement of memory, in this process")
    chosen = asked.parse_args()
    if chosen.side:
        side = {"ours": Ours, "theirs": Theirs}[chosen.side](chosen.size, chosen.weights)
        packs = make_packs(chosen.size, (chosen.pieces + 1) * chosen.steps * PACKS_A_STEP)
        serve(partial(answer, side, packs))
    elif chosen.kind:
        print(json.dumps(measure_memory(chosen.size, chosen.kind)))
    elif chosen.what == "memory":
        memory(chosen)
    else:
        compare(chosen)


if __name__ == "__main__":
    main()
