"""LIMA on two cores: 160 of its shorter conversations, three passes.

camelid run lima-tiny
"""

from __future__ import annotations

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.recipes import lima
from camelid.recipes._imitation import FEW_FACTS, small
from camelid.recipes.lima import Lima
from camelid.runs import Stage
from camelid.train.sft import SftSettings


class LimaTiny(Lima):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    rows: ImportSettings = ImportSettings(max_rows=160, max_words=250)
    held_out: HoldOutSettings = HoldOutSettings(held_out=40)
    sft: SftSettings = small(Lima().sft, epochs=3.0, warmup_steps=0, residual_dropout=0.2)
    facts: TaskSettings = FEW_FACTS


def stages(s: LimaTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return lima.stages(s)
