"""Figures from which costs are told, each with what it was measured on."""

from __future__ import annotations

import math
from typing import NamedTuple

from camelid.models.shape import Shape

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
"""Loading a model of 135M parameters, or saving one and taking its checksum; for a larger one in proportion."""
MEASURED_PARAMETERS = 135e6

USABLE = 0.9
"""Share of the free memory that activations may fill before layers are computed again (`models.recomputing`)."""
SCORED_LOGIT_BYTES = 12
"""A logit's float32 and two copies of it, while a softmax is taken."""
DISTILLED_LOGIT_BYTES = 32
"""Teacher and student: logits, log-probabilities, probabilities, the gradient, in float32, and two in the products'
format."""


class Drawing(NamedTuple):
    """What of a `Sampling` costs depend on, for those that have none without torch."""

    max_new_tokens: int
    batch_rows: int


def file_seconds(shape: Shape) -> float:
    return MODEL_SECONDS * max(1.0, shape.parameters / MEASURED_PARAMETERS)


def larger(a: float, b: float) -> float:
    """The maximum; NaN where either is not known, which `max` may pass over."""
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)
