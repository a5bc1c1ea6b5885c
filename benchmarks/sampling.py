"""Sampling: camelid's engine against transformers' `generate`, its continuous batching, and vLLM, on the same prompts.

    python benchmarks/sampling.py --data conversations.json --model MODEL [--prompts 64] [--copies 8] [--repeats 3]

The prompts are first user turns of a file of conversations (ShareGPT's, say) of at most `--longest` tokens; of each
`--copies` completions are drawn at temperature 1, of at most `--new` tokens, with natural ends, in bfloat16. Sides
take turns, with other seeds each time. `generate` gets rows of like length together, padded on the left, in
batches of the size that was fastest on the first prompts; the others get all of them at once. vLLM has an environment
of its own (`make vllm`), whose python is `--peer-python`.

Rates are of tokens drawn by each side: what they draw differs. `peak_share`: the least time that the machine could need
over ours. That is the larger of two: operations of all weights for each token (prompts once, without the head) at the
measured peak of a bare product; and the bytes of weights, prompts and own tokens read at the measured bandwidth.
"""

from __future__ import annotations

import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from alternate import SIDES, Clock, Side, compared, matmul_peak, parser, publish, serve, take_turns
from sampling_sides import Ours, Transformers, Vllm

TRIED = (16, 32, 64, 128, 256)
"""Rows of a batch of `generate`."""


def read_prompts(chosen: Any) -> list[list[int]]:
    """Token ids of the first turns, a seeded draw."""
    from transformers import AutoTokenizer

    from camelid.collect.readers import read
    from camelid.models.chat import load_chat_format
    from camelid.types import Conversation

    chat = load_chat_format(AutoTokenizer.from_pretrained(chosen.model), "model")
    rows = read(Path(chosen.data), want=Conversation).rows
    found: list[list[int]] = []
    for row in random.Random(0).sample(rows, len(rows)):
        if row.messages[0].role == "user" and len(found) < chosen.prompts:
            ids = list(map(int, chat.prompt_ids(row.messages[:1])))
            found += [ids] if len(ids) <= chosen.longest else []
    return found


def answer(side: Any, prompts: list[list[int]], job: dict[str, Any]) -> dict[str, Any]:
    if job.pop("name", False):
        return {"name": side.name}
    chosen = [prompts[number] for number in job.pop("prompts")]
    clock = Clock()
    lengths = side.sample(chosen, **job)
    return {**clock.read(), "lengths": lengths}


def bandwidth() -> float:
    """Bytes a second that all threads read of 512 MB, the best of ten."""
    import torch

    numbers, best = torch.ones(1 << 27), 0.0
    for _ in range(10):
        start = time.perf_counter()
        numbers.sum()
        best = max(best, numbers.nbytes / (time.perf_counter() - start))
    return best


def least_seconds(model: str, prompts: list[int], lengths: list[int], peak: float, bytes_a_second: float) -> float:
    """What a machine at both its limits could not go below, all rows decoded side by side in bfloat16."""
    from camelid.models.shape import Shape

    shape = Shape.read(Path(model))
    each = shape.trunk_parameters + shape.head_parameters
    operations = 2 * (shape.trunk_parameters * sum(prompts) + each * sum(lengths))
    copies, cached, read = len(lengths) // len(prompts), 2 * shape.cached_numbers, 0
    for step in range(1, max(lengths)):
        running = [length > step for length in lengths]
        asked = sum(tokens for i, tokens in enumerate(prompts) if any(running[i * copies : (i + 1) * copies]))
        read += 2 * each + cached * (asked + step * sum(running))
    return max(operations / peak, read / bytes_a_second)


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--prompts", type=int, default=64)
    asked.add_argument("--copies", type=int, default=8)
    asked.add_argument("--new", type=int, default=128)
    asked.add_argument("--longest", type=int, default=512)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--places", type=int, default=512, help="rows that ours draws side by side")
    asked.add_argument("--weights", default="own", choices=["own", "packed", "int8"], help="that ours draws with")
    asked.add_argument("--against", default="generate", choices=["generate", "continuous", "vllm"])
    asked.add_argument("--peer-python", default=sys.executable)
    chosen = asked.parse_args()
    prompts = read_prompts(chosen)
    if chosen.side:
        theirs = Vllm if chosen.against == "vllm" else Transformers
        side = {"ours": Ours, "theirs": theirs}[chosen.side](chosen)
        return serve(partial(answer, side, prompts))
    names = ("prompts", "copies", "new", "longest", "places", "weights")
    more = [word for name in names for word in (f"--{name}", str(getattr(chosen, name)))]
    more += ["--model", chosen.model, "--data", chosen.data, "--against", chosen.against]
    sides = {"ours": Side(__file__, "ours", more), "theirs": Side(__file__, "theirs", more, chosen.peer_python)}
    size = 0
    if chosen.against == "generate":
        tried = {}
        for size in TRIED:
            few = list(range(-(-size // chosen.copies)))
            reply = sides["theirs"].ask(prompts=few, new=32, size=size)
            tried[size] = sum(reply["lengths"]) / reply["seconds"]
            if size * 2 > chosen.copies * len(prompts):
                break
        print(f"generate, tokens a second by batch: {tried}", file=sys.stderr, flush=True)
        size = max(tried, key=lambda rows: tried[rows])
    sides["ours"].ask(prompts=[0, 1], new=8)
    sides["theirs"].ask(prompts=[0, 1], new=8, size=size)
    every = list(range(len(prompts)))
    jobs = [{"prompts": every, "new": chosen.new, "seed": seed} for seed in range(chosen.repeats)]
    replies = take_turns(sides, jobs, {"ours": {}, "theirs": {"size": size}})
    peak, bytes_a_second = matmul_peak("bfloat16"), bandwidth()
    peer = sides["theirs"].ask(name=True)["name"]
    for side in sides.values():
        side.close()
    tokens = {who: [sum(reply["lengths"]) for reply in replies[who]] for who in SIDES}
    for who in SIDES:  # rates are compared, not times: each side draws its own tokens
        for reply, drawn in zip(replies[who], tokens[who], strict=True):
            reply["seconds"], reply["cpu_seconds"] = reply["seconds"] / drawn, reply["cpu_seconds"] / drawn
    least = sum(
        least_seconds(chosen.model, list(map(len, prompts)), reply["lengths"], peak, bytes_a_second)
        for reply in replies["ours"]
    )
    taken = sum(reply["seconds"] * drawn for reply, drawn in zip(replies["ours"], tokens["ours"], strict=True))
    rates = {
        who: sum(tokens[who]) / sum(r["seconds"] * d for r, d in zip(replies[who], tokens[who], strict=True))
        for who in SIDES
    }
    publish(
        {
            "benchmark": "sample",
            "weights": chosen.weights,
            "peer_name": peer + (f", {size} rows" if size else ""),
            **compared(replies, 1, "tokens"),
            "ours": rates["ours"],
            "peer": rates["theirs"],
            "prompts": len(prompts),
            "prompt_tokens": sum(map(len, prompts)),
            "tokens": {who: sum(tokens[who]) for who in SIDES},
            "peak_share": least / taken,
            "peak_gflops": peak / 1e9,
            "gigabytes_a_second": bytes_a_second / 1e9,
        },
        chosen.out,
    )


if __name__ == "__main__":
    main()
