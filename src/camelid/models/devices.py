"""Machines that an estimate can be asked for: this one, measured, and others by the numbers on their makers' sheets.

Imports no torch. A device that is not here has no measured speed: its time is arithmetic over peak times a utilisation
that is stated with the answer, and `--utilisation` changes it.

    camelid estimate sft --model llama-2-7b --device h100 --set model.lora_rank=0
    camelid estimate sft --model llama-2-7b --device memory=80GB,tflops=990,bandwidth=3.35TB/s
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

UTILISATION = 0.4
"""Share of the peak that training and scoring reach: nanochat's log says 0.41 to 0.46; ours is not measured yet."""
READING = 0.6
"""Share of the memory's bandwidth at which sampling reads weights and cache; a usual figure, not measured by us."""
HERE_BYTES, CUDA_BYTES = 570_000_000, 600_000_000
"""A process without its weights. Here: Python, torch, transformers, a tokenizer of 49,152 tokens, and the products that
one stage has compiled; what was left when all was given back, after each of four stages in a process of its own: 0.54
to 0.60 GB. On a GPU: CUDA's context and its libraries' workspace, a usual figure, not measured by us."""
STAYS_BYTES = 200_000_000
"""What stages leave behind in a process here, besides: 0.73 to 0.82 GB were left after four of them (reward, SFT,
evaluation, pairs of SmolLM2), 0.58 where caches of compiled products held 16 instead of `process.CACHED_PRIMITIVES`. So
most of it is those, which are bounded. Earlier models are not among it."""
HERE_SLACK, CUDA_SLACK = 1.25, 1.1
"""What comes and goes takes so many times its size, as freed pieces do not fit the next: measured here, on a GPU the
usual figure of torch's allocator, not measured by us."""


class Rates(NamedTuple):
    """How fast a machine did each kind of work in a rehearsal."""

    operations: Mapping[str, float]
    """Operations a second: full, adapters, scoring, each with its head as in "full head", and attention."""
    passes: Mapping[str, float]
    """Besides, seconds of a pass of each, a weight that it reads: few tokens take longer than their operations."""
    step: float
    """Seconds of a decoding step, a weight of the layers, however few rows there are."""
    step_row: float
    """Besides, for each row."""
    head: float
    """Seconds of head and draw, a weight of the head and step."""
    head_row: float
    """Besides, for each row."""
    update: float = 0.0
    """Seconds of an optimizer step, a number that trains."""


@dataclass(frozen=True)
class Device:
    """What costs turn into time with, and what they must fit."""

    name: str
    on_cpu: bool
    number_bytes: int
    """Size of a number in matrix products."""
    memory_bytes: float | None
    """None where it is not known."""
    operations_per_second: float | None
    """Of matrix products in that format, peak or, here, measured."""
    bytes_per_second: float | None = None
    """None here: the rehearsal holds the reading of weights."""
    utilisation: float | None = None
    """None here: there are `rates`."""
    source: str = ""
    rates: Rates | None = field(default=None, hash=False)
    """Of this machine."""

    @property
    def process_bytes(self) -> float:
        return HERE_BYTES if self.on_cpu else CUDA_BYTES

    @property
    def slack(self) -> float:
        return HERE_SLACK if self.on_cpu else CUDA_SLACK

    def described(self) -> str:
        """What an estimate for it rests on, in a sentence."""
        known = [f"{self.memory_bytes / 1e9:,.0f} GB"] if self.memory_bytes else ["memory unknown"]
        known += [f"{self.operations_per_second / 1e12:,.0f} TFLOP/s"] if self.operations_per_second else []
        known += [f"{self.bytes_per_second / 1e9:,.0f} GB/s"] if self.bytes_per_second else []
        shares = (
            f"{self.utilisation:.0%} of the peak in training and scoring, {READING:.0%} of the bandwidth in sampling"
        )
        return (
            f"Device {self.name}: {', '.join(known)} ({self.source}). Assumed and not measured: {shares}, "
            f"{CUDA_BYTES / 1e9:.1f} GB for CUDA, {CUDA_SLACK - 1:.0%} lost by the allocator."
        )

    def in_precision(self, precision: str) -> Device:
        """With products in float32 where a stage asks for them; the peak of a GPU is then not in the table."""
        if precision != "float32" or self.on_cpu or self.number_bytes == 4:
            return self
        return replace(self, number_bytes=4, operations_per_second=None)


def _gpu(name: str, gigabytes: float, tflops: float, gigabytes_per_second: float, source: str) -> Device:
    return Device(name, False, 2, gigabytes * 1e9, tflops * 1e12, gigabytes_per_second * 1e9, UTILISATION, source)


_SHEET = "NVIDIA's data sheet; bfloat16, dense"
DEVICES = {
    device.name: device
    for device in (
        _gpu("h200", 141, 989, 4800, f"{_SHEET}, H200 SXM"),
        _gpu("h100", 80, 989, 3350, f"{_SHEET}, H100 SXM"),
        _gpu("h100-pcie", 80, 756, 2000, f"{_SHEET}, H100 PCIe"),
        _gpu("a100-80gb", 80, 312, 2039, f"{_SHEET}, A100 80GB SXM"),
        _gpu("a100-40gb", 40, 312, 1555, f"{_SHEET}, A100 40GB SXM"),
        _gpu("l40s", 48, 362, 864, f"{_SHEET}, L40S"),
        _gpu("l4", 24, 121, 300, f"{_SHEET}, L4"),
        _gpu("a10g", 24, 70, 600, "NVIDIA's data sheet, A10G as in AWS g5"),
        _gpu("rtx-4090", 24, 165, 1008, "NVIDIA's Ada architecture paper; bfloat16 summed in float32, dense"),
        _gpu("rtx-3090", 24, 71, 936, "NVIDIA's GA102 paper; bfloat16 summed in float32, dense"),
    )
}
"""Sizes as sold; a little less is free on the device itself."""

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


def find_device(text: str, utilisation: float | None = None) -> Device:
    """A device of the table, or one described as memory=80GB,tflops=990,bandwidth=3.35TB/s. Raises ValueError.

    What is left out of a description is not known: without tflops an estimate tells memory and no time.
    """
    if utilisation is not None and not 0 < utilisation <= 1:
        raise ValueError(f"a utilisation of {utilisation}: need a share of the peak, above 0 and at most 1")
    device = DEVICES.get(text.lower()) or _described(text)
    return device if utilisation is None else replace(device, utilisation=utilisation)


def _described(text: str) -> Device:
    parts = dict(part.strip().partition("=")[::2] for part in text.split(","))
    if "=" not in text:
        raise ValueError(f"no device {text!r}; there are: here, {', '.join(DEVICES)}; or memory=80GB,tflops=990")
    unknown = set(parts) - {"memory", "tflops", "bandwidth"}
    if unknown:
        raise ValueError(f"device {text}: no {min(unknown)!r}; it has memory=80GB, tflops=990, bandwidth=3.35TB/s")
    memory = _quantity(parts["memory"], text) if "memory" in parts else None
    tflops = _quantity(parts["tflops"], text) * 1e12 if "tflops" in parts else None
    bandwidth = _quantity(parts["bandwidth"], text) if "bandwidth" in parts else None
    return Device(text, False, 2, memory, tflops, bandwidth, UTILISATION, "as given; bfloat16")


def _quantity(value: str, text: str) -> float:
    """`80GB`, `3.35TB/s`, `990` as a number above 0."""
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?)(?:b(?:/s)?)?", value.strip().lower())
    try:
        number = float(match[1]) * _UNITS[match[2]] if match else 0.0
    except ValueError:
        number = 0.0
    if not number > 0:
        raise ValueError(f"device {text}: {value!r} is no amount; write 80GB, 990 or 3.35TB/s")
    return number
