"""Longer contexts for models with rotary position embeddings: positions or frequencies stretched by a factor.

transformers' own `linear` and `yarn` are set in the model's config, and so stand in the config of what is saved. `ntk`
is a larger base, with which the library needs nothing special. Refused, with the reason: `dynamic` and `longrope`,
whose frequencies depend on the longest row beside a row, so that neither a gradient nor a cached key would be the
row's own; models that are scaled already; models with ALiBi (MPT, BLOOM), which transformers computes outside of its
attention interface, so that camelid cannot pack their rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from transformers import AutoConfig

from camelid.functional.rope import ntk_base


class RopeScaling(BaseModel):
    """How a model's context is made longer."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Literal["none", "linear", "ntk", "yarn"] = "none"
    """`linear` divides positions by the factor (Chen et al. 2023, arXiv:2306.15595); `ntk` enlarges the base, so that
    near positions keep their resolution; `yarn` does either by frequency (Peng et al. 2023, arXiv:2309.00071)."""
    factor: float = Field(default=1.0, ge=1)
    """The context grows to so many times its length."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> RopeScaling:
        if (self.type == "none") != (self.factor == 1):
            raise ValueError(
                f"type={self.type} with factor={self.factor:g} changes nothing; set a type (linear, ntk, yarn) and a "
                f"factor above 1, or neither"
            )
        return self


def scaled_config(path: Path, scaling: RopeScaling) -> Any:
    """The config of the model at `path` with a longer context. Raises ValueError where that cannot be."""
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    rope = getattr(config, "rope_parameters", None)
    if not rope or "rope_theta" not in rope:
        kind = "sets rotary embeddings by kind of layer" if rope else "has no rotary position embeddings"
        raise ValueError(
            f"{path}: {config.model_type} {kind}, so rope_scaling.type={scaling.type} does not apply; models with "
            f"ALiBi (MPT, BLOOM) cannot be trained here, for transformers does not plug their attention"
        )
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"{path} has rope_type {rope['rope_type']} already; start from a model that is not scaled")
    original = config.max_position_embeddings
    if scaling.type == "ntk":
        changes: dict[str, Any] = {"rope_theta": ntk_base(rope["rope_theta"], scaling.factor, _rotated(config, rope))}
    else:
        changes = {"rope_type": scaling.type, "factor": scaling.factor}
    if scaling.type == "yarn":
        changes["original_max_position_embeddings"] = original
    config.rope_parameters = {**rope, **changes}
    config.max_position_embeddings = round(original * scaling.factor)
    return config


def _rotated(config: Any, rope: dict[str, Any]) -> int:
    """How many numbers of a head are rotated."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(width * rope.get("partial_rotary_factor", 1.0))
