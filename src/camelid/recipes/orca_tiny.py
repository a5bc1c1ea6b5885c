"""Orca on two cores: recorded answers of davinci-003 and then of GPT-4 to AlpacaEval's instructions.

Recorded answers know no system message, so that they explain no more under one; the study `orca` asks what explanations
are worth, on rationales that people wrote.

    camelid run orca-tiny
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from camelid.collect.explanations.stage import ExplanationSettings
from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.models.teacher import TeacherSettings
from camelid.recipes import orca
from camelid.recipes._imitation import FEW_FACTS, FEW_HELD_OUT, small
from camelid.recipes.orca import Orca
from camelid.runs import Stage
from camelid.train.sft import SftSettings

FOLDER = Path(os.environ.get("CAMELID_DATA", "data")) / "teachers"


def recorded(name: str, share: float = 1.0) -> ExplanationSettings:
    """A teacher whose answers were recorded."""
    teacher = TeacherSettings(replay=str(FOLDER / f"{name}.json"), terms="research only")
    return ExplanationSettings(teacher=teacher, collection="flan2021", share=share)


class OrcaTiny(Orca):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    questions: list[Path] = Field(default=[Path("teachers/text_davinci_003.json")])
    asked: ImportSettings = ImportSettings(kind="prompts", max_rows=300, max_words=60)
    explain: ExplanationSettings = recorded("text_davinci_003")
    again: ExplanationSettings = recorded("gpt4", 0.2)
    held_out: HoldOutSettings = FEW_HELD_OUT
    sft: SftSettings = small(Orca().sft)
    facts: TaskSettings = FEW_FACTS


def stages(s: OrcaTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return orca.stages(s)
