"""KTO: the policy learns from single answers that are good or bad, weighed as prospect theory weighs gains and losses.

Takes what DPO cannot: answers without a partner, thumbs up or down. A preference gives two of them, its chosen answer
as desirable and its rejected one as undesirable. A step's reference point comes from mismatched answers (each prompt
with the answer to another) of the same step, looked at without gradients before the step: so it is one number for
all micro-batches, and costs a forward pass more. The reference is the start model, as in `dpo`.
Left out: KTO without a reference model, held-out measures on answers without a partner.

    camelid kto --model smollm2-135m --preferences rows.jsonl
    camelid kto --model smollm2-135m --desirable good.jsonl --undesirable bad.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from camelid.durable import write_json
from camelid.functional.kto import kto_loss, reference_point
from camelid.functional.pair_accuracy import wins
from camelid.models.batch import Batch, Row
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.models.too_long import Lengths, row_limit
from camelid.runs import Run, derived_seed
from camelid.train.answers import answer_rows, check_both_kinds, mismatched_rows, read_answers
from camelid.train.common import RowSettings, batches, model_card, split
from camelid.train.pairs import accuracy_beside_floors, pair_rows, read_preferences, unzipped
from camelid.train.reference import summed, summed_reference, with_reference
from camelid.types import Preference


class KtoSettings(RowSettings):
    """KTO."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate, for adapters; Ethayarajh et al. took 5e-7 for full weights (arXiv:2402.01306)."""
    batch_size: int = Field(default=32, ge=2)
    """Answers a step. The reference point is a mean over them, so not too few."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the answers."""
    beta: float = Field(default=0.1, gt=0)
    """How fast value saturates as an answer's likelihood moves away from the reference point."""
    desirable_weight: float = Field(default=1.0, ge=0)
    """Weight of desirable answers. Where they are fewer, raise it: the paper wants desirable_weight x their number
    between 1 and 4/3 of undesirable_weight x the others' number."""
    undesirable_weight: float = Field(default=1.0, ge=0)
    """Weight of undesirable answers."""
    held_out: int = Field(default=50, ge=0)
    """Preferences kept from training to measure accuracy on; answers without a partner all train."""


def train_kto(run: Run) -> dict[str, Any]:
    """Stage: `model`, `preferences` and/or `desirable`, `undesirable` (conversations) -> model/, accuracy.json."""
    s: KtoSettings = run.settings
    policy = Policy.load_for_training(
        run.inputs["model"], s.model, s.optimizer, seed=derived_seed(s.seed, "adapters"), chat_format=s.chat_format
    )
    preferences = read_preferences(run.inputs["preferences"]) if "preferences" in run.inputs else []
    train, held_out = split(preferences, s.held_out, s.seed) if preferences else ([], [])
    given = read_answers(run.inputs, train)
    lengths = Lengths("answers", s.too_long, row_limit(s.max_tokens, policy.model.config.max_position_embeddings))
    found = answer_rows(policy.chat, given, lengths)
    measured, pairs = unzipped(pair_rows(policy.chat, held_out, lengths))
    too_long = lengths.finish(run, len(given) + len(held_out))
    answers, own = [answer for answer, _ in found], [row for _, row in found]
    check_both_kinds(answers)
    others = mismatched_rows(policy.chat, answers, lengths.limit.tokens)
    seen = with_reference(run, policy, [*own, *others, *(row for pair in pairs for row in pair)])
    rows, mismatched, held_out_rows = seen[: len(own)], seen[len(own) : 2 * len(own)], seen[2 * len(own) :]

    steps = batches(len(rows), s.batch_size, s.epochs, s.seed)
    policy.compile_for(sum(len(rows[i].ids) for step in steps for i in step))
    start = run.resume(policy.load_state)
    with run.progress("steps", len(steps), start) as tick:
        for step in range(start, len(steps)):
            swapped = [mismatched[i] for i in steps[step]]
            kl = reference_point(summed(policy, swapped), summed_reference(swapped))
            loss = partial(answer_loss, s=s, desirable=[answers[i].desirable for i in steps[step]], kl=kl.item())
            metrics = by_kind(policy.forward_backward([rows[i] for i in steps[step]], loss))
            rate = s.learning_rate_at(step, len(steps))
            norm = policy.step(rate, metrics["count"])
            run.log(step + 1, **metrics, kl=kl.item(), learning_rate=rate, gradient_norm=norm)
            if (step + 1) % s.checkpoint_every == 0:
                run.checkpoint(step + 1, policy.save_state)
            tick(1)

    good = sum(answer.desirable for answer in answers)
    results: dict[str, Any] = {
        "num_desirable": good,
        "num_undesirable": len(answers) - good,
        "num_held_out": len(measured),
    } | too_long
    if measured:
        results |= accuracy(policy, held_out_rows, train, measured)
    write_json(run.path / "accuracy.json", results)
    policy.save(run.path / "model", model_card(run, "Language model after KTO", results))
    return results


def answer_loss(batch: Batch, outputs: Outputs, *, s: KtoSettings, desirable: Sequence[bool], kl: float) -> Loss:
    """The summed loss of a micro-batch; `desirable` of all answers of the step, `kl` their reference point."""
    good = torch.tensor([desirable[row] for row in batch.rows], device=outputs.logprobs.device)
    logprobs, reference = batch.row_sums(outputs.logprobs), batch.row_sums(batch.values["ref_logprobs"])
    total, count = kto_loss(
        logprobs,
        reference,
        good,
        logprobs.new_tensor(kl),
        beta=s.beta,
        desirable_weight=s.desirable_weight,
        undesirable_weight=s.undesirable_weight,
    )
    seen = {"reward": s.beta * (logprobs - reference), "logprob": logprobs, "share": torch.ones_like(logprobs)}
    logs: dict[str, Tensor] = {}
    for kind, mask in (("desirable", good), ("undesirable", ~good)):
        logs |= {f"{kind}_{name}": value.detach().where(mask, 0.0).sum() for name, value in seen.items()}
    return Loss(total, count, logs)


def by_kind(metrics: dict[str, float]) -> dict[str, float]:
    """Means over all answers made means over those of a kind; left out where a step has none of it."""
    found = dict(metrics)
    for kind in ("desirable", "undesirable"):
        share = found.pop(f"{kind}_share")
        for name in (f"{kind}_reward", f"{kind}_logprob"):
            value = found.pop(name)
            found |= {name: value / share} if share else {}
    return found


def accuracy(
    policy: Policy, rows: Sequence[Row], train: Sequence[Preference], held_out: Sequence[Preference]
) -> dict[str, Any]:
    """Accuracy of implicit rewards on the held-out pairs beside the floors, the start model's likelihood among them."""
    reference = summed_reference(rows)
    rewards: Tensor = summed(policy, rows) - reference
    likelier = wins(reference[0::2].numpy(), reference[1::2].numpy())
    return accuracy_beside_floors(
        rewards[0::2].numpy(), rewards[1::2].numpy(), train, held_out, likelier_at_start_wins=likelier
    )
