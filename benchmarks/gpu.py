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
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from alternate import SIDES, Side, compared, parser, publish, serve, take_turns
from gpu_model import (
    PACKS_A_STEP,
    SIZES,
    TOKENS,
    device,
    make_packs,
    make_policy,
    make_rows,
    prompt_tokens,
    shape_of,
    start_memory,
)
from gpu_sides import Ours, Theirs, peer_name, possible_ways


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
