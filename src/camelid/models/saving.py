"""Models on disk as everybody expects them: config, safetensors, tokenizer, chat template, generation config, card."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from camelid.durable import naming_full_disk
from camelid.models.adapter_files import save_adapter
from camelid.models.checkpointing import save_tensors
from camelid.models.loading import public_name, weights_folder
from camelid.models.lora import merged_state


def save_language_model(
    model: Any,
    tokenizer: Any,
    folder: Path,
    *,
    card: str,
    dtype: torch.dtype,
    stop_ids: Sequence[int],
    pad_id: int,
) -> None:
    """Write a causal language model, adapters merged, loadable by `AutoModelForCausalLM.from_pretrained(folder)`.

    `stop_ids` go into the generation config: the end of turn that was trained need not be the base model's end of text.
    """
    state = merged_state(model, dtype)
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)  # stored once, under the input embedding's name
    _save(model, state, tokenizer, folder, card, dtype)
    # Not the base model's: its sampling defaults are not ours, and some that are published do not pass their own check.
    generation = GenerationConfig(bos_token_id=tokenizer.bos_token_id, eos_token_id=list(stop_ids), pad_token_id=pad_id)
    with naming_full_disk(folder):
        generation.save_pretrained(folder)


def save_reward_model(
    model: Any, tokenizer: Any, folder: Path, *, card: str, dtype: torch.dtype, pad_id: int, notes: dict[str, Any]
) -> None:
    """Write a reward model, loadable by `AutoModelForSequenceClassification.from_pretrained(folder)`, one label.

    transformers reads the score at the last token that is not padding, so padding must differ from the end of turn.
    """
    state = merged_state(model, dtype)
    config = copy.deepcopy(model.config)
    config.pad_token_id = pad_id
    config.camelid = notes
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.pad_token_id = pad_id
    _save(model, state, tokenizer, folder, card, dtype, config=config)


def save_adapter_beside(
    folder: Path, model: Any, tokenizer: Any, *, base: Path, card: str, notes: dict[str, Any] | None = None
) -> None:
    """Write the adapters into `adapter` beside a saved model's folder: `PeftModel.from_pretrained(base, adapter)`.

    The tokenizer goes with them, since the chat template that was trained with need not be the base model's.
    """
    beside = folder.with_name("adapter")
    score = getattr(model, "score", None)
    head = None if score is None else score.weight
    with naming_full_disk(beside):
        save_adapter(model, beside, base=public_name(weights_folder(base)), card=card, head=head, notes=notes or {})
        tokenizer.save_pretrained(beside)


def save_as_it_is(model: Any, tokenizer: Any, folder: Path, *, card: str) -> None:
    """Write a causal language model in the number format that it has, its configuration and tokenizer as they are."""
    state = merged_state(model, model.dtype)
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    _save(model, state, tokenizer, folder, card, model.dtype)


def _save(
    model: nn.Module,
    state: dict[str, Tensor],
    tokenizer: Any,
    folder: Path,
    card: str,
    dtype: torch.dtype,
    config: Any = None,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(config if config is not None else model.config)
    config.architectures = [type(model).__name__]
    config.dtype = dtype
    with naming_full_disk(folder):
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card)
    # Last: a folder without weights is not taken for a model.
    save_tensors(folder / "model.safetensors", state, {"format": "pt"})
