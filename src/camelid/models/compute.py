"""The one place that knows the device and the number format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from camelid.models.memory import head_rows

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Compute:
    """Where tensors live and in which format matrices are multiplied. Losses are float32 always."""

    device: torch.device
    dtype: torch.dtype

    @property
    def head_rows(self) -> int:
        """Rows of logits made at once in training."""
        return head_rows(self.device.type == "cpu")


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on its device. A GPU takes it when its turn comes: nobody waits for what is queued before."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def describe() -> dict[str, Any]:
    """Device and number of threads, for the manifest."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"device": device, "threads": torch.get_num_threads()}


def choose_compute(precision: Precision = "auto") -> Compute:
    """CUDA where there is a GPU, else the CPU; `auto` takes bfloat16 where the hardware multiplies it natively.

    Decided by what the processor has, not by a timing, so that a resumed run computes as it did before. On a CPU
    without bfloat16 instructions, float32 is faster. Measured on 2 cores with AVX512-BF16: 430 against 190 GFLOP/s.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "auto":
        return Compute(device, torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32)
    return Compute(device, getattr(torch, precision))


def _multiplies_bfloat16(device: torch.device) -> bool:
    """By its own instructions: what only emulates the format (GPUs before Ampere) is slower in it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def coarse_pays() -> bool:
    """Whether bfloat16 is the faster format here, and by so little that asking what is close in float32 again pays.

    A GPU is so many times faster in bfloat16 that a fifth of the questions asked again would cost more than all did.
    """
    best = choose_compute()
    return best.device.type == "cpu" and best.dtype == torch.bfloat16
