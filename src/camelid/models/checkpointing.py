"""Tensors and plain values of a training state as safetensors and JSON: exact, checksummed by `runs`, never pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from camelid.durable import whole


def save_state(folder: Path, name: str, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write `name.safetensors` and `name.json` into `folder`."""
    save_tensors(folder / f"{name}.safetensors", tensors)
    (folder / f"{name}.json").write_text(json.dumps(values))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all. Raises DiskFullError, before the first byte where it can."""
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path, sum(tensor.nbytes for tensor in here.values())) as aside:
        save_file(here, aside, metadata)


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
