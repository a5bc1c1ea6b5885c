"""Baize on two cores: Baize's own recorded answers in the place of a teacher, about 240 of AlpacaEval's instructions.

The recorded teacher answers a request for a script with the question and its recorded answer in that form. It puts no
answers in order, so self-distillation is left out; give a server, and `--set rounds=1`, for it.

    camelid run baize-tiny
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.self_chat import SelfChatSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.models.teacher import TeacherSettings
from camelid.recipes import baize
from camelid.recipes._imitation import FEW_FACTS, FEW_HELD_OUT, small
from camelid.recipes.baize import Baize
from camelid.runs import Stage
from camelid.train.sft import SftSettings

RECORDED = Path("teachers/baize-v2-7b.json")
TEACHER = TeacherSettings(replay=str(Path(os.environ.get("CAMELID_DATA", "data")) / RECORDED), terms="research only")


class BaizeTiny(Baize):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    seeds: list[Path] = Field(default=[RECORDED])
    asked: ImportSettings = ImportSettings(kind="prompts", max_rows=240, max_words=60)
    self_chat: SelfChatSettings = SelfChatSettings(teacher=TEACHER)
    held_out: HoldOutSettings = FEW_HELD_OUT
    sft: SftSettings = small(Baize().sft)
    rounds: int = 0
    best: SftSettings = small(Baize().best)
    facts: TaskSettings = FEW_FACTS


def stages(s: BaizeTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return baize.stages(s)
