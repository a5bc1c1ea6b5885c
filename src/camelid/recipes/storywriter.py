"""A longer context: rotary positions scaled, the model trained on in long documents, likelihood beyond the old context.

Measured on held-out documents, by position: the start model as it is (the floor), the same with scaled positions before
any training, and after it. The beginning of each window stands again at its end,
beyond the old context: a model that sees so far back recalls it. What the start model recalls within its context, over
half of its length, is measured too: more than that nobody can expect beyond.

    camelid run storywriter --set files.documents=books.jsonl --set start_model=path/to/model

Departures from MPT-7B-StoryWriter-65k+ (MosaicML 2023), after which it is named:
- Rotary positions scaled by YaRN (Peng et al. 2023, arXiv:2309.00071), and not ALiBi, which needs no scaling. Models
  with ALiBi are refused: transformers computes it outside of the attention that camelid can plug, so rows would see
  each other. Most open models today have rotary positions.
- Any start model, any long documents (JSON Lines with `text`) instead of the fiction of books3.
The settings want a GPU; `storywriter-tiny` runs on two cores.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from camelid.collect.split_documents import SplitDocumentsSettings, split_documents
from camelid.evaluate.long_context import PositionSettings, measure_positions
from camelid.evaluate.long_context_compare import CompareSettings, compare_positions
from camelid.evaluate.report.stage import ReportSettings, write_run_report
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.rope import RopeScaling
from camelid.runs import Input, Output, Stage, reseeded
from camelid.train.uptrain import UptrainSettings, uptrain


class Files(BaseModel):
    """Where the documents come from; relative paths are looked up in `folder`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    folder: Path = Path(os.environ.get("CAMELID_DATA", "data"))
    """Folder of the data: the environment variable CAMELID_DATA, or `data`."""
    documents: list[Path] = [Path("pretraining/c4_demo.jsonl")]
    """Long documents, JSON Lines with `text`."""


class Storywriter(BaseModel):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Seed of the whole run."""
    start_model: str = "smollm2-135m"
    """The model to begin with."""
    files: Files = Files()
    """Files."""
    rope_scaling: RopeScaling = RopeScaling(type="yarn", factor=8)
    """How the context grows."""
    split: SplitDocumentsSettings = SplitDocumentsSettings()
    """Documents kept from training."""
    separator: str = "<|endoftext|>"
    """The token between joined documents; empty takes the tokenizer's end of sequence."""
    train_window_tokens: int = Field(default=0, ge=0)
    """Windows trained on; 0 for the whole new context."""
    beyond_tokens: int = Field(default=0, ge=0)
    """How far beyond the old context is measured; 0 for all of the new one."""
    train: UptrainSettings = UptrainSettings(
        model=ModelSettings(lora_rank=0, micro_batch_tokens=2048), layout="joined", batch_size=4
    )
    """Training on documents; its window, separator and scaling are those above."""
    measure: PositionSettings = PositionSettings(repeat_tokens=256)
    """The measurement; window, separator and scaling are those above, the edge is the old context if none is set."""


def stages(s: Storywriter) -> list[Stage]:
    """The recipe's stages, in order."""
    start = resolve_model(s.start_model)
    old = json.loads((start / "config.json").read_text())["max_position_embeddings"]
    new = round(old * s.rope_scaling.factor)
    measured = {
        "window_tokens": min(old + (s.beyond_tokens or new), new),
        "edges": s.measure.edges or (old,),
        "separator": s.separator,
    }
    trained = {
        "window_tokens": s.train_window_tokens or new,
        "rope_scaling": s.rope_scaling,
        "separator": s.separator,
    }
    by_position = s.measure.model_copy(update=measured)
    files = [s.files.folder / file for file in s.files.documents]
    result = [Stage("data/documents", split_documents, s.split, {"documents": files})]
    documents, held_out = (Output("data/documents", f"{part}.jsonl") for part in ("train", "held-out"))

    def measure(name: str, model: Input, settings: PositionSettings) -> Output:
        result.append(Stage(f"measure-{name}", measure_positions, settings, {"model": model, "documents": held_out}))
        return Output(f"measure-{name}", "windows.jsonl")

    # Whether so small a model recalls anything over thousands of tokens shows where no position is new to it.
    within = by_position.model_copy(update={"window_tokens": old // 2, "edges": ()})
    measure("within", start, within)
    scaled = by_position.model_copy(update={"rope_scaling": s.rope_scaling})
    windows = [measure("start", start, by_position), measure("scaled", start, scaled)]
    training = s.train.model_copy(update=trained)
    result.append(Stage("uptrain", uptrain, training, {"model": start, "documents": documents}))
    windows.append(measure("trained", Output("uptrain", "model"), by_position))
    names = CompareSettings(names=("start", "scaled", "trained"))
    result.append(Stage("compare", compare_positions, names, {"windows": windows}))
    everything = [Output(stage.name, "") for stage in result]
    result.append(Stage("report", write_run_report, ReportSettings(title="storywriter"), {"stages": everything}))
    return reseeded(result, s.seed)
