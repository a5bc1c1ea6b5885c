"""Distillation against cross-entropy alone: a cut model healed on the same rows in the same steps, with and without
its teacher; which has the lower negative log-likelihood on documents that neither saw?

    python benchmarks/distillation.py --model MODEL --text documents.jsonl --out runs/distillation [--seeds 3]

`documents.jsonl` has a `text` a line. Every fourth document is held out. Training runs are stages, so a killed script
goes on where it was, and a finished one only measures again. Prints one JSON line: the mean difference in nats a token
over held-out documents, with its interval (bootstrap over documents; over seeds by `functional.seeds`), negative
where the teacher helps.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from camelid.functional.seeds import over_seeds
from camelid.functional.statistics import Estimate, bootstrap_mean, paired_bootstrap_difference
from camelid.models.policy import Policy
from camelid.runs import Stage, execute, read_manifest
from camelid.train.distill import DistillSettings, texts, train_distill


def split_documents(text: Path, out: Path) -> tuple[Path, Path]:
    """(training, held out): every fourth line is held out."""
    lines = [line for line in text.read_text(encoding="utf-8").split("\n") if line.strip()]
    parts = {"train": [x for i, x in enumerate(lines) if i % 4], "held": lines[::4]}
    out.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        (out / f"{name}.jsonl").write_text("\n".join(part) + "\n", encoding="utf-8")
    return out / "train.jsonl", out / "held.jsonl"


def nll_by_row(model: Path, held: Path, settings: DistillSettings, rows: int) -> np.ndarray:
    """Mean negative log-likelihood a token of the first `rows` held-out rows, in nats, (rows,)."""
    policy = Policy.load(model, settings.model.model_copy(update={"precision": "float32"}))
    found = [text.row for text in texts(policy, held, settings)][:rows]
    sums = policy.logprobs(found)
    return np.array([-float(x.sum()) / sum(row.loss_mask) for x, row in zip(sums, found, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--rows", type=int, default=96, help="training rows")
    parser.add_argument("--held", type=int, default=64, help="held-out rows")
    parser.add_argument("--alpha", type=float, default=0.5, help="weight of the teacher, against 0")
    chosen = parser.parse_args()
    train, held = split_documents(chosen.text, chosen.out)

    differences: list[Estimate] = []
    levels: dict[float, list[float]] = {0.0: [], chosen.alpha: []}
    steps = 0
    for seed in range(chosen.seeds):
        nll = {}
        for alpha in levels:
            settings = DistillSettings(
                keep_layers=chosen.layers,
                alpha=alpha,
                seed=seed,
                batch_size=8,
                max_rows=chosen.rows,
                max_tokens=128,
                held_out=0,
                checkpoint_every=2,
                learning_rate=3e-4,
            )
            stage = Stage(f"alpha-{alpha}-seed-{seed}", train_distill, settings, {"model": chosen.model, "text": train})
            path = execute([stage], chosen.out)[stage.name]
            manifest = read_manifest(path)
            assert manifest is not None
            steps = len((path / "metrics.jsonl").read_text().splitlines())
            nll[alpha] = nll_by_row(path / "model", held, settings, chosen.held)
            levels[alpha].append(bootstrap_mean(nll[alpha]).value)
        differences.append(paired_bootstrap_difference(nll[chosen.alpha], nll[0.0]))
    result = {
        "measurement": "distillation",
        "nll_difference": over_seeds(differences)._asdict(),
        "by_seed": [estimate._asdict() for estimate in differences],
        "nll": {f"alpha={alpha}": values for alpha, values in levels.items()},
        "steps": steps,
        "layers": chosen.layers,
        "train_rows": chosen.rows,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
