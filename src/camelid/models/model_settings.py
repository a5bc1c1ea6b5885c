"""How a model is held in memory and what of it trains."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from camelid.models.compute import Precision


class ModelSettings(BaseModel):
    """How a model is held in memory and what of it trains."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    precision: Precision = "auto"
    """Format of matrix products: float32, bfloat16, or auto (bfloat16 where the hardware has it)."""
    lora_rank: int = 16
    """Rank of the LoRA adapters; 0 trains the full weights."""
    lora_alpha: float = 32.0
    """The adapter's output is scaled by lora_alpha / lora_rank."""
    lora_first_layer: int = 0
    """Layers below this one carry no adapter, so the backward pass ends there."""
    lora_targets: str = "all"
    """Which linear layers carry adapters: all, attention, mlp, or names with commas between, such as q_proj,v_proj."""
    lora_start: Literal["new", "continue"] = "new"
    """Where the model is an adapter folder: `new` merges it and trains new adapters, `continue` trains it further, with
    its own rank, alpha and layers. In both cases the reference is the model as it was given."""
    save_adapter: bool = False
    """Leave the adapters alone as well, in peft's format: `adapter/` beside `model/`. Everything of ours reads both.
    SmolLM2-135M at rank 16: 23 MB, the tokenizer's 4 MB among them, beside the merged model's 273 MB (bfloat16)."""
    micro_batch_tokens: int = 1024
    """Token budget of one forward and backward pass; changes memory and speed, never the gradient."""
    checkpointing: Literal["auto", "never", "always"] = "auto"
    """Activation checkpointing: layers keep their inputs only and are computed again in the backward pass; `auto`: as
    many layers as the free memory asks for, by an estimate. All of them cost a third to a half more time. The gradient
    stays the same."""

    compile: Literal["auto", "never", "always"] = "auto"
    """Compile the layers with torch.compile for training: `auto` on a GPU, where the run is long enough to pay for it.
    Changes speed, and numbers by rounding alone. Sampling is never compiled."""

    @model_validator(mode="after")
    def _adapters_where_they_are_meant(self) -> ModelSettings:
        if self.lora_rank == 0 and (self.save_adapter or self.lora_start == "continue"):
            meant = "save_adapter" if self.save_adapter else "lora_start=continue"
            raise ValueError(f"lora_rank = 0 trains the full weights: there is no adapter for {meant}")
        return self
