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

import sys
from functools import partial
from pathlib import Path
from typing import Any

from alternate import SIDES, Clock, Side, compared, matmul_peak, parser, publish, serve, take_turns

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
        from camelid.models.model_settings import ModelSettings
        from camelid.models.policy import Policy

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


def answer(side: Any, every: list[Any], job: dict[str, Any]) -> dict[str, Any]:
    items = [every[number] for number in job["items"]]
    if "operations" in job:
        return {"operations": side.operations(items)}
    clock = Clock()
    logprobs = side.run(items, job["batch_size"])
    return {**clock.read(), "logprobs": logprobs}


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--precision", default="checked", choices=["float32", "bfloat16", "checked"])
    asked.add_argument("--items", type=int, default=2376)
    asked.add_argument("--first", type=int, default=0, help="first item, to spread a long run")
    asked.add_argument("--pieces", type=int, default=8)
    asked.add_argument("--batch-size", type=int, default=0, help="the harness' batch size, where it is known")
    chosen = asked.parse_args()
    every = questions(Path(chosen.data))
    if chosen.side:
        side = {"ours": Ours, "theirs": Theirs}[chosen.side](chosen.model, chosen.precision)
        return serve(partial(answer, side, every))
    numbers = range(len(every))[chosen.first : chosen.first + chosen.items]
    more = ["--model", chosen.model, "--precision", chosen.precision, "--data", chosen.data]
    sides = {who: Side(__file__, who, more) for who in SIDES}
    pieces = [list(numbers[number :: chosen.pieces]) for number in range(chosen.pieces)]
    operations = sum(sides["ours"].ask(items=piece, operations=True)["operations"] for piece in pieces)
    sizes = (chosen.batch_size,) if chosen.batch_size else BATCH_SIZES
    trial = list(numbers[:TRIAL_ITEMS])
    tried = {size: sides["theirs"].ask(items=trial, batch_size=size)["seconds"] for size in sizes}
    print(f"harness, {len(trial)} items, seconds by batch size: {tried}", file=sys.stderr, flush=True)
    best = min(tried, key=lambda size: tried[size])
    dtype = chosen.precision.replace("checked", "bfloat16")
    peak = matmul_peak(dtype)
    replies = take_turns(sides, [{"items": piece, "batch_size": best} for piece in pieces])
    peak = max(peak, matmul_peak(dtype))
    for side in sides.values():
        side.close()
    result = compared(replies, len(numbers), "items")
    logprobs = {who: [x for reply in replies[who] for x in reply["logprobs"]] for who in SIDES}
    theirs = chosen.precision.replace("checked", "float32")
    publish(
        {
            "benchmark": f"tasks.arc_easy.{chosen.precision}",
            "peer_name": f"lm-evaluation-harness HFLM, {theirs}, batch size {best}",
            **result,
            "items": len(numbers),
            "peak_share": operations * result["ours"] / len(numbers) / peak,
            "peak_gflops": peak / 1e9,
            **agreement([every[i] for piece in pieces for i in piece], logprobs["ours"], logprobs["theirs"]),
        },
        chosen.out,
    )


if __name__ == "__main__":
    main()
