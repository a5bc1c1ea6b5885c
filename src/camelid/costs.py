"""What training, scoring and sampling cost: operations and memory of each, by a model's shape. Imports no torch.

Operations are counted exactly (2 a weight and token) and divided by the share of the machine's matrix speed that the
work was measured to reach. All shares were measured on 2 cores with AVX512-BF16 and SmolLM2-135M in bfloat16, where
the probe gives 430 GFLOP/s; on a GPU nobody has measured them yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from camelid.models.shape import Shape

if TYPE_CHECKING:
    from camelid.models.sampler import Sampling
    from camelid.models.trunk import ModelSettings

SCORING_SHARE = 0.5
"""A forward pass: 1,000 tokens a second of 212 MFLOP each, without the head."""
TRAINING_SHARE = 0.4
"""Forward and backward: 330 tokens a second of 524 MFLOP each (adapters on all layers, head at 6 tokens of 10)."""
SAMPLING_SHARE = 0.27
"""Decoding: 400 tokens a second of 269 MFLOP each at 240 rows, the fixed rows below counted too."""
FIXED_ROWS = 16
"""A decoding step of R rows takes as long as R + 16 rows' arithmetic: the weights are read however few rows there are.
Fitted to 0.11 s a step at 32 rows and 0.6 s at 240."""
MODEL_SECONDS = 2.0
"""Loading a model of 135M parameters, or saving one and taking its checksum."""

ACTIVATIONS = 8.5
"""Numbers kept for the backward pass, a token and layer, for each of hidden + intermediate: 1.1 GB for 1,024 tokens."""
LOGIT_ROWS = 256
"""Rows of logits alive at once outside of sampling: `functional.logprobs` works in chunks of so many."""
LOGIT_BYTES = 12
"""A logit's float32 and two copies of it, while the softmax is taken."""
PROCESS_BYTES = 1_400_000_000
"""Python, torch and transformers before any weight, 0.4 GB, and what torch's caches keep from stage to stage: in a run
of 19 stages on a CPU, peaks were 0.1 GB above the rest of the count at its beginning and 1.0 to 1.3 GB at its end."""
ADAM_BYTES = 16
"""A trained weight in float32, its gradient and AdamW's two moments."""


class Drawing(NamedTuple):
    """What of a `Sampling` costs depend on, for those that have none without torch."""

    max_new_tokens: int
    batch_rows: int


@dataclass
class Cost:
    """What a stage costs, added up part by part."""

    number_bytes: int = 0
    """Size of a number in the format of matrix products."""
    trained_tokens: float = 0.0
    sampled_tokens: float = 0.0
    scored_tokens: float = 0.0
    """Tokens that went through a model without being trained on or drawn."""
    operations: float = 0.0
    """Operations, each divided by its share: what the probe would have done in the same time."""
    seconds: float = 0.0
    """Time besides arithmetic."""
    held_bytes: float = 0.0
    """Memory that stays: weights, adapters, moments."""
    working_bytes: float = 0.0
    """The most that comes and goes on top."""
    unloaded_bytes: float = 0.0
    """The peak of what has been unloaded."""

    @property
    def memory_bytes(self) -> float:
        """The peak; 0 where no model is loaded."""
        peak = max(self.unloaded_bytes, self.held_bytes + self.working_bytes)
        return PROCESS_BYTES + peak if peak else 0.0

    def unload(self) -> None:
        """Let go of all models; others may be loaded next."""
        self.unloaded_bytes = max(self.unloaded_bytes, self.held_bytes + self.working_bytes)
        self.held_bytes = self.working_bytes = 0.0

    def load(self, shape: Shape) -> None:
        """Hold a model to sample from or to score with."""
        self._hold(shape, shape.parameters * self.number_bytes)

    def load_for_training(self, shape: Shape, model: ModelSettings) -> None:
        """Hold a model with adapters, or with rank 0 all of it in float32, and the optimizer's moments."""
        if model.lora_rank:
            adapters = shape.lora_parameters(model.lora_rank, model.lora_first_layer, model.lora_targets)
            self._hold(shape, shape.parameters * self.number_bytes + adapters * ADAM_BYTES)
        else:
            self._hold(shape, shape.parameters * ADAM_BYTES)
        self.seconds += MODEL_SECONDS  # saving what was trained

    def score(self, shape: Shape, tokens: float, *, with_head: float = 0.0, at_once: int = 1024) -> None:
        """Look at `tokens`, at `with_head` of them with the output head, in micro-batches of `at_once`."""
        self.scored_tokens += tokens
        self._forward(shape, tokens, with_head)
        self._work(self._activations(shape, at_once, layers=1) + (_logits(shape, LOGIT_ROWS) if with_head else 0))

    def train(self, shape: Shape, model: ModelSettings, tokens: float, *, with_head: float = 0.0) -> None:
        """Forward and backward over `tokens`; gradients of the activations end at the first adapted layer."""
        self.trained_tokens += tokens
        adapted = max(shape.layers - model.lora_first_layer, 0) if model.lora_rank else shape.layers
        backward = adapted / shape.layers * (1 if model.lora_rank else 2)  # full weights have gradients of their own
        trunk = 2 * shape.trunk_parameters * (1 + backward)
        head = 6 * shape.head_parameters  # its logits are computed again in the backward pass
        self.operations += (tokens * trunk + with_head * head) / TRAINING_SHARE
        logits = _logits(shape, LOGIT_ROWS) if with_head else 0
        self._work(self._activations(shape, model.micro_batch_tokens, layers=adapted) + logits)

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
        batch_rows = min(rows / calls, sampling.batch_rows)
        self.sampled_tokens += rows * steps
        self._forward(shape, prompts * prompt_tokens, rows)
        fixed = rows / batch_rows * FIXED_ROWS
        per_token = 2 * (shape.trunk_parameters + shape.head_parameters)
        self.operations += (rows + fixed) * steps * per_token / SAMPLING_SHARE
        cache = batch_rows * (prompt_tokens + steps) * shape.cached_numbers * self.number_bytes
        self._work(cache + _logits(shape, batch_rows))

    def _forward(self, shape: Shape, tokens: float, with_head: float) -> None:
        operations = 2 * (tokens * shape.trunk_parameters + with_head * shape.head_parameters)
        self.operations += operations / SCORING_SHARE

    def _hold(self, shape: Shape, held: float) -> None:
        self.held_bytes += held
        self.seconds += MODEL_SECONDS
        self._work(shape.parameters * shape.file_bytes)  # the file is mapped while the weights are copied out of it

    def _work(self, working: float) -> None:
        self.working_bytes = max(self.working_bytes, working)

    def _activations(self, shape: Shape, tokens: float, *, layers: int) -> float:
        return ACTIVATIONS * tokens * layers * (shape.hidden + shape.intermediate) * self.number_bytes


def _logits(shape: Shape, rows: float) -> float:
    return rows * shape.vocabulary * LOGIT_BYTES
