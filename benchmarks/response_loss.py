"""Supervised fine-tuning on answers alone, on everything, and without the end of turn: what each does, over seeds.

    python benchmarks/response_loss.py --data FOLDER --out results.jsonl [--seeds 3] [--rows 256]

Alpaca rows in Alpaca's format, which the start model has not seen. Measured on rows that no training saw: the negative
log-likelihood a token of the answers, before and after; and of 200 sampled answers, on prompts whose own answer is
short, the share that ends by an end of turn. A training takes its line in `--out` when it is done, so a run that was
stopped goes on. Prints one JSON line: means over seeds with intervals over rows and seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np

from camelid import process

process.prepare()  # before torch is loaded

from alpaca_rows import Done, Parts, nll_sums, one_pass, parser, parts_of  # noqa: E402

from camelid.functional.bootstrap import bootstrap_statistic  # noqa: E402
from camelid.functional.seeds import over_seeds  # noqa: E402
from camelid.functional.statistics import Estimate, proportion  # noqa: E402
from camelid.models.batch import Row  # noqa: E402
from camelid.models.model_settings import ModelSettings  # noqa: E402
from camelid.models.optimizer import OptimizerSettings  # noqa: E402
from camelid.models.policy import Policy  # noqa: E402
from camelid.models.sampling import Sampling  # noqa: E402
from camelid.train.sft import SftSettings  # noqa: E402

METHODS = ("answers", "everything", "no end")
SHORT = 64
"""Longest answer, in tokens, of the rows whose prompts are sampled from: most of them should end in time."""


def train(method: str, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """One training, and what it did to rows that it has not seen."""
    began = time.perf_counter()
    settings = SftSettings(max_tokens=256, chat_format="alpaca")
    policy = Policy.load_for_training(
        chosen.model, ModelSettings(), OptimizerSettings(), seed=seed, chat_format="alpaca"
    )
    on_answers, rows = rows_of(policy, method, settings, seed, chosen)
    test = [row for _, row in on_answers.test]
    before = nll_sums(policy, test)
    one_pass(policy, rows, 16, chosen.rate, seed)
    prompts = [
        list(row.ids[: list(row.loss_mask).index(True)])
        for _, row in [*on_answers.tune, *on_answers.test]
        if sum(row.loss_mask) <= SHORT
    ][: chosen.answers]
    sampling = Sampling(temperature=0.7, max_new_tokens=3 * SHORT)
    ended = [found[0].finished for found in policy.sample(prompts, sampling, seed=seed)]
    return {
        "method": method,
        "seed": seed,
        "tokens": [int(sum(row.loss_mask)) for row in test],
        "before": before,
        "after": nll_sums(policy, test),
        "ended": sum(ended),
        "answers": len(ended),
        "seconds": time.perf_counter() - began,
    }


def rows_of(
    policy: Policy, method: str, settings: SftSettings, seed: int, chosen: argparse.Namespace
) -> tuple[Parts, list[Row]]:
    """Rows as they are measured, and those that train."""
    size = (chosen.data, chosen.rows, chosen.test_rows, seed)
    on_answers = parts_of(policy, *size, settings)
    if method == "everything":
        whole = settings.model_copy(update={"train_on": "everything"})
        return on_answers, [row for _, row in parts_of(policy, *size, whole).train]
    rows = [row for _, row in on_answers.train]
    if method == "no end":
        rows = [without_end(row, policy.chat.stop_ids) for row in rows]
    return on_answers, rows


def without_end(row: Row, stop_ids: Any) -> Row:
    """The row with the loss masked where a turn ends."""
    mask = np.array(row.loss_mask) & ~np.isin(np.array(row.ids), list(stop_ids))
    return Row(row.ids, mask, row.values)


def lower(run: dict[str, Any], other: dict[str, Any] | None = None) -> Estimate:
    """Nats a token by which the answers' loss is lower than at the start, or than after another training."""
    than = np.array(other["after"] if other else run["before"])
    fall, tokens = than - np.array(run["after"]), np.array(run["tokens"])
    return bootstrap_statistic(len(tokens), lambda counts: (counts @ fall) / (counts @ tokens))


def summary(done: list[dict[str, Any]]) -> dict[str, Any]:
    """What the known answers ask for."""
    by = {method: sorted((r for r in done if r["method"] == method), key=lambda r: r["seed"]) for method in METHODS}
    pairs = list(zip(by["answers"], by["everything"], strict=True))
    one = by["answers"][0]
    return {
        "start_nll": sum(one["before"]) / sum(one["tokens"]),
        "lower_than_start": {m: over_seeds([lower(r) for r in by[m]])._asdict() for m in METHODS},
        "answers_lower_than_everything": over_seeds([lower(a, b) for a, b in pairs])._asdict(),
        "ended": {m: over_seeds([proportion(r["ended"], r["answers"]) for r in by[m]])._asdict() for m in METHODS},
        "seeds": len(pairs),
    }


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rows", type=int, default=256, help="rows to train on, once")
    asked.add_argument("--test-rows", type=int, default=200, help="rows to measure on")
    asked.add_argument("--answers", type=int, default=200, help="answers to sample")
    asked.add_argument("--rate", type=float, default=1e-3, help="peak learning rate of LoRA 16")
    chosen = asked.parse_args()
    done = Done(chosen.out)
    have = {(r["method"], r["seed"]) for r in done.runs}
    for method, seed in [(m, s) for s in range(chosen.seeds) for m in METHODS]:
        if (method, seed) not in have:
            run = train(method, seed, chosen)
            done.add(run)
            print(method, seed, f"{run['seconds']:.0f} s", file=sys.stderr, flush=True)
    print(json.dumps(summary(done.runs)))


if __name__ == "__main__":
    main()
