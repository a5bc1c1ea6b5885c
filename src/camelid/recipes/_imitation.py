"""What recipes of imitation share: rows kept from training, the same measurements of every version, the report.

After every step: nats a token of held-out answers, by turn, and a benchmark of facts. The first falls where the teacher
is imitated well; the second tells whether anything was learnt but the manner (Gudibande et al. 2023, arXiv:2305.15717).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.evaluate.report.stage import ReportSettings, write_run_report
from camelid.evaluate.tasks.stage import TaskSettings, evaluate_task
from camelid.evaluate.turn_nll import TurnSettings, turn_nll
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.runs import Input, Output, Stage, reseeded
from camelid.train.sft import SftSettings, train_sft

TOKENS = 2048
"""Token budget of a micro-batch on two cores."""
TRAINER: dict[str, Any] = {
    "model": ModelSettings(lora_rank=0),
    "optimizer": OptimizerSettings(beta2=0.999, eps=1e-8, weight_decay=0.0),
    "final_fraction": 0.0,
    "too_long": "cut",
}
"""Full weights as transformers' Trainer sets its AdamW: Alpaca's and Vicuna's, and whoever began with their scripts."""
SMALL: dict[str, Any] = {
    "model": ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
    "learning_rate": 5e-4,
    "batch_size": 8,
    "epochs": 1.0,
    "warmup_steps": 2,
    "warmup_fraction": 0.0,
    "max_tokens": 512,
}
"""SmolLM2 on two cores: adapters on the upper half, hundreds of rows, once."""


FEW_FACTS = TaskSettings(task="arc_easy", limit=100)
FEW_HELD_OUT = HoldOutSettings(held_out=60)
"""What versions are measured on in minutes."""


class Imitation(BaseModel):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Seed of the whole run."""
    start_model: str = "smollm2-135m"
    """The model to begin with: a known name, a local folder, a Hugging Face id."""
    folder: Path = Path(os.environ.get("CAMELID_DATA", "data"))
    """Where relative paths of files are looked up: the environment variable CAMELID_DATA, or `data`."""
    held_out: HoldOutSettings = HoldOutSettings()
    """Rows kept from training to measure on."""
    sft: SftSettings = SftSettings()
    """Imitation."""
    turns: TurnSettings = TurnSettings()
    """Likelihood of the held-out rows; their chat format is that of `sft`."""
    facts: TaskSettings = TaskSettings(task="arc_easy")
    """A benchmark of facts."""
    benchmark: Path = Path("benchmarks/arc_easy.jsonl")
    """Its file."""

    def at(self, path: Path) -> Path:
        """A file of the recipe's settings."""
        return self.folder / path


class Steps:
    """The stages of a recipe as they are added, and its versions as they are measured."""

    def __init__(self, s: Imitation) -> None:
        self.s, self.start = s, resolve_model(s.start_model)
        self.stages: list[Stage] = []
        self._unseen: Output | None = None
        self._first: Output | None = None

    def add(self, name: str, function: Any, settings: Any, **inputs: Input | Sequence[Input]) -> str:
        """A stage. Returns its name."""
        self.stages.append(Stage(name, function, settings, inputs))
        return name

    def hold_out(self, rows: Input) -> Output:
        """What trains of `rows`; what does not is what every version is measured on."""
        split = self.add("data/held-out", hold_out, self.s.held_out, conversations=rows)
        self._unseen = Output(split, "reference.jsonl")
        self.measure("start", self.start)
        return Output(split, "train.jsonl")

    def imitate(
        self, name: str, settings: SftSettings, *rows: Input, model: Input | None = None, **inputs: Input
    ) -> Output:
        """A version fine-tuned on `rows`, from the start or from `model`, and measured."""
        self.add(name, train_sft, settings, model=model or self.start, demonstrations=list(rows), **inputs)
        self.measure(name, Output(name, "model"))
        return Output(name, "model")

    def measure(self, name: str, model: Input) -> None:
        """Likelihood of what was held out, beside the start's, and facts."""
        if self._unseen is None:
            raise ValueError(f"{name} cannot be measured yet: nothing was held out")
        s = self.s
        turns = s.turns.model_copy(update={"chat_format": s.sft.chat_format})
        before: dict[str, Input] = {} if self._first is None else {"before": self._first}
        self.add(f"measure-{name}/answers", turn_nll, turns, model=model, demonstrations=self._unseen, **before)
        self._first = self._first or Output(f"measure-{name}/answers", "")
        self.add(f"measure-{name}/facts", evaluate_task, s.facts, model=model, data=s.at(s.benchmark))

    def finish(self, title: str) -> list[Stage]:
        """All stages, the report last."""
        everything = [Output(stage.name, "") for stage in self.stages]
        self.add("report", write_run_report, ReportSettings(title=title), stages=everything)
        return reseeded(self.stages, self.s.seed)


def small(settings: SftSettings, **changes: Any) -> SftSettings:
    """Fine-tuning at the size of `SMALL`, in the manner of `settings`."""
    return SftSettings(**(settings.model_dump() | {"optimizer": OptimizerSettings()} | SMALL | changes))
