"""An adapter merged into its base model, on disk: what programs load that know no adapters.

camelid itself needs none of it: wherever a model's folder is asked for, an adapter's will do. Weights stay in the
format of the base model's file; the sum is taken in float32 and rounded once.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from camelid.models.adapter_config import WEIGHTS, is_adapter
from camelid.models.adapter_files import AdapterFile, merge, read_adapter
from camelid.models.compute import choose_compute
from camelid.models.pretrained import load_pretrained


class Sizes(NamedTuple):
    adapter_bytes: int
    model_bytes: int


def merge_to_folder(adapter: Path, base: Path, out: Path) -> Sizes:
    """Raises ValueError where the adapter cannot be read or does not go with `base`."""
    if not is_adapter(adapter):
        raise ValueError(f"{adapter} is no adapter folder: it has no adapter_config.json")
    given = read_adapter(adapter)
    config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    dtype = config.dtype or torch.float32
    model = _reward_model(given, base, dtype) if given.head is not None else _language_model(base, dtype)
    merge(model, given)
    out.mkdir(parents=True)
    model.save_pretrained(out)
    tokenizer: Any = AutoTokenizer.from_pretrained(
        adapter if (adapter / "tokenizer_config.json").exists() else base, trust_remote_code=False
    )
    tokenizer.save_pretrained(out)
    if given.head is None and (base / "generation_config.json").exists():
        shutil.copy(base / "generation_config.json", out)
    return Sizes((adapter / WEIGHTS).stat().st_size, sum(f.stat().st_size for f in out.glob("*.safetensors")))


def _language_model(base: Path, dtype: torch.dtype) -> Any:
    return load_pretrained(AutoModelForCausalLM, base, choose_compute("float32"), dtype)


def _reward_model(given: AdapterFile, base: Path, dtype: torch.dtype) -> Any:
    config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    config.num_labels = 1
    config.num_hidden_layers = given.notes.get("num_layers", config.num_hidden_layers)
    config.camelid = given.score_notes
    config.pad_token_id = given.notes.get("pad_id", config.pad_token_id)
    return load_pretrained(
        AutoModelForSequenceClassification,
        base,
        choose_compute("float32"),
        dtype,
        config=config,
        may_lack=["score.weight"],
    )
