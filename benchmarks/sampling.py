"""Sampling: camelid's engine against transformers' `generate` and its continuous batching, on the same prompts.

    python benchmarks/sampling.py --data conversations.json --model MODEL [--prompts 64] [--copies 8] [--repeats 3]

The prompts are first user turns of a file of conversations (ShareGPT's, say) of at most `--longest` tokens; of each
`--copies` completions are drawn at temperature 1, of at most `--new` tokens, with natural ends, in bfloat16. Sides
take turns, with other seeds each time. `generate` gets rows of like length together, padded on the left, in
batches of the size that was fastest on the first prompts; continuous batching gets all of them at once.

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

TRIED = (8, 16, 32, 64)
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


class Ours:
    """camelid."""

    def __init__(self, chosen: Any):
        from camelid import process

        process.prepare()
        from camelid.models.policy import Policy

        self.chosen, self.policy = chosen, Policy.load(Path(chosen.model))

    def sample(self, prompts: list[list[int]], new: int, seed: int = 0) -> list[int]:
        """Tokens of each completion."""
        from camelid.models.sampling import Sampling

        sampling = Sampling(max_new_tokens=new, batch_rows=self.chosen.places)
        drawn = self.policy.sample(prompts, sampling, seed=seed, num_samples=self.chosen.copies)
        return [len(one.ids) for samples in drawn for one in samples]


class Theirs:
    """transformers: `generate`, or continuous batching where `size` is 0."""

    def __init__(self, chosen: Any):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.chosen = chosen
        self.tokenizer = AutoTokenizer.from_pretrained(chosen.model)
        self.model = AutoModelForCausalLM.from_pretrained(chosen.model, dtype=torch.bfloat16).eval()

    def sample(self, prompts: list[list[int]], new: int, size: int, seed: int = 0) -> list[int]:
        """Tokens of each completion."""
        import torch
        from transformers import GenerationConfig

        torch.manual_seed(seed)
        pad = self.tokenizer.pad_token_id
        settings = GenerationConfig(
            max_new_tokens=new, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=pad
        )
        settings.eos_token_id = self.tokenizer.eos_token_id
        rows = [prompt for prompt in prompts for _ in range(self.chosen.copies)]
        if not size:
            done = self.model.generate_batch(inputs=rows, generation_config=settings, progress_bar=False)
            return [len(one.generated_tokens) for one in done.values()]
        rows, lengths = sorted(rows, key=len), []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            width = max(map(len, part))
            ids = torch.tensor([[pad] * (width - len(row)) + row for row in part])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part])
            with torch.no_grad():
                made = self.model.generate(ids, attention_mask=mask, generation_config=settings)[:, width:]
            for row in made.tolist():
                lengths.append(row.index(settings.eos_token_id) + 1 if settings.eos_token_id in row else len(row))
        return lengths


def answer(side: Any, prompts: list[list[int]], job: dict[str, Any]) -> dict[str, Any]:
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
    asked.add_argument("--against", default="generate", choices=["generate", "continuous"])
    chosen = asked.parse_args()
    prompts = read_prompts(chosen)
    if chosen.side:
        side = {"ours": Ours, "theirs": Theirs}[chosen.side](chosen)
        return serve(partial(answer, side, prompts))
    numbers = ("prompts", "copies", "new", "longest", "places")
    more = [word for name in numbers for word in (f"--{name}", str(getattr(chosen, name)))]
    more += ["--model", chosen.model, "--data", chosen.data]
    sides = {who: Side(__file__, who, more) for who in SIDES}
    size = 0
    if chosen.against == "generate":
        tried = {}
        for size in TRIED:
            few = list(range(-(-size // chosen.copies)))
            reply = sides["theirs"].ask(prompts=few, new=32, size=size)
            tried[size] = sum(reply["lengths"]) / reply["seconds"]
        print(f"generate, tokens a second by batch: {tried}", file=sys.stderr, flush=True)
        size = max(tried, key=lambda rows: tried[rows])
    sides["ours"].ask(prompts=[0], new=8)
    every = list(range(len(prompts)))
    jobs = [{"prompts": every, "new": chosen.new, "seed": seed} for seed in range(chosen.repeats)]
    replies = take_turns(sides, jobs, {"ours": {}, "theirs": {"size": size}})
    peak, bytes_a_second = matmul_peak("bfloat16"), bandwidth()
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
    import transformers

    rates = {
        who: sum(tokens[who]) / sum(r["seconds"] * d for r, d in zip(replies[who], tokens[who], strict=True))
        for who in SIDES
    }
    publish(
        {
            "benchmark": "sample",
            "peer_name": f"transformers {transformers.__version__}, {chosen.against}"
            + (f", {size} rows" if size else ""),
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
