"""Alpaca on two cores: davinci-003's recorded tasks in the place of a teacher, 240 new ones.

camelid run alpaca-tiny
"""

from __future__ import annotations

import os
from pathlib import Path

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.self_instruct.stage import SelfInstructSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.models.teacher import TeacherSettings
from camelid.recipes import alpaca
from camelid.recipes._imitation import FEW_FACTS, FEW_HELD_OUT, small
from camelid.recipes.alpaca import Alpaca
from camelid.runs import Stage
from camelid.train.sft import SftSettings

RECORDED = Path(os.environ.get("CAMELID_DATA", "data")) / "conversations/alpaca_random_9k.json"


class AlpacaTiny(Alpaca):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    collect: SelfInstructSettings = SelfInstructSettings(
        variant="alpaca",
        num_instructions=240,
        teacher=TeacherSettings(replay=str(RECORDED), terms="CC-BY-NC-4.0"),
    )
    held_out: HoldOutSettings = FEW_HELD_OUT
    sft: SftSettings = small(Alpaca().sft)
    facts: TaskSettings = FEW_FACTS


def stages(s: AlpacaTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return alpaca.stages(s)
