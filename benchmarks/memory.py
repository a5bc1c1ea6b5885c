"""Where the bytes of a training step go: every tensor that is alive at the peak, by the operator that made it.

    python benchmarks/memory.py [--model smollm2-135m] [--lora-rank 0] [--rows 4] [--length 256] [--checkpointing never]

Two SFT steps on random tokens; the peak is that of the second, when AdamW's moments are there. What operators use
inside themselves is not seen; the kernel's count of the process, printed beside it, has that, and the heap's unused
pieces.
"""

from __future__ import annotations

import argparse
import random
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

from camelid import process

process.prepare()  # before torch is loaded

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from camelid.models.batch import Row  # noqa: E402
from camelid.models.loading import resolve_model  # noqa: E402
from camelid.models.model_settings import ModelSettings  # noqa: E402
from camelid.models.optimizer import OptimizerSettings  # noqa: E402
from camelid.models.policy import Policy  # noqa: E402
from camelid.table import print_table  # noqa: E402
from camelid.train.sft import loss  # noqa: E402

SHOWN = 24


class Alive(TorchDispatchMode):
    """Bytes of all storages made while it is on, now and at their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[str, tuple[int, ...], str, int]] = {}
        self.bytes = self.peak = 0
        self.at_peak: list[tuple[str, tuple[int, ...], str, int]] = []

    def note(self, tensor: Tensor, maker: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.alive:
            return
        kind = str(tensor.dtype).removeprefix("torch.")
        self.alive[key] = (maker, tuple(tensor.shape), kind, storage.nbytes())
        self.bytes += storage.nbytes()
        weakref.finalize(storage, self._freed, key)
        if self.bytes > self.peak:
            self.peak, self.at_peak = self.bytes, list(self.alive.values())

    def _freed(self, key: int) -> None:
        self.bytes -= self.alive.pop(key)[3]

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.note(leaf, str(operator).removeprefix("aten."))
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--lora-rank", type=int, default=0)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--checkpointing", default="never", choices=["auto", "never", "always"])
    a = parser.parse_args()
    settings = ModelSettings(lora_rank=a.lora_rank, micro_batch_tokens=a.rows * a.length, checkpointing=a.checkpointing)
    policy = Policy.load_for_training(resolve_model(a.model), settings, OptimizerSettings(), seed=0)
    rows = [random_row(a.length, seed) for seed in range(a.rows)]
    alive = Alive()
    for parameter in policy.model.parameters():
        alive.note(parameter, "weights and adapters")
    with alive:
        policy.step(1e-4, policy.forward_backward(rows, loss)["count"])
        alive.peak = 0
        policy.forward_backward(rows, loss)
    found: Counter[tuple[str, tuple[int, ...], str]] = Counter()
    number: Counter[tuple[str, tuple[int, ...], str]] = Counter()
    for maker, shape, kind, size in alive.at_peak:
        found[maker, shape, kind] += size
        number[maker, shape, kind] += 1
    table = [
        [key[0], "x".join(map(str, key[1])), key[2], str(number[key]), f"{size / 1e6:,.0f}"]
        for key, size in found.most_common(SHOWN)
    ]
    print_table(("made by", "shape", "format", "number", "MB"), table, right=("number", "MB"))
    print(f"\nall tensors at the peak: {alive.peak / 1e6:,.0f} MB; the process: {peak_of_process() / 1e6:,.0f} MB")


def random_row(length: int, seed: int) -> Row:
    """The first quarter is a prompt."""
    draw = random.Random(seed)
    mask = [i >= length // 4 for i in range(length)]
    return Row([draw.randrange(1000) for _ in range(length)], mask, {"weights": torch.ones(length)})


def peak_of_process() -> int:
    """Peak of the resident set in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    main()
