"""The layers of a decoder compiled by torch.compile, one at a time: the small operators between products are fused.

All layers have one code, so one compilation serves them all, and lengths are symbols, so it serves all micro-batches.
Our attention stays outside of the graphs, since the layout of a packed row is a list that differs every time; so does
sampling, whose cache grows. Whether it pays is told by how much a run computes and not by a timing: a resumed run must
compute as it did before. Left out: embedding, last norm and head, CUDA graphs.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from camelid.models import attention
from camelid.models.fused import release
from camelid.models.recomputing import Again

if TYPE_CHECKING:
    from camelid.models.model_settings import ModelSettings

BACKEND = "inductor"
COMPILED_ON = ("cuda",)
"""Where `auto` compiles. On two cores with AMX a step of 32 pairs of a reward model takes 8.2 instead of 9.5 s (medians
of 4), the first one 16 s more: below two minutes of training it costs more than it gains, and it wants a compiler."""
PAYS_FROM = 5e16
"""Operations of a run from which compiling is taken to pay on a GPU. Chosen, not measured: a minute of compilation for
an eighth of eight minutes, at 1e14 operations a second."""
MOST_GRAPHS = 64
"""Compilations of one piece of code that torch keeps, instead of 8: with and without gradients, adapters on or off,
layers with adapters or without are all of them different."""


class Compiled:
    """A layer's `forward`, compiled for packed rows; what has a cache goes by the forward that was."""

    def __init__(self, forward: Callable[..., Any]):
        self.forward = forward
        self.compiled = torch.compile(forward, dynamic=True, backend=BACKEND)

    def __call__(self, hidden: Tensor, *arguments: Any, **named: Any) -> Any:
        tree = named.get("tree")
        if named.get("cohorts") or (tree is not None and tree.leaves):  # sampling
            return self.forward(hidden, *arguments, **named)
        layout = attention.Layout(named.pop("segment_lengths", None), named.pop("tree", None))
        return self.compiled(hidden, *arguments, layout=layout, **named)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        """For a copied layer: a compiled function would still be bound to the layer that it was made from."""
        return Compiled(copy.deepcopy(self.forward, memo))


def compile_where_it_pays(model: Any, settings: ModelSettings, tokens: float) -> None:
    """Compile the layers of a model that will train on so many tokens, as the settings say: under `auto` on GPUs alone.

    Raises ValueError where it must be and cannot. Under `auto` what stands in the way is said, and nothing is compiled.
    """
    device = next(model.parameters()).device
    operations = tokens * sum(p.numel() for p in model.parameters()) * (4 if settings.lora_rank else 6)
    unasked = settings.compile == "auto" and (device.type not in COMPILED_ON or operations < PAYS_FROM)
    if settings.compile == "never" or unasked:
        return
    obstacle = why_not(device)
    if obstacle and settings.compile == "always":
        raise ValueError(f"model.compile=always, but torch.compile does not work here: {obstacle}; set it to never")
    if obstacle:
        print(f"not compiled, which costs speed and nothing else: {obstacle}", file=sys.stderr)
    else:
        compile_layers(model.base_model.layers)


@cache
def why_not(device: torch.device) -> str:
    """Empty where torch.compile works on the device, found by compiling a sum; else the first line of its complaint."""
    try:
        torch.compile(lambda x: (x.sin() + x).sum(), backend=BACKEND)(torch.ones(16, device=device))
    except Exception as error:
        # Whatever a compiler, its driver or its absence raises: a run must not end because it could be faster.
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return ""


def compile_layers(layers: Sequence[nn.Module]) -> None:
    """Compile the layers' forward passes, inside of what computes them again. Twice is once."""
    import torch._dynamo.config  # takes seconds, which only compiled runs spend

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
    attention.register(torch.compiler.disable(attention.attention))
    for layer in layers:
        release(layer)  # the compiler fuses by itself, and cannot look into what adds gradients in place
        outer: Any = layer.forward if isinstance(layer.forward, Again) else layer
        if not isinstance(outer.forward, Compiled):
            outer.forward = Compiled(outer.forward)
