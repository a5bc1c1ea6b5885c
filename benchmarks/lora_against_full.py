"""Does LoRA do what full fine-tuning does? GPT4All's question, on held-out instruction rows, over several seeds.

    python benchmarks/lora_against_full.py --model smollm2-135m --data FOLDER --out results.jsonl

Both train on the same rows in the same order, each at the best of three learning rates, chosen with the first seed on
rows that neither the training nor the test has. What counts is the drop of the mean negative log-likelihood a token of
the answers. A training takes its line in `--out` when it is done: a run that was stopped goes on, and `--max-runs`
spreads it. Left out: more than one pass, other sizes of model.

In the default size: 10 trainings, each on 128 rows in steps of 8. `--rows 64 --batch-size 4 --test-rows 32` halves it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from typing import Any

import numpy as np
import torch
from alpaca_rows import Done, nll_sums, one_pass, parser, parts_of

from camelid.functional.bootstrap import bootstrap_statistic
from camelid.models.batch import Row
from camelid.models.lora import merged_state
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.train.sft import SftSettings

METHODS = ("lora", "full")
T_TWO_SIDED = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t at 97.5% for n seeds, n - 1 degrees of freedom."""


def rows_of(policy: Policy, chosen: argparse.Namespace, seed: int) -> dict[str, list[Row]]:
    """train, tune and test; the last two are the same for all seeds."""
    settings = SftSettings(max_tokens=chosen.max_tokens)
    parts = parts_of(policy, chosen.data, chosen.rows, chosen.test_rows, seed, settings)
    return {name: [row for _, row in part] for name, part in parts._asdict().items()}


def train(
    method: str, rate: float, seed: int, done: list[dict[str, Any]], chosen: argparse.Namespace
) -> dict[str, Any]:
    """One training, and what it did to the rows that it has not seen."""
    began = time.perf_counter()
    settings = ModelSettings(lora_rank=chosen.rank if method == "lora" else 0, lora_alpha=2 * chosen.rank)
    policy = Policy.load_for_training(chosen.model, settings, OptimizerSettings(), seed=seed)
    rows = rows_of(policy, chosen, seed)
    # The start is the same model on the same rows for every rate and seed, in the format that the method holds it in.
    known = next((r["before"] for r in done if r["method"] == method), None)
    before = known or {part: nll_sums(policy, rows[part]) for part in ("tune", "test")}
    steps = one_pass(policy, rows["train"], chosen.batch_size, rate, seed)
    after = {part: nll_sums(policy, rows[part]) for part in ("test", *(["tune"] if seed == 0 else []))}
    trained = sum(p.numel() for p in policy._training().named.values())
    every = sum(p.numel() for name, p in policy.model.named_parameters() if "lora_" not in name)
    tokens = {part: sum(int(sum(row.loss_mask)) for row in found) for part, found in rows.items()}
    result = {"method": method, "rate": rate, "seed": seed, "steps": steps, "tokens": tokens}
    result |= {"trained_share": trained / every, "before": before, "after": after}
    if method == "lora":
        result["merged_difference"] = merged_difference(policy, settings, rows["test"][:8], chosen)
    return result | {"seconds": time.perf_counter() - began}


def merged_difference(policy: Policy, settings: ModelSettings, rows: list[Row], chosen: argparse.Namespace) -> float:
    """Largest difference of a log-probability between the adapters and the merged weights, both in float32."""
    exact = settings.model_copy(update={"precision": "float32"})
    apart = Policy.load_for_training(chosen.model, exact, OptimizerSettings(), seed=0)
    with torch.no_grad():
        for name, parameter in apart._training().named.items():
            parameter.copy_(policy._training().named[name])
    merged = Policy.load(chosen.model, exact)
    merged.model.load_state_dict(merged_state(apart.model, torch.float32))
    pairs = zip(apart.logprobs(rows), merged.logprobs(rows), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def drop(result: dict[str, Any], part: str = "test") -> float:
    """Fall of the mean negative log-likelihood a token, in nats."""
    return (sum(result["before"][part]) - sum(result["after"][part])) / result["tokens"][part]


def next_run(done: list[dict[str, Any]], chosen: argparse.Namespace) -> tuple[str, float, int] | None:
    """What is to be trained now: all rates with seed 0, then the better one with the other seeds."""
    have = {(r["method"], r["rate"], r["seed"]) for r in done}
    wanted = [(method, rate, 0) for method in METHODS for rate in getattr(chosen, f"{method}_rates")]
    if have.issuperset(wanted):
        wanted += [(method, best(done, method), seed) for method in METHODS for seed in range(1, chosen.seeds)]
    return next((run for run in wanted if run not in have), None)


def best(done: list[dict[str, Any]], method: str) -> float:
    """The rate with the largest drop on the rows for tuning."""
    return max((r for r in done if r["method"] == method and r["seed"] == 0), key=lambda r: drop(r, "tune"))["rate"]


def summary(done: list[dict[str, Any]], chosen: argparse.Namespace) -> dict[str, Any]:
    """The share of full fine-tuning's drop that LoRA reaches, with its spread over seeds and over rows."""
    runs = {
        method: [r for r in done if r["method"] == method and r["rate"] == best(done, method)] for method in METHODS
    }
    runs = {method: sorted(found, key=lambda r: r["seed"]) for method, found in runs.items()}
    drops = {method: np.array([drop(r) for r in found]) for method, found in runs.items()}
    shares = drops["lora"] / drops["full"]
    n = len(shares)
    error = shares.std(ddof=1) / math.sqrt(n)
    half = T_TWO_SIDED[n] * error
    falls = {
        method: np.mean([np.subtract(r["before"]["test"], r["after"]["test"]) for r in found], axis=0)
        for method, found in runs.items()
    }
    rows = bootstrap_statistic(len(falls["lora"]), lambda counts: (counts @ falls["lora"]) / (counts @ falls["full"]))
    return {
        "share_of_drop": {"value": shares.mean(), "low": shares.mean() - half, "high": shares.mean() + half, "n": n},
        "share_of_drop_over_rows": rows._asdict(),
        "shares": shares.tolist(),
        "start_nll": sum(runs["full"][0]["before"]["test"]) / runs["full"][0]["tokens"]["test"],
        "drops": {method: found.tolist() for method, found in drops.items()},
        "rates": {method: best(done, method) for method in METHODS},
        "tried": {f"{r['method']} {r['rate']:g}": drop(r, "tune") for r in done if r["seed"] == 0},
        "trained_share": runs["lora"][0]["trained_share"],
        "merged_difference": max(r["merged_difference"] for r in runs["lora"]),
        "rows": chosen.rows,
        "test_rows": chosen.test_rows,
    }


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rows", type=int, default=128, help="rows to train on")
    asked.add_argument("--test-rows", type=int, default=64, help="rows to measure on; as many again choose the rate")
    asked.add_argument("--batch-size", type=int, default=8)
    asked.add_argument("--max-tokens", type=int, default=256)
    asked.add_argument("--rank", type=int, default=8)
    asked.add_argument("--lora-rates", type=float, nargs="+", default=[1e-3, 2e-3, 4e-3])
    asked.add_argument("--full-rates", type=float, nargs="+", default=[5e-5, 1e-4, 2e-4])
    asked.add_argument("--max-runs", type=int, default=100, help="stop after so many trainings")
    chosen = asked.parse_args()
    done = Done(chosen.out)
    for _ in range(chosen.max_runs):
        run = next_run(done.runs, chosen)
        if run is None:
            break
        done.add(train(*run, done.runs, chosen))
        took = f"{done.runs[-1]['seconds']:.0f} s"
        print(f"{run}: {drop(done.runs[-1]):.4f} nats lower after {took}", file=sys.stderr, flush=True)
    if next_run(done.runs, chosen) is None:
        print(json.dumps(summary(done.runs, chosen)))


if __name__ == "__main__":
    main()
