"""Supervised fine-tuning: raise the likelihood of the assistant's turns in demonstrations.

The same loop trains on written demonstrations and, in rejection sampling, on the policy's own best answers. With the
input `pretraining` every step has text as well: Falcon-40B-Instruct took 5% of it, InstructGPT's start for PPO 10%.
Left out: packing over the context length (rows are packed into micro-batches, exactly).

    camelid sft --model smollm2-135m --demonstrations rows.jsonl
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from camelid.functional.sft import sft_loss
from camelid.models.batch import Batch, Row
from camelid.models.chat import ChatFormat, ChatFormatError, TrainOn, what_trains
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.models.render_many import render_many
from camelid.models.rope import RopeScaling
from camelid.models.too_long import Lengths, row_limit, without_oldest
from camelid.runs import Run, derived_seed
from camelid.train.common import RowSettings, batches, input_files, model_card, split
from camelid.train.pretraining_mix import Mix, MixSettings, mix_rows
from camelid.types import TRAIN_LAST, Conversation, read_records


class SftSettings(RowSettings):
    """Supervised fine-tuning."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate; LLaMA-2 took 2e-5 for full weights (arXiv:2307.09288, section 3.1)."""
    batch_size: int = Field(default=16, ge=1)
    """Conversations a step."""
    epochs: float = Field(default=2.0, gt=0)
    """Passes over the demonstrations; LLaMA-2 took 2."""
    train_on: TrainOn = "assistant"
    """Which tokens train: all assistant turns, only the last, or everything. Of conversations tagged `train-last` it is
    the last answer alone."""
    opening_tokens: int = Field(default=8, ge=1)
    """How many tokens count as the opening of an assistant turn."""
    opening_weight: float = Field(default=1.0, gt=0)
    """Weight of a turn's opening in the loss. Whether to help or refuse is decided there (Qi et al. 2024,
    arXiv:2406.05946), in two or three tokens of forty: above 1, that line is learnt in fewer steps."""
    opening_epochs: float = Field(default=0.0, ge=0)
    """Passes over prompts and openings alone, after those over whole conversations: two fifths of their tokens."""
    tag_weights: dict[str, NonNegativeFloat] = Field(default={})
    """Weight in the loss of conversations with a tag, such as {"refusal": 0.5}; the product where several apply. The
    line between requests is learnt from all of them, and where on that curve the model stands is moved by this."""
    residual_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of what the last layer adds to the residual stream; lower layers drop less, the first nothing. LIMA took
    0.3, and 0.2 for its smaller models (arXiv:2305.11206, section 3). Acts on training steps alone, whatever trains."""
    ptx: MixSettings = MixSettings(coef=0.05, ratio=0.05)
    """Text in every step, where the input pretraining is given: rows a demonstration, and its weight."""
    rope_scaling: RopeScaling = RopeScaling()
    """A longer context for long conversations (raise `max_tokens` too), in the config of the result as well."""
    held_out: int = Field(default=0, ge=0)
    """Demonstrations kept from training to measure the loss on, before and after."""


def train_sft(run: Run) -> dict[str, Any]:
    """Stage: `model`, `demonstrations` (files of conversations), optional `pretraining` (text) -> model/."""
    s: SftSettings = run.settings
    policy = Policy.load_for_training(
        run.inputs["model"],
        s.model,
        s.optimizer,
        seed=derived_seed(s.seed, "adapters"),
        chat_format=s.chat_format,
        rope_scaling=s.rope_scaling,
    )
    conversations = [c for file in input_files(run.inputs["demonstrations"]) for c in read_records(file, Conversation)]
    limit = row_limit(s.max_tokens, policy.model.config.max_position_embeddings)
    lengths = Lengths("demonstrations", s.too_long, limit)
    found = demonstration_rows(policy.chat, conversations, s, lengths)
    too_long = lengths.finish(run, len(conversations))
    train, held_out = split(found, s.held_out, s.seed)
    rows, held_out_rows = ([row for _, row in part] for part in (train, held_out))

    if s.residual_dropout:
        policy.add_residual_dropout(s.residual_dropout)
    openings = batches(len(rows), 2 * s.batch_size, s.opening_epochs, derived_seed(s.seed, "openings"))
    steps = [[rows[i] for i in step] for step in batches(len(rows), s.batch_size, s.epochs, s.seed)]
    steps += [[opening(rows[i], s.opening_tokens) for i in step] for step in openings]
    mix = None
    if "pretraining" in run.inputs:
        text = mix_rows(policy, list(input_files(run.inputs["pretraining"])), s.ptx)
        mix = Mix(text, s.ptx, derived_seed(s.seed, "pretraining"))
    policy.compile_for(sum(len(row.ids) for step in steps for row in step))
    start = run.resume(policy.load_state)
    if start == 0 and held_out_rows:
        run.log(0, held_out_loss=token_loss(policy, held_out_rows))
    with run.progress("steps", len(steps), start) as tick:
        for step in range(start, len(steps)):
            seeds = [derived_seed(s.seed, "residual dropout", step, place) for place in range(len(steps[step]))]
            metrics = policy.forward_backward(steps[step], loss, dropout_seeds=seeds)
            if mix:
                metrics |= mix.add_gradient(policy, step, len(steps[step]), metrics["count"])
            rate = s.learning_rate_at(step, len(steps))
            norm = policy.step(rate, metrics["count"])
            run.log(step + 1, **metrics, learning_rate=rate, gradient_norm=norm)
            if (step + 1) % s.checkpoint_every == 0:
                run.checkpoint(step + 1, policy.save_state)
            tick(1)

    results: dict[str, Any] = {
        "num_demonstrations": len(rows),
        "trained_tokens": sum(len(row.ids) for step in steps for row in step),
    } | too_long
    if s.tag_weights:
        results["tagged"] = {tag: sum(tag in c.tags for c, _ in train) for tag in s.tag_weights}
    if held_out_rows:
        results["held_out_loss"] = token_loss(policy, held_out_rows)
        run.log(len(steps), held_out_loss=results["held_out_loss"])
    policy.save(run.path / "model", model_card(run, "Fine-tuned language model", results))
    return results


def demonstration_rows(
    chat: ChatFormat, conversations: Sequence[Conversation], settings: SftSettings, lengths: Lengths
) -> list[tuple[Conversation, Row]]:
    """Tokens, loss mask and weights of those that `lengths` lets through.

    Raises ChatFormatError, with the row's id, where nothing would train.
    """
    ways = [what_trains(conversation, settings.train_on) for conversation in conversations]
    rendered = {
        way: render_many(chat, [c.messages for c, w in zip(conversations, ways, strict=True) if w == way], train_on=way)
        for way in set(ways)
    }
    rows = []
    for conversation, way in zip(conversations, ways, strict=True):
        name = f"demonstration {conversation.id} ({conversation.source})"
        try:
            row = next(rendered[way])
        except ValueError as error:
            raise type(error)(f"{name}: {error}") from error
        if len(row.ids) > lengths.limit.tokens:
            cut = partial(cut_row, chat, conversation, row, way, lengths.limit.tokens)
            fitting = lengths.too_long(name, len(row.ids), cut)
            if fitting is None:
                continue
            row = fitting
        weights = opening_weights(row.loss_mask, settings.opening_tokens, settings.opening_weight)
        weights *= math.prod(settings.tag_weights.get(tag, 1.0) for tag in conversation.tags)
        rows.append((conversation, Row(row.ids, row.loss_mask, {"weights": weights})))
    return rows


def cut_row(chat: ChatFormat, conversation: Conversation, row: Row, train_on: TrainOn, max_tokens: int) -> Row | None:
    """A conversation's row without its end; where nothing would train then, without its oldest turns before that.

    None where its last two turns alone leave nothing to train on, and where its last answer alone is tagged to train:
    that one rests on the first turn, which may say how to answer.
    """
    if np.any(row.loss_mask[:max_tokens]):
        return Row(np.array(row.ids[:max_tokens]), np.array(row.loss_mask[:max_tokens]))
    if TRAIN_LAST in conversation.tags:
        return None
    for shorter in without_oldest(conversation.messages):
        try:
            rendered = chat.render(shorter, train_on=train_on, max_tokens=max_tokens)
        except ChatFormatError:
            continue
        return Row(rendered.ids, rendered.loss_mask)
    return None


def opening(row: Row, opening_tokens: int) -> Row:
    """A row up to the opening of its first trained turn."""
    end = list(row.loss_mask).index(True) + opening_tokens
    return Row(row.ids[:end], row.loss_mask[:end], {name: value[:end] for name, value in row.values.items()})


def opening_weights(loss_mask: Sequence[bool] | NDArray[np.bool_], opening_tokens: int, weight: float) -> Tensor:
    """(T,) `weight` for the first `opening_tokens` of every run of trained tokens, 1 elsewhere."""
    trains, places = np.asarray(loss_mask, dtype=bool), np.arange(len(loss_mask))
    before = np.maximum.accumulate(np.where(trains, -1, places))  # the last place that does not train
    opens = trains & (places - before <= opening_tokens)
    return torch.from_numpy(np.where(opens, weight, 1.0).astype(np.float32))


def loss(batch: Batch, outputs: Outputs) -> Loss:
    """Weighted negative log-likelihood of the trained tokens."""
    total, count = sft_loss(outputs.logprobs, batch.loss_mask, batch.values.get("weights"))
    return Loss(total, count, {})


def token_loss(policy: Policy, rows: list[Row]) -> float:
    """Mean negative log-likelihood a trained token, in nats."""
    total = sum(float(logprobs.sum()) for logprobs in policy.logprobs(rows))
    return -total / sum(int(np.count_nonzero(row.loss_mask)) for row in rows)
