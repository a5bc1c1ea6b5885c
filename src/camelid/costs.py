"""What training, scoring and sampling cost: operations and memory of each, by a model's shape. Imports no torch.

Operations are counted exactly (2 a weight and token). Here they are divided by what this machine reached of each kind
in a rehearsal (`models/rehearsal.py`). For a device that is not here they are divided by its peak times a utilisation,
and what sampling reads by its bandwidth. What is not known, such as the tokens of a file that was not given, is NaN and
makes NaN of what it is in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from camelid import cost_figures as figures
from camelid.cost_figures import Drawing, file_seconds, larger
from camelid.models.devices import READING, Device, Rates
from camelid.models.memory import LOGIT_ROWS, MOMENT_BYTES, Training, head_rows
from camelid.models.server_cost import ServerCost, server_cost
from camelid.models.shape import Shape

if TYPE_CHECKING:
    from camelid.models.model_settings import ModelSettings
    from camelid.models.sampling import Sampling
    from camelid.models.server import ServerSettings


@dataclass
class Cost:
    """What a stage costs on a device, added up part by part."""

    device: Device
    trained_tokens: float = 0.0
    sampled_tokens: float = 0.0
    scored_tokens: float = 0.0
    """Tokens that went through a model without being trained on or drawn."""
    operations: dict[str, float] = field(default_factory=dict)
    """Of each kind that `Rates` tells; those of "sampling" in layers and head together."""
    passes: dict[str, float] = field(default_factory=dict)
    """Of each kind, times the weights that a pass reads."""
    updated: float = 0.0
    """Numbers that optimizer steps change, over all steps."""
    steps: float = 0.0
    """Decoding steps, times the weights of the layers that each reads."""
    step_rows: float = 0.0
    """The rows in them, times these weights."""
    head_steps: float = 0.0
    head_rows: float = 0.0
    """The same of the head."""
    read_bytes: float = 0.0
    """Weights and cache that sampling reads."""
    seconds: float = 0.0
    """Time besides arithmetic."""
    held_bytes: float = 0.0
    """Memory that stays: weights, adapters, gradients, moments."""
    working_bytes: float = 0.0
    """The most that comes and goes on top."""
    unloaded_bytes: float = 0.0
    """The peak of what has been unloaded."""
    stays_bytes: float = 0.0
    """What earlier stages have left in the process, weights not counted."""
    recomputed: dict[str, int] = field(default_factory=dict)
    """`layers` that are computed again in the backward pass, and of how many `of`; empty where nothing trains."""
    server: ServerSettings | None = None
    """What is asked over the network; None where nothing is."""
    asked: ServerCost = field(default_factory=ServerCost)
    """What is asked of it. Its time is in no other: it is spent waiting."""

    @property
    def total_seconds(self) -> float:
        """All of it; NaN where it is not known."""
        here = self.device
        if not any(self.operations.values()):
            return self.seconds
        if here.rates is not None:
            return self.seconds + self._seconds_at(here.rates)
        if here.operations_per_second is None or here.utilisation is None:
            return math.nan
        reached = here.operations_per_second * here.utilisation
        others = sum(number for kind, number in self.operations.items() if kind != "sampling")
        reading = self.read_bytes / (READING * (here.bytes_per_second or math.nan)) if self.read_bytes else 0.0
        return self.seconds + others / reached + larger(reading, self.operations.get("sampling", 0.0) / reached)

    def _seconds_at(self, rates: Rates) -> float:
        worked = sum(number / rates.operations[kind] for kind, number in self.operations.items() if kind != "sampling")
        worked += sum(number * rates.passes.get(kind, 0.0) for kind, number in self.passes.items())
        decoded = self.steps * rates.step + self.step_rows * rates.step_row
        drawn = self.head_steps * rates.head + self.head_rows * rates.head_row
        return worked + decoded + drawn + self.updated * rates.update

    @property
    def memory_bytes(self) -> float:
        """The peak; 0 where no model is loaded, NaN where it is not known."""
        peak = larger(self.unloaded_bytes, self.held_bytes + self.working_bytes)
        return self.device.process_bytes + self.stays_bytes + peak if peak else 0.0

    def unload(self) -> None:
        """Let go of all models; others may be loaded next."""
        self.unloaded_bytes = larger(self.unloaded_bytes, self.held_bytes + self.working_bytes)
        self.held_bytes = self.working_bytes = 0.0

    def load(self, shape: Shape) -> None:
        """Hold a model to sample from or to score with."""
        self._hold(shape, shape.parameters * self.device.number_bytes)

    def load_for_training(self, shape: Shape, model: ModelSettings) -> None:
        """Hold a model with adapters, or with rank 0 all of it in float32, its gradients and moments."""
        training = self._training(shape, model)
        self._hold(shape, training.weight_bytes)
        self.held_bytes += training.optimizer_bytes + training.copied_bytes
        self.seconds += file_seconds(shape)  # saving what was trained
        if self.device.on_cpu:
            self.seconds += training.optimizer_bytes * figures.FRESH_SECONDS_A_BYTE

    def score(
        self, shape: Shape, tokens: float, *, with_head: float = 0.0, at_once: int = 1024, length: float = 256
    ) -> None:
        """Look at `tokens`, at `with_head` of them with the output head, in micro-batches of `at_once`."""
        self.scored_tokens += tokens
        self._forward(shape, tokens, with_head, tokens / at_once)
        logits = LOGIT_ROWS * shape.vocabulary * figures.SCORED_LOGIT_BYTES if with_head else 0
        layer = Training(shape, self.device.number_bytes, 1, 0, self.device.on_cpu).layer_bytes(length)
        self._work(at_once * layer + logits)

    def train(
        self,
        shape: Shape,
        model: ModelSettings,
        tokens: float,
        *,
        with_head: float = 0.0,
        length: float = 256,
        step_tokens: float = math.inf,
        logit_bytes: float = 0.0,
        checkpoint_every: float = math.inf,
    ) -> None:
        """Forward and backward over `tokens`; gradients of the activations end at the first adapted layer.

        `length`: of a segment, in tokens. `step_tokens`: those of an optimizer step, where they may be fewer than a
        micro-batch has. `logit_bytes`: of a logit, where a loss needs more than a likelihood does. `checkpoint_every`:
        so many steps.
        """
        training, room = self._training(shape, model), model.micro_batch_tokens
        at_once = min(room, figures.FULLEST * step_tokens) if step_tokens == step_tokens else room
        head = training.head_bytes(at_once) if with_head else 0.0
        if logit_bytes:  # a head that trains has its gradient summed, of the chunk, and a copy of itself besides
            whole = shape.head_parameters * (8 + self.device.number_bytes) if training.is_full else 0
            head = head_rows(training.on_cpu) * shape.vocabulary * logit_bytes + whole
        recomputed = self._recomputed(training, model, at_once, length, head)
        self._work(training.kept_bytes(at_once, length, recomputed) + head)

        self.trained_tokens += tokens
        backward = training.layers / shape.layers * (2 if training.is_full else 1)  # full: gradients of the weights too
        again = recomputed / shape.layers
        kind, steps = "full" if training.is_full else "adapters", tokens / step_tokens if step_tokens else 0.0
        passes = steps * math.ceil(step_tokens / room) if 0 < step_tokens < math.inf else tokens / room
        self._do(kind, tokens * 2 * shape.trunk_parameters * (1 + backward + again), passes * shape.trunk_parameters)
        # Its logits are computed again in the backward pass, or the gradient of its weights besides.
        head_passes = passes * shape.head_parameters if with_head else 0.0
        self._do(f"{kind} head", with_head * 6 * shape.head_parameters, head_passes)
        self.updated += training.trained * steps
        checkpoints = steps // checkpoint_every * (4 + MOMENT_BYTES) * training.trained
        self.seconds += checkpoints / figures.CHECKPOINT_BYTES_A_SECOND

    def sample(
        self,
        shape: Shape,
        sampling: Sampling | Drawing,
        prompts: float,
        prompt_tokens: float,
        *,
        copies: int = 1,
        calls: float = 1,
    ) -> None:
        """Draw `copies` completions of each prompt, all as long as they may be, over `calls` calls of the sampler."""
        rows = prompts * copies
        steps = sampling.max_new_tokens
        batch_rows = min(rows / calls, sampling.batch_rows) if rows == rows else float(sampling.batch_rows)
        self.sampled_tokens += rows * steps
        self._forward(shape, prompts * prompt_tokens, rows, rows / batch_rows)
        trunk, head, all_steps = shape.trunk_parameters, shape.head_parameters, rows / batch_rows * steps
        self._do("sampling", 2 * rows * steps * (trunk + head))
        self.steps += all_steps * trunk
        self.step_rows += rows * steps * trunk
        self.head_steps += all_steps * head
        self.head_rows += rows * steps * head
        weights = (trunk + head) * self.device.number_bytes
        cache_row = shape.cached_numbers * self.device.number_bytes
        # A prompt is there once for its rows, and read once for all of them.
        self.read_bytes += all_steps * weights
        self.read_bytes += rows * steps * (prompt_tokens / copies + steps / 2) * cache_row
        cache = batch_rows * (prompt_tokens / copies + steps) * cache_row
        self._work(cache + batch_rows * shape.vocabulary * figures.SCORED_LOGIT_BYTES)

    def ask(self, server: ServerSettings, requests: float, prompt_tokens: float, max_tokens: int) -> None:
        """Ask a server so many questions of `prompt_tokens` each, answered as long as they may be."""
        self.server = server
        self.asked += server_cost(server, requests, requests * prompt_tokens, max_tokens)

    def attend(self, shape: Shape, rows: float, length: float) -> None:
        """Causal attention of long rows: two products over half of the pairs of tokens.

        It grows with the square of the length; of rows of some hundred tokens it is left out.
        """
        self._do("attention", rows * shape.layers * 2 * length**2 * shape.heads * shape.head_width)

    def _do(self, kind: str, operations: float, weights_read: float = 0.0) -> None:
        self.operations[kind] = self.operations.get(kind, 0.0) + operations
        self.passes[kind] = self.passes.get(kind, 0.0) + weights_read

    def _training(self, shape: Shape, model: ModelSettings) -> Training:
        return Training.of(shape, model, self.device.number_bytes, on_cpu=self.device.on_cpu)

    def _recomputed(self, training: Training, model: ModelSettings, tokens: float, length: float, head: float) -> int:
        """Layers that will be computed again, as `models.recomputing` decides it."""
        number = training.layers if model.checkpointing == "always" else 0
        if model.checkpointing == "auto" and self.device.memory_bytes is not None:
            to_come = training.optimizer_bytes + training.copied_bytes
            taken = self.device.process_bytes + self.stays_bytes + self.held_bytes - to_come
            room = figures.USABLE * (self.device.memory_bytes - taken) - to_come - head
            number = training.layers_to_recompute(tokens, length, max(room, 0.0))
        self.recomputed = {"layers": number, "of": training.layers}
        return number

    def _forward(self, shape: Shape, tokens: float, with_head: float, passes: float) -> None:
        self._do("scoring", 2 * tokens * shape.trunk_parameters, passes * shape.trunk_parameters)
        head_passes = passes * shape.head_parameters if with_head else 0.0
        self._do("scoring head", 2 * with_head * shape.head_parameters, head_passes)

    def _hold(self, shape: Shape, held: float) -> None:
        self.held_bytes += held
        self.seconds += file_seconds(shape)
        if self.device.on_cpu:  # the file is mapped while the weights are copied out of it
            self.working_bytes = larger(self.working_bytes, shape.parameters * shape.file_bytes)

    def _work(self, working: float) -> None:
        self.working_bytes = larger(self.working_bytes, working * self.device.slack)
