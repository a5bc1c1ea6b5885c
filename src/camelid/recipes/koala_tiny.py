"""Koala on two cores: Alpaca and LIMA in the place of ShareGPT, HC3 and OIG, and 120 of HH's pairs under markers.

camelid run koala-tiny
"""

from __future__ import annotations

from pydantic import Field

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.recipes import koala
from camelid.recipes._imitation import FEW_FACTS, FEW_HELD_OUT, small
from camelid.recipes.koala import Koala
from camelid.runs import Stage
from camelid.train.sft import SftSettings


class KoalaTiny(Koala):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    weights: dict[str, float] = Field(default={"alpaca": 2.0, "lima": 1.0})
    rows: ImportSettings = ImportSettings(max_rows=200, max_words=160)
    pairs: ImportSettings = ImportSettings(kind="preferences", about="safety", max_rows=120, max_words=160)
    held_out: HoldOutSettings = FEW_HELD_OUT
    sft: SftSettings = small(Koala().sft, batch_size=16)
    facts: TaskSettings = FEW_FACTS


def stages(s: KoalaTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return koala.stages(s)
