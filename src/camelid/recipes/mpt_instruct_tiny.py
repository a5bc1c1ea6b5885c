"""MPT-Instruct on two cores: 240 of Dolly's rows and 80 of HH's chosen answers.

camelid run mpt-instruct-tiny
"""

from __future__ import annotations

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.recipes import mpt_instruct
from camelid.recipes._imitation import FEW_FACTS, FEW_HELD_OUT, small
from camelid.recipes.mpt_instruct import MptInstruct
from camelid.runs import Stage
from camelid.train.sft import SftSettings


class MptInstructTiny(MptInstruct):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    rows: ImportSettings = ImportSettings(max_rows=240, max_words=160)
    pairs: ImportSettings = ImportSettings(kind="preferences", about="safety", max_rows=80, max_words=160)
    held_out: HoldOutSettings = FEW_HELD_OUT
    sft: SftSettings = small(MptInstruct().sft)
    facts: TaskSettings = FEW_FACTS


def stages(s: MptInstructTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return mpt_instruct.stages(s)
