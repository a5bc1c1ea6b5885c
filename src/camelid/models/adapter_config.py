"""adapter_config.json as peft writes it: what of it we read, and what we refuse rather than compute wrongly.

Only what changes the result is read. A field that peft has, or will have, and that we do not know is an error where it
is set to something; so an adapter is read rightly or not at all. Imports no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

READ = {"base_model_name_or_path", "bias", "init_lora_weights", "lora_alpha", "modules_to_save", "peft_type", "r"} | {
    "use_rslora"
}
WITHOUT_EFFECT = {
    *("arrow_config", "auto_mapping", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules"),
    *("inference_mode", "layers_pattern", "layers_to_transform", "loftq_config", "lora_dropout", "lora_ga_config"),
    *("megatron_config", "megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config"),
    *("target_modules", "task_type"),
}
"""Fields that say how the adapter was trained, or repeat what the names of its tensors say."""
CHANGES_BASE = ("corda", "lora_ga", "loftq", "olora", "pissa")
"""Ways to start an adapter that change the base model's weights as well."""
MEND = "merge it with peft (`merge_and_unload`) and give the merged model"


class AdapterConfig(NamedTuple):
    """What an adapter's tensors do not say themselves."""

    base: str
    """Name or folder of its base model; empty where it names none."""
    rank: int
    scale: float
    """B A is multiplied by this: alpha / r, or alpha / sqrt(r) in rank-stabilised LoRA (arXiv:2312.03732, eq. 4)."""
    saved: tuple[str, ...]
    """Modules that were trained as a whole and are stored beside the adapter."""


def is_adapter(folder: Path) -> bool:
    """A merged model may have kept its adapter's config; it is no adapter."""
    return (folder / CONFIG).exists() and ((folder / WEIGHTS).exists() or not (folder / "config.json").exists())


def read_config(folder: Path) -> AdapterConfig:
    """Raises ValueError, with the folder and a mend, for an adapter of a kind that we do not read."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        if not isinstance(config, dict):
            raise ValueError(f"its {CONFIG} is no JSON object")
        _check(config)
        if not (folder / WEIGHTS).exists():
            pickled = ", ".join(sorted(file.name for file in folder.glob("*.bin")))
            found = f"only {pickled}, and camelid never unpickles" if pickled else "nothing of the kind"
            raise ValueError(f"it needs {WEIGHTS} and has {found}; save it again with `safe_serialization=True`")
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (ValueError, KeyError, TypeError) as error:
        reason = f"its {CONFIG} has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{folder}: this adapter cannot be read: {reason}") from None
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    saved = tuple(config.get("modules_to_save") or ())
    return AdapterConfig(config.get("base_model_name_or_path") or "", rank, scale, saved)


def written_config(
    names: list[str], *, base: str, rank: int, scale: float, task: str, saved: list[str]
) -> dict[str, Any]:
    """The config of an adapter on the layers `names` (`model.layers.3.mlp.up_proj` ...) as peft would write it.

    Where they are the same ones in some of the layers, they are named by their last part, as people do; else in full.
    """
    leaves = sorted({name.rpartition(".")[2] for name in names})
    layers = sorted({int(name.partition(".layers.")[2].partition(".")[0]) for name in names})
    regular = len(names) == len(leaves) * len(layers)
    alpha = scale * rank
    return {
        "alpha_pattern": {},
        "auto_mapping": None,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": layers if regular else None,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "modules_to_save": saved or None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {},
        "revision": None,
        "target_modules": leaves if regular else sorted(names),
        "task_type": task,
        "use_dora": False,
        "use_rslora": False,
    }


def _check(config: Mapping[str, Any]) -> None:
    """Raise ValueError for what would change the result and is not computed here."""
    if config.get("peft_type") != "LORA":
        raise ValueError(f"peft_type is {config.get('peft_type')!r}, and camelid reads LORA only; {MEND}")
    if config.get("bias", "none") != "none":
        raise ValueError(f"bias = {config['bias']!r}: it trained biases as well, which camelid does not read; {MEND}")
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(CHANGES_BASE):
        raise ValueError(f"init_lora_weights = {start!r} changed the base model's weights at its start; {MEND}")
    if set(config.get("modules_to_save") or ()) - {"score", "classifier"}:
        raise ValueError(f"modules_to_save = {config['modules_to_save']}: whole modules were trained; {MEND}")
    if not isinstance(config["r"], int) or config["r"] < 1:
        raise ValueError(f"r = {config['r']!r}: a rank is a whole number from 1 on")
    for field, value in config.items():
        if field not in READ | WITHOUT_EFFECT and value not in (None, False, {}, []):
            raise ValueError(f"{field} = {value!r} is something that camelid does not compute; {MEND}")
