"""Memory and time that `camelid estimate` says beside what is then measured: every training stage at two sizes.

    python benchmarks/estimates.py [--model smollm2-135m] [--only sft-lora ...] [--tokens 512 2048] [--out FOLDER]

Each stage is a process of its own on the longest rows of the starter set, some steps of it; memory is its peak resident
set as the kernel counts it. Speed is rehearsed just before, since a shared machine is another one each minute. Prints a
JSON line a run and a table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from alternate import publish

import camelid
from camelid.models.loading import resolve_model
from camelid.table import print_table

STARTER = Path(camelid.__file__).parent / "starter"
ROWS_A_THOUSAND_TOKENS = 8
"""Of rows of some 150 tokens: a step has more than one micro-batch."""
STEPS = 6
"""An epoch."""


class Case(NamedTuple):
    """A stage, its files and settings; {n} is the number of rows of a step, of which there are `STEPS`."""

    stage: str
    inputs: dict[str, str]
    settings: tuple[str, ...]


SFT = {"model": "model", "demonstrations": "demonstrations"}
TEXT = {"model": "model", "text": "demonstrations"}
PAIRS = {"model": "model", "preferences": "preferences"}
POLICY = {"model": "model", "reward_model": "reward", "prompts": "prompts"}
FULL = ("model.lora_rank=0",)
CASES = {
    "sft-lora": Case("sft", SFT, ("epochs=2", "batch_size={n}")),
    "sft-full": Case("sft", SFT, (*FULL, "epochs=2", "batch_size={n}")),
    "sft-full-checkpointed": Case("sft", SFT, (*FULL, "model.checkpointing=always", "epochs=2", "batch_size={n}")),
    "sft-lora-checkpointed": Case("sft", SFT, ("model.checkpointing=always", "epochs=2", "batch_size={n}")),
    "reward-lora": Case("reward", PAIRS, ("held_out=0", "epochs=2", "batch_size={n}")),
    "reward-full": Case("reward", PAIRS, (*FULL, "held_out=0", "epochs=2", "batch_size={n}")),
    "dpo-lora": Case("dpo", PAIRS, ("held_out=0", "epochs=2", "batch_size={n}")),
    "distill": Case("distill", TEXT, ("held_out=0", "epochs=2", "batch_size={n}")),
    "ppo": Case(
        "ppo",
        POLICY,
        (f"num_iterations={STEPS}", "batch_size={n}", "mini_batch_size={n}", "sampling.max_new_tokens=48"),
    ),
    "best": Case("best", POLICY, ("num_samples=4", "sampling.max_new_tokens=48")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--tokens", nargs="+", type=int, default=[256, 1024], help="of a micro-batch")
    parser.add_argument("--out", default="")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        files = {"model": resolve_model(arguments.model)}
        for name in arguments.only:
            for tokens in arguments.tokens:
                result = compare(name, CASES[name], tokens, files, Path(scratch))
                publish(result, arguments.out)
                results.append(result)
    columns = ("stage", "micro-batch", "estimated GB", "measured GB", "ratio", "estimated s", "measured s", "ratio ")
    rows = [[r["stage"], str(r["micro_batch_tokens"]), *map("{:.2f}".format, _figures(r))] for r in results]
    print_table(columns, rows, right=columns[1:])


def compare(name: str, case: Case, tokens: int, files: dict[str, Path], scratch: Path) -> dict[str, Any]:
    """Estimate, run, measure."""
    number = max(ROWS_A_THOUSAND_TOKENS * tokens // 1000, 6)
    rows = STEPS * number
    if "reward_model" in case.inputs and "reward" not in files:
        files["reward"] = reward_model(files["model"], scratch)
    here = files | {
        kind: first_rows(file, rows, scratch / f"{kind}-{rows}.jsonl")
        for kind, file in (
            ("demonstrations", "demonstrations"),
            ("preferences", "preferences"),
            ("prompts", "rollout_prompts"),
        )
    }
    words = [f"--{given}={here[kind]}" for given, kind in case.inputs.items()]
    settings = (*case.settings, f"model.micro_batch_tokens={tokens}", "chat_format=chatml")
    words += [word for text in settings for word in ("--set", text.format(n=number))]
    estimate = json.loads(camelid_says(["estimate", case.stage, *words, "--json"])[0])["stages"][0]
    out, peak = camelid_says([case.stage, *words, "--out", str(scratch / f"{name}-{tokens}")])
    manifest = json.loads((Path(out.strip()) / "manifest.json").read_text())
    return {
        "benchmark": "estimates",
        "stage": name,
        "micro_batch_tokens": tokens,
        "rows": rows,
        "estimated_bytes": estimate["memory_bytes"],
        "measured_bytes": peak,
        "memory_ratio": round(estimate["memory_bytes"] / peak, 3),
        "estimated_seconds": estimate["seconds"],
        "measured_seconds": manifest["seconds"],
        "seconds_ratio": round(estimate["seconds"] / max(manifest["seconds"], 0.01), 3),
    }


def camelid_says(words: list[str]) -> tuple[str, int]:
    """Standard output of a command, and the peak of its resident memory in bytes."""
    command = [sys.executable, "-m", "camelid.cli", *words]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as talk:
        process = subprocess.Popen(command, stdout=out, stderr=talk)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        talk.seek(0)
        if process.returncode:
            raise RuntimeError(f"camelid {' '.join(words)}: {talk.read()[-2000:]}")
        return out.read(), usage.ru_maxrss * 1024


def reward_model(model: Path, scratch: Path) -> Path:
    """A reward model to load, hardly trained."""
    pairs = first_rows("preferences", 2, scratch / "pairs.jsonl")
    words = [f"--model={model}", f"--preferences={pairs}", "--set", "held_out=0", "--set", "model.lora_first_layer=29"]
    out, _ = camelid_says(["reward", *words, "--set", "chat_format=chatml", "--out", str(scratch / "reward")])
    return Path(out.strip()) / "model"


def first_rows(name: str, number: int, path: Path) -> Path:
    """The longest of the starter set's rows, so that a step has more than one micro-batch."""
    if not path.exists():
        lines = (STARTER / f"{name}.jsonl").read_text().splitlines()
        path.write_text("\n".join(sorted(lines, key=len)[-number:]) + "\n")
    return path


def _figures(r: dict[str, Any]) -> tuple[float, ...]:
    seconds = r["estimated_seconds"], r["measured_seconds"]
    memory = r["estimated_bytes"] / 1e9, r["measured_bytes"] / 1e9
    return (*memory, r["memory_ratio"], *seconds, seconds[0] / max(seconds[1], 0.01))


if __name__ == "__main__":
    main()
