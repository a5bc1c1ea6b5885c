"""How a process waits and keeps memory: a training step and sampling with each setting, alone and two at once.

    python benchmarks/process.py [--model smollm2-135m] [--repeats 3]

Every measurement is a process of its own, since neither setting can be taken back; the settings take turns, so that a
busy machine slows all of them. Prints the least and the median seconds: of a step on 16 demonstrations of the starter
set with LoRA from layer 18, and of ten tokens for 120 prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from camelid.process import SPIN_COUNT, keep_freed_memory

SETTINGS = {
    "as they come": ({}, False),
    "passive": ({"OMP_WAIT_POLICY": "passive"}, False),
    "passive, memory kept": ({"OMP_WAIT_POLICY": "passive"}, True),
    "camelid's": ({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": SPIN_COUNT}, True),
}
"""Environment, and whether freed memory is kept."""


def work(model: Path) -> dict[str, float]:
    """Seconds of the second and third of three training steps, and of sampling."""
    import camelid
    from camelid.models.model_settings import ModelSettings
    from camelid.models.optimizer import OptimizerSettings
    from camelid.models.policy import Policy
    from camelid.models.sampling import Sampling
    from camelid.models.too_long import Lengths, row_limit
    from camelid.train.sft import SftSettings, demonstration_rows, loss
    from camelid.types import Conversation, Prompt, read_records

    starter = Path(camelid.__file__).parent / "starter"
    settings = ModelSettings(lora_first_layer=18, micro_batch_tokens=2048)
    policy = Policy.load_for_training(model, settings, OptimizerSettings(), seed=0, chat_format="chatml")
    demonstrations = read_records(starter / "demonstrations.jsonl", Conversation)[:48]
    lengths = Lengths("demonstrations", "stop", row_limit(1024, 1024))
    rows = [row for _, row in demonstration_rows(policy.chat, demonstrations, SftSettings(), lengths)]
    prompts = [policy.chat.prompt_ids(p.prompt) for p in read_records(starter / "evaluation_prompts.jsonl", Prompt)]

    steps = []
    for part in (rows[:16], rows[16:32], rows[32:]):
        start = time.perf_counter()
        policy.step(1e-4, policy.forward_backward(part, loss)["count"])
        steps.append(time.perf_counter() - start)
    start = time.perf_counter()
    policy.sample(prompts[:120], Sampling(max_new_tokens=10), seed=0)
    return {"step": sum(steps[1:]) / 2, "sampling": time.perf_counter() - start}


def launch(model: Path, environment: dict[str, str], keep: bool) -> subprocess.Popen[str]:
    """This file again, doing the work and printing its seconds."""
    plain = {name: v for name, v in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, __file__, "--model", str(model), "--work", "keep" if keep else "plain"]
    return subprocess.Popen(command, env=plain | environment, stdout=subprocess.PIPE, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", choices=["keep", "plain"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        if chosen.work == "keep" and not keep_freed_memory():
            raise SystemExit("this C library cannot be told to keep freed memory")
        print(json.dumps(work(Path(chosen.model))))
        return

    from camelid.models.loading import resolve_model

    model = resolve_model(chosen.model)
    seconds: dict[tuple[int, str, str], list[float]] = {}
    for _ in range(chosen.repeats):
        for together in (1, 2):
            for name, (environment, keep) in SETTINGS.items():
                if together == 2 and name == "as they come":
                    continue  # threads that spin for milliseconds: minutes
                for process in [launch(model, environment, keep) for _ in range(together)]:
                    output, _ = process.communicate()
                    if process.returncode:
                        raise SystemExit(f"the measurement with settings {name!r} failed")
                    for what, value in json.loads(output).items():
                        seconds.setdefault((together, name, what), []).append(value)
    for (together, name, what), values in sorted(seconds.items(), key=lambda item: (item[0][0], item[0][2])):
        least, median = min(values), statistics.median(values)
        at_once = "alone" if together == 1 else "two at once"
        print(f"{at_once:12} {what:9} {name:22} least {least:6.2f}  median {median:6.2f}  n = {len(values)}")


if __name__ == "__main__":
    main()
