"""A reward model from preferences and rankings: LLaMA-2's margins and safety loss, InstructGPT's K at a time.

Every accuracy stands beside two floors, "the longer wins" and a bag of words (docs/reward-models.md).

    camelid reward --model smollm2-135m --preferences rows.jsonl
    camelid reward --model my-sft --preset llama-2-safety --preferences mixed.jsonl
    camelid reward --model my-sft --preset instructgpt --rankings ranked.jsonl --demonstrations written.jsonl
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from pydantic import Field

from camelid.durable import write_json
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.rewards import UNSAFE
from camelid.models.too_long import Lengths, Limit, row_limit
from camelid.runs import Run, derived_seed
from camelid.train.common import RowSettings, batches, input_files, model_card, split
from camelid.train.judged import Step, check_labels, concerns, judged_rows, read_verdicts, verdict_loss
from camelid.train.pairs import completion_rows
from camelid.train.reward_report import describe
from camelid.types import Comparison, Conversation, Messages, read_records


class RewardSettings(RowSettings):
    """Reward model."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate; LLaMA-2 took 1e-5 for full weights (arXiv:2307.09288, section 3.2.2)."""
    batch_size: int = Field(default=16, ge=1)
    """Prompts a step, each with its pair or with all pairs of its ranking; LLaMA-2 took 512, InstructGPT 64."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the preferences; more than one overfits (LLaMA-2, InstructGPT) and is warned of."""
    margins: Literal["none", "small", "large"] = "small"
    """LLaMA-2's margin a rating: none, small (1, 2/3, 1/3, 0) or large (3, 2, 1, 0). Pairs without rating have none."""
    safety_coef: float = Field(default=0.0, ge=0)
    """Weight of the safety loss: binary cross-entropy on the score of each answer that is labelled safe or unsafe. For
    a safety model; 0 leaves it out."""
    num_layers: int | None = Field(default=None, ge=1)
    """Keep only the first layers of the trunk; None keeps all."""
    prompts: Literal["all", "unsafe", "other"] = "all"
    """Which verdicts train: all, those on prompts tagged unsafe, or the others. A safety and a helpfulness reward
    model are two stages (LLaMA-2, section 3.2.2); its mixtures are made before, by the stage `mix`."""
    held_out: int = Field(default=50, ge=0)
    """Verdicts kept from training to measure on; a ranking goes with all of its pairs."""


LLAMA_2 = RewardSettings(
    model=ModelSettings(lora_rank=0), learning_rate=1e-5, batch_size=512, warmup_steps=5, warmup_fraction=0.03
)
PRESETS = {
    "llama-2-helpfulness": LLAMA_2,
    "llama-2-safety": LLAMA_2.model_copy(update={"safety_coef": 1.0}),
    "instructgpt": RewardSettings(
        model=ModelSettings(lora_rank=0),
        optimizer=OptimizerSettings(weight_decay=0.0),
        learning_rate=9e-6,
        batch_size=64,
        margins="none",
    ),
}
"""The papers' numbers, for full weights (arXiv:2307.09288, section 3.2.2; arXiv:2203.02155, appendix C.2). Both take
one epoch and a cosine to 10%. LLaMA-2's model of 70B took 5e-6; the weight of its safety loss is not published."""


def train_reward(run: Run) -> dict[str, Any]:
    """Stage: `model`, `preferences` and/or `rankings` (files) -> model/, accuracy.json.

    With `samples` (comparisons), scores are shifted and scaled to mean 0 and standard deviation 1 on those completions
    of the policy; with `demonstrations` (conversations) instead, shifted to mean 0 on those.
    """
    s: RewardSettings = run.settings
    if "samples" in run.inputs and "demonstrations" in run.inputs:
        raise ValueError("samples and demonstrations are two scales for the scores; give one of them")
    reward = RewardModel.create(
        run.inputs["model"],
        s.model,
        s.optimizer,
        num_layers=s.num_layers,
        seed=derived_seed(s.seed, "head"),
        chat_format=s.chat_format,
    )
    everything = read_verdicts(run.inputs)
    verdicts = [v for v in everything if concerns(v, s.prompts)]
    if not verdicts:
        raise ValueError(
            f"none of {len(everything)} preferences is for a reward model with prompts={s.prompts}: tag the dangerous "
            f"ones `{UNSAFE}`, or train one reward model for all (in a recipe, round.two_reward_models=false)"
        )
    limit = row_limit(s.max_tokens, reward.model.config.max_position_embeddings)
    lengths = Lengths("preferences", s.too_long, limit)
    judged = judged_rows(reward.chat, verdicts, lengths)
    too_long = lengths.finish(run, len(verdicts))
    train, held_out = split(judged, s.held_out, s.seed)
    if s.safety_coef:
        check_labels(train)

    steps = batches(len(train), s.batch_size, s.epochs, s.seed)
    reward.compile_for(sum(len(row.ids) for step in steps for i in step for row in train[i].rows))
    start = run.resume(reward.load_state)
    with run.progress("steps", len(steps), start) as tick:
        for step in range(start, len(steps)):
            batch = [train[i] for i in steps[step]]
            loss = partial(verdict_loss, step=Step.of(batch, s.margins), safety_coef=s.safety_coef)
            metrics = reward.forward_backward([j.rows for j in batch], loss)
            rate = s.learning_rate_at(step, len(steps))
            norm = reward.step(rate, metrics["count"])
            run.log(step + 1, **metrics, learning_rate=rate, gradient_norm=norm)
            if (step + 1) % s.checkpoint_every == 0:
                run.checkpoint(step + 1, reward.save_state)
            tick(1)

    results: dict[str, Any] = {
        "num_train": len(train),
        "num_held_out": len(held_out),
        "num_train_pairs": sum(len(j.pairs) for j in train),
        "num_held_out_pairs": sum(len(j.pairs) for j in held_out),
        "warnings": warnings(run, s),
    }
    results |= too_long
    if held_out:
        results |= describe(reward, train, held_out)
        fitted = results["calibration"]["temperature"]
        reward.temperature = fitted["value"] if fitted else 1.0
    results |= bring_to_scale(run, reward, limit)
    write_json(run.path / "accuracy.json", results)
    reward.save(run.path / "model", model_card(run, "Reward model", results))
    return results


def warnings(run: Run, s: RewardSettings) -> list[str]:
    """What the papers advise against, also said on stderr."""
    found = []
    if s.epochs > 1:
        found.append(
            f"epochs = {s.epochs:g}: LLaMA-2 and InstructGPT saw reward models overfit after one; compare "
            "train_accuracy with accuracy"
        )
    for text in found:
        print(f"{run.label}: WARNING: {text}", file=sys.stderr, flush=True)
    return found


def bring_to_scale(run: Run, reward: RewardModel, limit: Limit) -> dict[str, Any]:
    """Give the scores the scale that the inputs ask for. Returns which it is, and what was too long to tell it by."""
    s: RewardSettings = run.settings
    name = next((name for name in ("samples", "demonstrations") if name in run.inputs), None)
    if name is None:
        return {"scale": "as trained"}
    lengths = Lengths(name, s.too_long, limit)
    asked: list[tuple[str, Messages, tuple[str, ...]]]
    if name == "samples":
        comparisons = [c for file in input_files(run.inputs[name]) for c in read_records(file, Comparison)]
        comparisons = [c for c in comparisons if concerns(c, s.prompts)] or comparisons
        asked = [(f"sample {c.id} ({c.source})", c.prompt, (c.first, c.second)) for c in comparisons]
    else:
        written = [c for file in input_files(run.inputs[name]) for c in read_records(file, Conversation)]
        written = [c for c in written if concerns(c, s.prompts)] or written
        asked = [(f"demonstration {c.id} ({c.source})", c.messages[:-1], (c.messages[-1].content,)) for c in written]
    made = [completion_rows(reward.chat, prompt, texts, what, lengths) for what, prompt, texts in asked]
    counts = {f"{name}_{what}": n for what, n in lengths.finish(run, len(asked)).items()}
    rows: Sequence[Row] = [row for found in made if found for row in found[1]]
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} answers in {name}: a scale for the scores wants at least two")
    if name == "samples":
        reward.standardise_on(reward.score(rows))
        return {"scale": f"mean 0 and standard deviation 1 on {len(rows)} samples"} | counts
    reward.shift_to(reward.score(rows))
    return {"scale": f"mean 0 on {len(rows)} demonstrations"} | counts
