"""A second device without a second device: tensors that say they are elsewhere, and are in memory like all others.

torch lets Python stand behind its spare backend (`privateuseone`). Here it is called `elsewhere`: a tensor on it wraps
one of the CPU, every operator is taken on the wrapped ones, and what a GPU would refuse is refused: operands on two
devices, `numpy()`, operators that only CPUs have. Reading a number, which makes a GPU's host wait, is noted with its
place in our code. Left out: generators, streams and formats' errors; autocast lets everything pass as it is.

The backend cannot be taken away again, so what needs it runs in a process of its own (`on_stand_in.py`).
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import library as operators
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "elsewhere"
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive")
"""Operators whose result the host must see before it can go on."""
COPIES = ("_to_copy", "copy_", "_copy_from_and_resize")
"""Operators that may take a tensor of another device."""
ONLY_CPU = ("mkldnn", "mkl", "quantized", "onednn")
"""Namespaces of operators that are not there on a GPU."""
FACTORIES = (torch.tensor, torch.as_tensor)

waits: Counter[str] = Counter()
"""How often the host waited for the device, by operator and line of ours."""
uploads: Counter[str] = Counter()
"""How often a tensor went to the device, by line of ours."""


class Elsewhere(torch.Tensor):
    """A tensor of the device; `here` is what it wraps."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=torch.device(NAME, 0),
        )
        made.here = here
        return made

    def tolist(self) -> Any:
        waits[f"tolist {place()}"] += 1
        return self.here.tolist()

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(operator, args, kwargs or {})


def compute(operator: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Take an operator as the device would, or raise RuntimeError where it would refuse."""
    leaves = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    theirs = [x for x in leaves if isinstance(x, Elsewhere)]
    name = operator._schema.name.partition("::")
    wanted = kwargs.get("device")
    stays = bool(theirs) if wanted is None else torch.device(wanted).type == NAME
    if theirs and name[0] in ONLY_CPU:
        raise RuntimeError(f"{operator} is an operator of CPUs alone")
    _check_devices(operator, name[2], leaves, theirs, args)
    _note(name[2], leaves, theirs, stays, args)
    args, kwargs = pytree.tree_map_only(Elsewhere, lambda x: x.here, (args, kwargs))
    if wanted is not None:
        kwargs["device"] = torch.device("cpu")
    kwargs.pop("pin_memory", None)
    if name[2] == "_fused_sdp_choice":
        return 0  # the plain formula, whose operators come by here
    result = operator(*args, **kwargs)
    return pytree.tree_map_only(torch.Tensor, Elsewhere, result) if stays else result


def _check_devices(operator: Any, name: str, leaves: list[Any], theirs: list[Any], args: Any) -> None:
    if not theirs or name in COPIES:
        return
    ours = [x for x in leaves if not isinstance(x, Elsewhere)]
    if name in ("index", "index_put_", "index_put", "_index_put_impl_") and isinstance(args[0], Elsewhere):
        indices = [x for x in args[1] if x is not None]
        ours = [x for x in ours if all(x is not index for index in indices)]  # a GPU fetches them itself
    if any(x.dim() for x in ours):
        shapes = [tuple(x.shape) for x in ours]
        raise RuntimeError(f"{operator} got tensors of two devices; on the CPU are those of shapes {shapes}")


def _note(name: str, leaves: list[Any], theirs: list[Any], stays: bool, args: Any) -> None:
    """What makes the host wait, and what is sent to the device."""
    masked = name.startswith(("index", "_index")) and any(
        x is not None and x.dtype == torch.bool for x in (args[1] if isinstance(args[1], list | tuple) else ())
    )
    leaves_device = name in COPIES and theirs and (not stays or not isinstance(args[0], Elsewhere))
    if theirs and (name in WAITS or masked or leaves_device):
        waits[f"{name} {place()}"] += 1
    if stays and len(theirs) < len(leaves) and name in COPIES and leaves[-1 if name == "copy_" else 0].dim():
        uploads[place()] += 1


def place() -> str:
    """The innermost line of camelid's that is being executed."""
    for frame in reversed(traceback.extract_stack(sys._getframe(1))):
        if "/camelid/" in frame.filename:
            return f"{frame.filename.rpartition('/camelid/')[2]}:{frame.lineno}"
    return "outside"


@contextmanager
def watched() -> Iterator[tuple[Counter[str], Counter[str]]]:
    """(waits, uploads) of what is done inside."""
    before = waits.copy(), uploads.copy()
    seen: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    yield seen
    seen[0].update(waits - before[0])
    seen[1].update(uploads - before[1])


class _Sending(TorchFunctionMode):
    """`torch.tensor` makes a tensor inside torch, out of our sight: here it makes one of the CPU and sends it."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(args[0].device)
        wanted = kwargs.get("device")
        if function not in FACTORIES or wanted is None or torch.device(wanted).type != NAME:
            return function(*args, **kwargs)
        return function(*args, **{key: value for key, value in kwargs.items() if key != "device"}).to(wanted)


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


def install() -> torch.device:
    """Make the device known to torch, for the rest of this process."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    every_operator = operators.Library("_", "IMPL")  # torch's name for all namespaces at once
    every_operator.fallback(lambda operator, *args, **kwargs: compute(operator, args, kwargs), "PrivateUse1")
    _Sending().__enter__()
    _kept.append(every_operator)
    return torch.device(NAME, 0)


_kept: list[Any] = []
"""What was registered goes when its holder is collected."""
