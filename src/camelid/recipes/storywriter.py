"""A longer context: rotary positions scaled, the model trained on in long documents, likelihood beyond the old context.

Measured on held-out documents, by position: the start model as it is (the floor), the same with scaled positions before
any training, and after it. The beginning of each window stands again at its end,
beyond the old context: a model that sees so far back recalls it. What the start model recalls within its context, over
half of its length, is measured too: more than that nobody can expect beyond.

    camelid run storywriter --set files.documents=books.jsonl --set start_model=path/to/model
    camelid run storywriter --set size=tiny

Departures from MPT-7B-StoryWriter-65k+ (MosaicML 2023), after which it is named:
- Rotary positions scaled by YaRN (Peng et al. 2023, arXiv:2309.00071), and not ALiBi, which needs no scaling. Models
  with ALiBi are refused: transformers computes it outside of the attention that camelid can plug, so rows would see
  each other. Most open models today have rotary positions.
- Any start model, any long documents (JSON Lines with `text`) instead of the fiction of books3.
- `tiny` reaches 2,048 tokens beyond SmolLM2's 8,192 instead of 65,536. Nothing pretends a smaller context: its windows
  really are longer. But two cores train on windows of 1,024 tokens only, at scaled positions, as a stand-in for long
  ones; and short web documents, joined, stand in for books. Where documents are short the text nearby predicts most,
  and the start model need not break down so soon: on the first window it did not in the first 768 tokens beyond, and
  YaRN before training gained nothing there (docs/log.md). Three windows give wide intervals.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, TypeVar

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

M = TypeVar("M", bound=BaseModel)


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

    size: Literal["full", "tiny"] = "full"
    """`full`: windows of the whole new context, for a GPU. `tiny`: two cores, minutes; see above for what it shows."""
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


TINY = {
    "rope_scaling": {"factor": 2},
    "train_window_tokens": 1024,
    "beyond_tokens": 2048,
    "train": {"max_windows": 24, "batch_size": 3, "checkpoint_every": 2},
    "measure": {"max_windows": 3},
}
"""What the size `tiny` changes, where it was not set by hand."""


def tiny(s: Storywriter) -> Storywriter:
    """The recipe for two cores."""
    return _where_untouched(s, Storywriter(), TINY)


def _where_untouched(settings: M, default: M, changes: dict[str, Any]) -> M:
    """`changes` made to those fields, inner ones too, that are as in `default`."""
    update = {}
    for name, value in changes.items():
        own, usual = getattr(settings, name), getattr(default, name)
        if isinstance(own, BaseModel):
            update[name] = _where_untouched(own, usual, value)
        elif own == usual:
            update[name] = value
    return settings.model_copy(update=update)


def stages(s: Storywriter) -> list[Stage]:
    """The recipe's stages, in order."""
    if s.size == "tiny":
        s = tiny(s)
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
