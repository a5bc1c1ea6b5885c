"""A rule model from judgements: does an answer break a rule? Loss per judgement, AUC by rule beside honest floors.

`conditional=false` trains the general classifier, which reads no rule, on the same judgements: with the other's
held_out.jsonl as `other_scores` it says by how much they differ. Two models of `part=first` and `part=second` share no
prompt, so that one may judge what the other has reranked. Left out: rules of several turns, evidence.

    camelid rules --model smollm2-135m --judgements judgements.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from camelid.durable import write_json, write_json_lines
from camelid.functional.rules import violation_loss
from camelid.models.outputs import Loss
from camelid.models.reward_model import RewardModel
from camelid.models.rule_model import RuleModel
from camelid.models.rule_notes import RuleNotes
from camelid.models.too_long import Lengths, row_limit
from camelid.rules import OUR_RULES, choose_rules, read_judgements, read_rules
from camelid.runs import Run, derived_seed
from camelid.train.common import RowSettings, batches, input_files, model_card
from camelid.train.rule_rows import (
    Part,
    area_beside_floors,
    difference_beside,
    few_examples,
    in_part,
    judged_rows,
    split_by_prompt,
)
from camelid.types import RuleJudgement, prompt_name


class RulesSettings(RowSettings):
    """Rule model."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate."""
    batch_size: int = Field(default=16, ge=1)
    """Judgements a step."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the judgements."""
    conditional: bool = True
    """Read the rule with the dialogue; false trains the general classifier, which reads the dialogue alone."""
    num_layers: int | None = Field(default=None, ge=1)
    """Keep only the first layers of the trunk; None keeps all."""
    part: Part = "all"
    """Which half of all prompts is used: all of them, or the first or second half, which have no prompt in common."""
    held_out: int = Field(default=50, ge=0)
    """Prompts kept from training, with all judgements on them, to measure on."""
    examples_per_rule: int | None = Field(default=None, ge=0)
    """Train on at most so many judgements of each rule in `few_shot_rules`; None for all."""
    few_shot_rules: tuple[str, ...] = ()
    """The rules that `examples_per_rule` is about, by id; none named: every rule."""


def train_rules(run: Run) -> dict[str, Any]:
    """Stage: `model`, `judgements` (files), optional `rules`, `other_scores` -> model/, auc.json, held_out.jsonl.

    `rules` are ours where no file is given. `other_scores`: another rule model's held_out.jsonl on the same judgements.
    """
    s: RulesSettings = run.settings
    rules = read_rules(run.inputs.get("rules", OUR_RULES))
    choose_rules(rules.values(), s.few_shot_rules)
    everything = read_judgements(input_files(run.inputs["judgements"]), rules)
    parts = split_by_prompt([j for j in everything if in_part(j, s.part)], s.held_out, s.seed)
    chosen = few_examples(parts.train, s.examples_per_rule, s.few_shot_rules, s.seed)
    if not chosen:
        raise ValueError("no judgement is left to train on: raise examples_per_rule, or name fewer few_shot_rules")
    learnt = {j.rule: rules[j.rule] for j in chosen}
    reward = RewardModel.create(
        run.inputs["model"],
        s.model,
        s.optimizer,
        num_layers=s.num_layers,
        seed=derived_seed(s.seed, "head"),
        chat_format=s.chat_format,
    )
    names = tuple(sorted({prompt_name(j.prompt) for j in chosen}))
    model = RuleModel(reward, RuleNotes(conditional=s.conditional, rules=tuple(learnt.values()), prompts=names))
    lengths = Lengths("judgements", s.too_long, row_limit(s.max_tokens, model.context))
    train = judged_rows(model, chosen, rules, lengths)
    held_out = judged_rows(model, parts.held_out, rules, lengths)
    too_long = lengths.finish(run, len(chosen) + len(parts.held_out))
    violated = torch.tensor([j.violated for j, _ in train])

    steps = batches(len(train), s.batch_size, s.epochs, s.seed)
    reward.compile_for(sum(len(train[i][1].ids) for step in steps for i in step))
    start = run.resume(reward.load_state)
    with run.progress("steps", len(steps), start) as tick:
        for step in range(start, len(steps)):
            labels = violated[steps[step]]

            def loss(logits: Tensor, which: Tensor, labels: Tensor = labels) -> Loss:
                return Loss(*violation_loss(logits, labels[which]), {})

            metrics = reward.forward_backward([[train[i][1]] for i in steps[step]], loss)
            rate = s.learning_rate_at(step, len(steps))
            norm = reward.step(rate, metrics["count"])
            run.log(step + 1, **metrics, learning_rate=rate, gradient_norm=norm)
            if (step + 1) % s.checkpoint_every == 0:
                run.checkpoint(step + 1, reward.save_state)
            tick(1)

    results: dict[str, Any] = {"num_train": len(train), "num_held_out": len(held_out)} | too_long
    results["num_proxies"] = sum(bool(j.proxy) for j, _ in train)
    if held_out:
        judged, rows = [j for j, _ in held_out], [row for _, row in held_out]
        scores = reward.score(rows).tolist()
        results |= area_beside_floors(scores, [j for j, _ in train], judged)
        write_scores(run.path / "held_out.jsonl", judged, scores)
        if "other_scores" in run.inputs:
            results["difference"] = difference_beside(scores, read_scores(run.inputs["other_scores"], judged), judged)
    write_json(run.path / "auc.json", results)
    model.save(run.path / "model", model_card(run, "Rule model", results))
    return results


def write_scores(path: Path, judged: Sequence[RuleJudgement], scores: Sequence[float]) -> None:
    """Logits of judgements, a line each."""
    rows = zip(judged, scores, strict=True)
    write_json_lines(path, ({"judgement": j.id, "rule": j.rule, "violated": j.violated, "logit": z} for j, z in rows))


def read_scores(path: Path, judged: Sequence[RuleJudgement]) -> list[float]:
    """What another rule model wrote of the same judgements. Raises ValueError where they are not the same."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if [(row["judgement"], row["rule"]) for row in rows] != [(j.id, j.rule) for j in judged]:
        raise ValueError(
            f"{path} has the scores of {len(rows)} judgements that are not the {len(judged)} held out here: train both "
            f"rule models on the same files with the same seed, part, held_out, max_tokens and too_long"
        )
    return [float(row["logit"]) for row in rows]
