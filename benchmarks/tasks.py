"""ARC-easy by log-likelihood: camelid's runner against the lm-evaluation-harness' own Hugging Face model.

    python benchmarks/tasks.py --data DATA --model MODEL [--precision checked] [--pieces 8] [--out benchmarks/results]

`--precision float32` or `bfloat16` is for both sides. With `checked` ours asks in bfloat16 and what is close again in
float32, its trial included, and the harness computes in float32: what both have in common are the choices.

Both get the same texts and do everything from text to log-likelihood, each in a process of its own. The items are cut
into pieces and the two take turns at each, so that a busy machine slows both. The harness runs at the fastest of the
batch sizes that are tried on some items first. Prints one JSON line and appends it to OUT/MACHINE.jsonl.

`cpu_ratio` compares processor seconds, which other programs on the machine disturb less than the clock.
`peak_share`: multiplications that our plan needs (weights times tokens), a second, over those of a bare matrix product,
in bfloat16 but for `float32`; what `checked` asks twice is not counted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TRIAL_ITEMS = 24
BATCH_SIZES = (1, 4, 8, 16, 64)


def questions(data: Path) -> list[Any]:
    from camelid.evaluate.tasks.arc_easy import TASK

    return TASK.questions(TASK.path(data))


class Ours:
    """camelid's runner."""

    def __init__(self, model: str, precision: str):
        from camelid import process

        process.prepare()
        from camelid.models.answering import Answerer
        from camelid.models.policy import Policy
        from camelid.models.trunk import ModelSettings

        held = ModelSettings.model_validate({"precision": precision.replace("checked", "float32")})
        self.answerer = Answerer(Policy.load(Path(model), held))
        self.checked = precision == "checked"
        self.checker: Any = None

    def run(self, items: list[Any], batch_size: int) -> list[float]:
        if not self.checked:
            return [answer.logprob for answer in self.answerer.likelihoods([r for q in items for r in q.requests])]
        from camelid.evaluate.tasks.arc_easy import TASK
        from camelid.evaluate.tasks.checked import Checker, trial_of

        askings = [(q, q.requests) for q in items]
        if self.checker is None:
            self.checker = Checker(self.answerer, TASK, [(q, q.requests) for q in trial_of(items)])
        return [answer.logprob for own in self.checker.answer(askings) for answer in own.answers]

    def operations(self, items: list[Any]) -> float:
        """Multiplications and additions with weights that our plan needs to ask everything once."""
        from camelid.models.likelihood import PACK_TOKENS
        from camelid.models.prefix_tree import plan
        from camelid.models.shape import Shape

        shape = Shape.read(self.answerer.policy.path)
        rows = self.answerer.pairs([r for q in items for r in q.requests], limit=None)
        packs: Any = plan(rows, PACK_TOKENS)
        tokens = sum(len(pack.ids) for pack in packs)
        states = sum(len({place for _, places in pack.rows for place in places}) for pack in packs)
        return 2.0 * (tokens * shape.trunk_parameters + states * shape.head_parameters)


class Theirs:
    """The harness' own model."""

    def __init__(self, model: str, precision: str):
        from lm_eval.models.huggingface import HFLM

        dtype = precision.replace("checked", "float32")
        self.lm = HFLM(pretrained=model, dtype=dtype, device="cpu", batch_size=1)

    def run(self, items: list[Any], batch_size: int) -> list[float]:
        from lm_eval.api.instance import Instance

        self.lm.batch_size_per_gpu = batch_size
        pairs = [tuple(r) for q in items for r in q.requests]
        asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
        return [logprob for logprob, _ in self.lm.loglikelihood(asked, disable_tqdm=True)]


def work(who: str, model: str, precision: str, data: Path) -> None:
    """A worker: a JSON line in, a JSON line out."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries talk on stdout
    side: Any = {"ours": Ours, "theirs": Theirs}[who](model, precision)
    every = questions(data)
    for line in sys.stdin:
        job = json.loads(line)
        items = [every[number] for number in job["items"]]
        if "operations" in job:
            reply: dict[str, Any] = {"operations": side.operations(items)}
        else:
            start, cpu = time.perf_counter(), time.process_time()
            logprobs = side.run(items, job["batch_size"])
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            reply = {"seconds": seconds, "cpu_seconds": cpu, "logprobs": logprobs}
        reply["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(reply), file=answers, flush=True)


class Worker:
    """The other end of `work`."""

    def __init__(self, who: str, chosen: argparse.Namespace):
        command = [sys.executable, __file__, "--worker", who, "--model", chosen.model]
        command += ["--precision", chosen.precision, "--data", chosen.data]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **job: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def matmul_peak(precision: str) -> float:
    """Operations a second of a product of the shape that counts most: the best of several, now."""
    import torch

    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    x, w = torch.randn(1024, 576).to(dtype), torch.randn(1536, 576).to(dtype)
    seconds = []
    for _ in range(60):
        start = time.perf_counter()
        x @ w.T
        seconds.append(time.perf_counter() - start)
    return 2.0 * 1024 * 576 * 1536 / min(seconds)


def agreement(items: list[Any], ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Largest difference in nats, and the shares of items where both take the same choice."""
    place, same, same_norm = 0, 0, 0
    for item in items:
        number = len(item.requests)
        a, b = ours[place : place + number], theirs[place : place + number]
        lengths = [len(request.continuation) - 1 for request in item.requests]
        same += a.index(max(a)) == b.index(max(b))
        per_length = [[x / n for x, n in zip(side, lengths, strict=True)] for side in (a, b)]
        same_norm += len({side.index(max(side)) for side in per_length}) == 1
        place += number
    return {
        "largest_difference": max(abs(a - b) for a, b in zip(ours, theirs, strict=True)),
        "same_choice": same / len(items),
        "same_choice_per_length": same_norm / len(items),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", default=os.environ.get("CAMELID_DATA", ""))
    parser.add_argument("--precision", default="checked", choices=["float32", "bfloat16", "checked"])
    parser.add_argument("--items", type=int, default=2376)
    parser.add_argument("--first", type=int, default=0, help="first item, to spread a long run")
    parser.add_argument("--pieces", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=0, help="the harness' batch size, where it is known")
    parser.add_argument("--out", default="")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        return work(chosen.worker, chosen.model, chosen.precision, Path(chosen.data))
    every = questions(Path(chosen.data))
    numbers = range(len(every))[chosen.first : chosen.first + chosen.items]
    workers = {who: Worker(who, chosen) for who in ("ours", "theirs")}
    workers["ours"].ask(items=[numbers[0]], operations=True)  # until it is loaded
    sizes = (chosen.batch_size,) if chosen.batch_size else BATCH_SIZES
    trial = list(numbers[:TRIAL_ITEMS])
    tried = {size: workers["theirs"].ask(items=trial, batch_size=size)["seconds"] for size in sizes}
    print(f"harness, {len(trial)} items, seconds by batch size: {tried}", file=sys.stderr, flush=True)
    best = min(tried, key=lambda size: tried[size])
    peak, seconds, logprobs = 0.0, {"ours": [], "theirs": []}, {"ours": [], "theirs": []}
    operations, peaks, cpu = 0.0, {}, {"ours": 0.0, "theirs": 0.0}
    for number in range(chosen.pieces):
        piece = list(numbers[number :: chosen.pieces])
        peak = max(peak, matmul_peak(chosen.precision))
        operations += workers["ours"].ask(items=piece, operations=True)["operations"]
        for who in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            reply = workers[who].ask(items=piece, batch_size=best)
            seconds[who].append(reply["seconds"])
            logprobs[who] += reply["logprobs"]
            cpu[who] += reply["cpu_seconds"]
            peaks[who] = reply["peak_bytes"]
        print(number, [round(seconds[who][-1], 2) for who in seconds], file=sys.stderr, flush=True)
    for worker in workers.values():
        worker.close()
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    order = [every[i] for number in range(chosen.pieces) for i in numbers[number :: chosen.pieces]]
    ours, theirs = sum(seconds["ours"]), sum(seconds["theirs"])
    result = {
        "benchmark": f"tasks.arc_easy.{chosen.precision}",
        "ours": len(numbers) / ours,
        "peer": len(numbers) / theirs,
        "peer_name": f"lm-evaluation-harness HFLM, {chosen.precision.replace('checked', 'float32')}, batch size {best}",
        "ratio": statistics.median(ratios),
        "ratio_of_totals": theirs / ours,
        "ratios": ratios,
        "cpu_ratio": cpu["theirs"] / cpu["ours"],
        "peak_share": operations / ours / peak,
        "peak_gflops": peak / 1e9,
        "peak_memory_ratio": peaks["ours"] / peaks["theirs"],
        "n": chosen.pieces,
        "items": len(numbers),
        "unit": "items/s",
        "machine": machine(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip(),
        "date": datetime.date.today().isoformat(),
        **agreement(order, logprobs["ours"], logprobs["theirs"]),
    }
    print(json.dumps(result))
    if chosen.out:
        path = Path(chosen.out) / f"{machine()}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(result) + "\n")


def machine() -> str:
    """Processor and number of cores, as a file's name."""
    try:
        name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        name = platform.processor() or platform.machine()
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {os.cpu_count()} cores".lower()).strip("-")


if __name__ == "__main__":
    main()
