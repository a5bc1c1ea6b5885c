"""Sampling on a GPU: camelid's engine against transformers' `generate` and continuous batching.

    python benchmarks/gpu_sampling.py [--against generate|continuous] [--rows 256] [--new 512] [--out FOLDER]
    python benchmarks/gpu_sampling.py --size tiny --rows 16 --new 8          the same code on a CPU, in seconds

A Llama-shaped model of 1.2B parameters with random weights in bfloat16, which ends nothing by itself: prompts of 16 to
512 random tokens, four samples of each, `--new` tokens each at temperature 1. `generate` gets all rows at once, or as
many as fit: halves until it does.
"""

from __future__ import annotations

import random
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from alternate import SIDES, Clock, Side, compared, parser, publish, serve, take_turns
from gpu_model import SIZES, device, empty_cache, make_policy, random_model, start_memory

COPIES = 4


def read_prompts(size: str, rows: int) -> list[list[int]]:
    draw, vocabulary = random.Random(0), SIZES[size]["vocab_size"]
    longest = 512 if size != "tiny" else 32
    lengths = [max(16, min(longest, int(draw.lognormvariate(4.5, 0.8)))) for _ in range(-(-rows // COPIES))]
    return [[draw.randrange(10, vocabulary) for _ in range(length)] for length in lengths]


def finished(clock: Clock, tokens: int) -> dict[str, Any]:
    """Seconds after the device has done all that it was asked."""
    import torch

    found: dict[str, Any] = {}
    if device().type == "cuda":
        torch.cuda.synchronize()
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    return {**clock.read(), **found, "tokens": tokens}


class Ours:
    """camelid."""

    def __init__(self, chosen: Any):
        self.folder = tempfile.TemporaryDirectory()
        self.policy = make_policy(chosen.size, "bfloat16", 1, Path(self.folder.name), compile="never")
        self.chosen = chosen

    def sample(self, prompts: list[list[int]], seed: int, new: int, at_once: int) -> dict[str, Any]:
        from camelid.models.sampling import Sampling

        sampling = Sampling(max_new_tokens=new, min_new_tokens=0, batch_rows=at_once)
        start_memory()
        clock = Clock()
        drawn = self.policy.sample(prompts, sampling, seed=seed, num_samples=COPIES)
        return finished(clock, sum(len(one.ids) for samples in drawn for one in samples))


class Theirs:
    """transformers."""

    def __init__(self, chosen: Any):
        import torch

        self.chosen = chosen
        self.model = random_model(chosen.size, torch.bfloat16, "sdpa").eval()

    def sample(self, prompts: list[list[int]], seed: int, new: int, at_once: int) -> dict[str, Any]:
        import torch
        from transformers import GenerationConfig

        torch.manual_seed(seed)
        settings = GenerationConfig(max_new_tokens=new, do_sample=True, top_k=0, top_p=1.0, pad_token_id=0)
        settings.eos_token_id = 2
        rows = sorted((prompt for prompt in prompts for _ in range(COPIES)), key=len)
        start_memory()
        clock, tokens = Clock(), 0
        if self.chosen.against == "continuous":
            done = self.model.generate_batch(inputs=rows, generation_config=settings, progress_bar=False)
            return finished(clock, sum(len(one.generated_tokens) for one in done.values()))
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            width = max(map(len, part))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in part], device=device())
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part], device=device())
            with torch.no_grad():
                made = self.model.generate(ids, attention_mask=mask, generation_config=settings)[:, width:].tolist()
            tokens += sum(row.index(2) + 1 if 2 in row else len(row) for row in made)
        return finished(clock, tokens)


def answer(side: Any, prompts: list[list[int]], job: dict[str, Any]) -> dict[str, Any]:
    """`fits` is false where the device had no room for so many rows at once."""
    import torch

    try:
        return side.sample(prompts, **job) | {"fits": True}
    except torch.OutOfMemoryError:
        pass
    empty_cache()
    return {"fits": False, "seconds": 0.0}


def most_at_once(side: Side, rows: int, new: int) -> int:
    """As many rows as fit; the first try is the warm-up, too."""
    while rows > 1:
        if side.ask(seed=9, new=new, at_once=rows)["fits"]:
            return rows
        rows //= 2
    raise SystemExit("not even one row fits")


def main() -> None:
    asked = parser(__doc__, model=None)
    asked.add_argument("--size", default="1b", choices=sorted(SIZES))
    asked.add_argument("--rows", type=int, default=256)
    asked.add_argument("--new", type=int, default=512)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--against", default="generate", choices=["generate", "continuous"])
    chosen = asked.parse_args()
    prompts = read_prompts(chosen.size, chosen.rows)
    if chosen.side:
        side = {"ours": Ours, "theirs": Theirs}[chosen.side](chosen)
        return serve(partial(answer, side, prompts))
    more = ["--size", chosen.size, "--rows", str(chosen.rows), "--new", str(chosen.new), "--against", chosen.against]
    sides = {who: Side(__file__, who, more) for who in SIDES}
    own = {who: {"at_once": most_at_once(sides[who], chosen.rows, chosen.new)} for who in SIDES}
    print(own, file=sys.stderr, flush=True)
    replies = take_turns(sides, [{"seed": seed, "new": chosen.new} for seed in range(chosen.repeats)], own)
    for side in sides.values():
        side.close()
    rates = {who: sum(r["tokens"] for r in found) / sum(r["seconds"] for r in found) for who, found in replies.items()}
    for found in replies.values():  # rates are compared, not times: each side draws its own tokens
        for reply in found:
            reply["seconds"], reply["cpu_seconds"] = (
                reply[key] / reply["tokens"] for key in ("seconds", "cpu_seconds")
            )
    import transformers

    publish(
        {
            "benchmark": f"gpu.sample.{chosen.size}",
            "peer_name": f"transformers {transformers.__version__}, {chosen.against}, "
            f"{own['theirs']['at_once']} rows at once",
            **compared(replies, 1, "tokens"),
            "ours": rates["ours"],
            "peer": rates["theirs"],
            "rows": chosen.rows,
            "new": chosen.new,
            "prompt_tokens": sum(map(len, prompts)),
            "peak_share": None,
        },
        chosen.out,
    )


if __name__ == "__main__":
    main()
