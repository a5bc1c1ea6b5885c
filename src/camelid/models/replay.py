"""A step whose operators a GPU is told once: a recording is launched as one, and no kernel waits for Python.

Decoding a token calls some forty operators a layer, each of which takes a processor longer to launch than a GPU to run.
What is recorded reads and writes the same memory at each replay, so it holds only as long as no tensor moves: `state`
says so. The first step of a state runs as it is, in which what is made lazily is made; the second is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from warnings import warn

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]


class Replay:
    """Runs steps of one kind, from a recording where that pays: on a GPU."""

    def __init__(self, device: torch.device):
        self.record = record if device.type == "cuda" else None
        self.state: Any = None
        self.recorded: Step | None = None

    def __call__(self, step: Step, state: Any, tokens: Tensor) -> Tensor:
        """`step(tokens)`, whose result the next call may overwrite."""
        if self.record is None or state != self.state:
            self.state, self.recorded = state, None
            return step(tokens)
        if self.recorded is None:
            try:
                self.recorded = self.record(step, tokens)
            except RuntimeError as error:
                self.record = None
                warn(
                    f"each operator of sampling is launched alone, since no step could be recorded: {error}",
                    stacklevel=2,
                )
                return step(tokens)
        return self.recorded(tokens)


def record(step: Step, tokens: Tensor) -> Step:
    """`step` as a CUDA graph. Raises RuntimeError where it waits for the GPU, which a recording cannot."""
    given, graph = tokens.clone(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(given)

    def replay(tokens: Tensor) -> Tensor:
        given.copy_(tokens)
        graph.replay()
        return found

    return replay
