"""Rows as points: by their words, or by a model's hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from camelid.functional.text_space import leading_directions, text_space
from camelid.runs import Run, Settings, derived_seed


class PointSettings(BaseModel):
    """How rows become points; by their words, unless the stage has the input `model`."""

    model_config = Settings.model_config

    dimensions: int = Field(default=50, ge=2)
    """Leading directions of the words' TF-IDF."""
    num_layers: int = Field(default=15, ge=1)
    """With a model: hidden states after so many layers, a text's mean and its last token."""
    max_tokens: int = Field(default=256, ge=8)
    """With a model: texts are cut after so many tokens."""


def points_of(run: Run, texts: Sequence[str], s: PointSettings) -> NDArray[np.float64]:
    """(N, d) points of length 1, or 0 for a text of no word that others have."""
    if "model" in run.inputs:
        from camelid.models.features import FrozenFeatures  # torch; words need none

        features = FrozenFeatures.load(run.inputs["model"], s.num_layers, max_tokens=s.max_tokens)
        with run.progress("rows", len(texts)) as tick:
            found: Any = features.of([text or " " for text in texts], tick).astype(np.float64)
        found = found - found.mean(0)  # hidden states share a large common part
    else:
        found = leading_directions(text_space(texts), s.dimensions, derived_seed(run.settings.seed, "directions"))
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(norms < 1e-12, 1, norms)
