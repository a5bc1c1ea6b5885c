"""The same batch through TRL's RLOO and GRPO trainers and through camelid's policy gradients.

    python benchmarks/against_trl_losses.py [--prompts 4] [--copies 4] [--new 12] [--seeds 3]

A tiny Llama with random weights. TRL's trainer draws `--copies` completions of each prompt, scores them by a rule and
takes its advantages; then the weights are moved, so that ratios are not 1 and clips cut, and its `_compute_loss` and
backward pass run on that batch. camelid gets the token ids and the scores, and nothing else. One JSON line: the largest
differences over all cases and seeds, of log-probabilities and advantages as they are, of losses and gradients relative
to the largest one of TRL's. All in float32.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers
import trl
from against_trl_sides import Case, Models, Ours, Theirs
from gpu_model import SIZES, write_tokenizer

from camelid.train.algorithms import ALGORITHMS

MOVED = 0.02
"""By how much weights differ between drawing, training and the reference, relative to their size."""
END_WEIGHT = 4.0
"""Norm of the end of turn's embedding, relative to others: some completions end early, so that lengths differ."""


GRPO = {"loss_type": "grpo", "scale_rewards": "group", "use_bias_correction_kl": False}
CASES = {
    "rloo": Case(ALGORITHMS["rloo"], "RLOO", {}),
    "grpo": Case(ALGORITHMS["grpo"], "GRPO", GRPO),
    "grpo, unbiased KL": Case(
        ALGORITHMS["grpo"]._replace(kl="loss_unbiased"), "GRPO", GRPO | {"use_bias_correction_kl": True}
    ),
    "gspo": Case(
        ALGORITHMS["grpo"]._replace(ratio="completion_mean", kl_coef=0.0),
        "GRPO",
        GRPO | {"importance_sampling_level": "sequence"},
    ),
    "dr_grpo": Case(ALGORITHMS["dr_grpo"], "GRPO", GRPO | {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    "dapo": Case(ALGORITHMS["dapo"], "GRPO", GRPO | {"loss_type": "dapo"}),
}


def write_models(folder: Path, seed: int) -> Models:
    """Far from uniform, so that a wrong position, mask or temperature shows; the three some steps apart."""
    shape = SIZES["tiny"] | {"initializer_range": 0.2}
    found = Models(*(folder / name for name in Models._fields))
    for number, path in enumerate(found):
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, eos_token_id=2, pad_token_id=0))
        model.get_input_embeddings().weight.data[2] *= END_WEIGHT
        torch.manual_seed(seed + number)
        for weight in model.parameters() if number else ():
            weight.data += MOVED * weight.std(correction=0) * torch.randn_like(weight)
        model.save_pretrained(path)
        write_tokenizer(path)
    return found


def compare(case: Case, models: Models, chosen: argparse.Namespace, folder: Path, seed: int) -> dict[str, float]:
    """Largest differences between both sides in one case."""
    theirs = Theirs(case, models, chosen, folder, seed)
    ours = Ours(theirs, chosen)
    loss, clipped, gradients = ours.gradients()
    their_loss, their_gradients = theirs.loss().item(), theirs.gradients()
    if gradients.keys() != their_gradients.keys():
        raise ValueError(f"other parameters: {sorted(gradients.keys() ^ their_gradients.keys())}")
    scale = max(g.abs().max().item() for g in their_gradients.values())
    logprobs = theirs.logprobs()
    their_parts, our_parts = torch.tensor(theirs.parts()), torch.tensor(ours.parts())
    return {
        "logprobs": (ours.logprobs - logprobs).abs().max().item(),
        "advantages": (ours.advantages - theirs.batch["advantages"]).abs().max().item(),
        "part_losses": ((our_parts - their_parts).abs().max() / their_parts.abs().max()).item(),
        "loss": abs(loss - their_loss) / their_parts.abs().max().item(),
        "gradients": max((gradients[name] - g).abs().max().item() for name, g in their_gradients.items()) / scale,
        "largest_gradient": scale,
        "tokens": float(len(logprobs)),
        "shortest": float(theirs.batch["completion_mask"].sum(1).min()),
        "clip_fraction": clipped,
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("prompts", 4), ("copies", 4), ("new", 12), ("seeds", 3)):
        asked.add_argument(f"--{name}", type=int, default=value)
    chosen = asked.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    answer, sys.stdout = sys.stdout, sys.stderr  # TRL talks on stdout
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(chosen.seeds):
            models = write_models(Path(folder) / f"models-{seed}", 10 * seed)
            for name, case in CASES.items():
                found[name].append(compare(case, models, chosen, Path(folder) / "trl", seed))
                print(seed, name, found[name][-1])
    measures = ("logprobs", "advantages", "part_losses", "loss", "gradients")
    line = {
        "largest_differences": {m: max(run[m] for runs in found.values() for run in runs) for m in measures},
        "cases": {name: {m: max(run[m] for run in runs) for m in measures} for name, runs in found.items()},
        "clip_fraction": {name: sum(run["clip_fraction"] for run in runs) / len(runs) for name, runs in found.items()},
        "n": sum(len(runs) for runs in found.values()),
        "tokens": sum(run["tokens"] for runs in found.values() for run in runs),
        "versions": {package.__name__: package.__version__ for package in (trl, torch, transformers)},
    }
    print(json.dumps(line), file=answer)


if __name__ == "__main__":
    main()
