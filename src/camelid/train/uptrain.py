"""Going on with pretraining on documents: after surgery (fewer key-value heads, a longer context) or for a field.

All tokens train. Rows are packed into micro-batches, exactly; with `layout=joined` short documents fill long windows.
The result carries a chat template, as all models here do: a base model that has none needs `chat_format`.
Left out: curricula of lengths, mixing of sources by weight, positions that skip (PoSE).

    camelid uptrain --model models/multi-query --documents texts.jsonl
    camelid uptrain --model MODEL --documents books.jsonl --set rope_scaling.type=yarn --set rope_scaling.factor=4
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from camelid.documents import read_documents
from camelid.functional.windows import Layout
from camelid.models.document_rows import document_rows
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rope import RopeScaling
from camelid.runs import Run, derived_seed
from camelid.train.common import TrainSettings, batches, input_files, model_card, split
from camelid.train.sft import loss, token_loss
from camelid.types import draw


class UptrainSettings(TrainSettings):
    """Going on with pretraining."""

    model: ModelSettings = ModelSettings(lora_rank=0)
    """How the model is held and what of it trains; the full weights, if nothing else is said."""
    rope_scaling: RopeScaling = RopeScaling()
    """A longer context, in the config of the result too."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate."""
    warmup_steps: int = Field(default=5, ge=0)
    """Steps over which the learning rate rises from 0."""
    batch_size: int = Field(default=16, ge=1)
    """Windows a step."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the windows."""
    window_tokens: int = Field(default=1024, ge=8)
    """Documents are cut into windows of so many tokens."""
    layout: Layout = "apart"
    """`apart`: a window holds one document or a part of it. `joined`: documents stand end to end and see each other."""
    separator: str = ""
    """The token between joined documents; empty takes the tokenizer's end of sequence."""
    max_windows: int = Field(default=0, ge=0)
    """Draw at most so many windows, by the seed; 0 takes all."""
    held_out: int = Field(default=0, ge=0)
    """Windows kept from training to measure the loss on, before and after."""


def uptrain(run: Run) -> dict[str, Any]:
    """Stage: `model`, `documents` (files of JSON Lines with `text`) -> model/."""
    s: UptrainSettings = run.settings
    policy = Policy.load_for_training(
        run.inputs["model"],
        s.model,
        s.optimizer,
        seed=derived_seed(s.seed, "adapters"),
        chat_format=s.chat_format,
        rope_scaling=s.rope_scaling,
    )
    context = policy.model.config.max_position_embeddings
    if s.window_tokens > context:
        raise ValueError(
            f"windows of {s.window_tokens} tokens are longer than the model's context of {context}; set rope_scaling, "
            f"or shorten window_tokens"
        )
    texts = read_documents(input_files(run.inputs["documents"]))
    everything = document_rows(policy.tokenizer, texts, s.window_tokens, s.layout, s.separator)
    rows, held_out = split(draw(everything, s.max_windows, derived_seed(s.seed, "windows")), s.held_out, s.seed)

    steps = batches(len(rows), s.batch_size, s.epochs, s.seed)
    policy.compile_for(sum(len(rows[i].ids) for step in steps for i in step))
    start = run.resume(policy.load_state)
    if start == 0 and held_out:
        run.log(0, held_out_loss=token_loss(policy, held_out))
    with run.progress("steps", len(steps), start) as tick:
        for step in range(start, len(steps)):
            metrics = policy.forward_backward([rows[i] for i in steps[step]], loss)
            rate = s.learning_rate_at(step, len(steps))
            norm = policy.step(rate, metrics["count"])
            run.log(step + 1, **metrics, learning_rate=rate, gradient_norm=norm)
            if (step + 1) % s.checkpoint_every == 0:
                run.checkpoint(step + 1, policy.save_state)
            tick(1)

    results: dict[str, Any] = {
        "num_windows": len(rows),
        "trained_tokens": sum(len(rows[i].ids) for step in steps for i in step),
        "context": context,
    }
    if held_out:
        results["held_out_loss"] = token_loss(policy, held_out)
        run.log(len(steps), held_out_loss=results["held_out_loss"])
    policy.save(run.path / "model", model_card(run, "Language model, trained on with documents", results))
    return results
