"""Figures from which costs are told, each with what it was measured on."""

from __future__ import annotations

import math
from typing import NamedTuple

from camelid.models.shape import Shape

FULLEST = 1.5
"""The fullest step over the mean one: a short last batch joins the one before (`train.common.batches`), and some draws
are longer. Rows are known by their mean length alone."""
MODEL_SECONDS = 2.0
"""Loading a model of 135M parameters, or saving one and taking its checksum; for a larger one in proportion."""
MEASURED_PARAMETERS = 135e6
CHECKPOINT_BYTES_A_SECOND = 0.28e9
"""Weights that train and their moments, written, forced to the disk and read again for their digests: 1.6 GB of
SmolLM2's full weights took 5.7 s (n = 1). Disks differ."""
FRESH_SECONDS_A_BYTE = 2.2e-9
"""The first optimizer step makes moments and touches their memory: 3.4 s more than others, for 1.6 GB with the
gradients (n = 1, on a virtual machine, where fresh memory is dear)."""

USABLE = 0.9
"""Share of the free memory that activations may fill before layers are computed again (`models.recomputing`)."""
SCORED_LOGIT_BYTES = 12
"""A logit's float32 and two copies of it, while a softmax is taken."""
DISTILLED_LOGIT_BYTES = 32
"""Teacher and student: logits, log-probabilities, probabilities, the gradient, in float32, and two in the products'
format."""


STAGE_WITHIN, WHOLE_WITHIN = 1.6, 1.3
"""How far time is off, as a factor. Of a quickstart's 19 stages of more than ten seconds, on two cores of which
another program had one, 18 were within 1.6 at a probe of 396 GFLOP/s, 16 within 1.3; the last, best of K whose answers
ended early, was off by 2.0. The whole of it was off by 1.01, that of another one, which took 769 s, by 1.22."""

MEMORY_WITHIN = 1.4
"""How far a stage's peak was above its estimate: 12 stages of a short quickstart in one process took 0.95 to 1.40
times what is said here (SFT 1.0, pairs 1.0, evaluations 1.1 to 1.2, best of K and PPO 1.3, a reward model after many
steps 1.4), with a sampler that still copied its cache when rows had ended, 0.3 GB of 2.3 there."""


class Drawing(NamedTuple):
    """What of a `Sampling` costs depend on, for those that have none without torch."""

    max_new_tokens: int
    batch_rows: int


def file_seconds(shape: Shape) -> float:
    return MODEL_SECONDS * max(1.0, shape.parameters / MEASURED_PARAMETERS)


def larger(a: float, b: float) -> float:
    """The maximum; NaN where either is not known, which `max` may pass over."""
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)
