"""What all studies share: a list of stages that grows, cells by name and seed, and the stage that concludes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from camelid.evaluate.studies.conclude import ConcludeSettings, conclude
from camelid.evaluate.studies.readings import Cell
from camelid.runs import Input, Output, Stage

CHAT = "chatml"
TOKENS = 2048
"""Token budget of a micro-batch on two cores."""


class StudySettings(BaseModel):
    """Settings that every study has."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    folder: Path = Path(os.environ.get("CAMELID_DATA", "data"))
    """Folder of the data: the environment variable CAMELID_DATA, or `data`."""
    start_model: str = "smollm2-135m"
    """The model to begin with: a known name, a local folder, a Hugging Face id."""
    seeds: int = Field(default=3, ge=1)
    """Runs of each arm that differ in their seed."""


class Cells:
    """The stages of a study as they are added."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.cells: list[Cell] = []
        self.results: list[Input] = []

    def add(self, name: str, function: Any, settings: Any, **inputs: Input | Sequence[Input]) -> str:
        """A stage, unless there is one of this name already. Returns the name."""
        if all(stage.name != name for stage in self.stages):
            self.stages.append(Stage(name, function, settings, inputs))
        return name

    def measured(self, arm: str, seed: int, stage: str, file: str = "results.json") -> None:
        """A cell's numbers are in this file of this stage."""
        self.cells.append(Cell(name=arm, seed=seed))
        self.results.append(Output(stage, file))

    def measured_by(self, arm: str, seed: int, **stages: str) -> None:
        """A cell's numbers are in results.json of several stages, whose names here begin the measures' paths."""
        self.cells.append(Cell(name=arm, seed=seed, parts=tuple(stages)))
        self.results += [Output(stage, "results.json") for stage in stages.values()]

    def conclude(self, **settings: Any) -> list[Stage]:
        """All stages, the conclusion last."""
        made = ConcludeSettings(cells=tuple(self.cells), **settings)
        self.stages.append(Stage("study", conclude, made, {"results": self.results}))
        return self.stages
