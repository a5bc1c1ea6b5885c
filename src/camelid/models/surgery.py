"""A model opened, changed in its shape and written anew, weights in the format of their file and nothing trained.

The changes are in files of their own: `grouping.py` (fewer key-value heads), `new_tokens.py` (a larger vocabulary).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from camelid.models.compute import Compute
from camelid.models.pretrained import check_architecture, load_pretrained
from camelid.models.saving import save_as_it_is


def open_model(path: Path) -> tuple[Any, Any]:
    """A causal language model in its file's number format, and its tokenizer. Raises ValueError where it is none."""
    model = load_pretrained(AutoModelForCausalLM, path, Compute(torch.device("cpu"), torch.float32), "auto")
    check_architecture(model)
    return model.eval(), AutoTokenizer.from_pretrained(path, trust_remote_code=False)


def write_model(
    model: Any, tokenizer: Any, source: Path, folder: Path, what: str, generation: Mapping[str, Any] | None = None
) -> None:
    """Write the changed model of `source` to `folder`, whole or not at all; `what` goes into its card.

    The generation config is that of `source` with the changes in `generation`: read and written as it is, for some that
    are published do not pass transformers' check. Raises ValueError where `folder` holds something already.
    """
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    card = f"---\nlibrary_name: transformers\ntags: [camelid]\n---\n\n# {source.name}, changed\n\n{what}\n"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
        written = Path(aside) / "model"
        save_as_it_is(model, tokenizer, written, card=card)
        settings = source / "generation_config.json"
        if settings.exists():
            changed = json.loads(settings.read_text()) | dict(generation or {})
            (written / settings.name).write_text(json.dumps(changed, indent=2) + "\n")
        if folder.exists():
            folder.rmdir()  # empty, as `check_free` has seen
        written.rename(folder)


def check_free(folder: Path) -> None:
    """Raise ValueError unless `folder` can be written: absent, or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty; choose another --out")
