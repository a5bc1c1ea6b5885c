"""Tensors and plain values of a training state as safetensors and JSON: exact, checksummed by `runs`, never pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer


def save_state(folder: Path, name: str, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write `name.safetensors` and `name.json` into `folder`."""
    on_cpu = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    save_file(on_cpu, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(values))


def load_state(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_state` wrote, bit by bit."""
    return load_file(folder / f"{name}.safetensors"), json.loads((folder / f"{name}.json").read_text())


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments and step counts, named `<parameter index>.<moment>`."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, slots in state.items() for key, value in slots.items()}


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took out."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
