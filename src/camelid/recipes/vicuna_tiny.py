"""Vicuna on two cores: 240 segments of shared conversations of at most 512 tokens, adapters, one pass.

The stages are those of `vicuna`, the cleaning is the whole of it.

    camelid run vicuna-tiny --set conversations=sharegpt.json
"""

from __future__ import annotations

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.sharegpt.stage import ShareGptSettings
from camelid.curate.mix import MixSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.recipes import vicuna
from camelid.recipes._imitation import FEW_FACTS, FEW_HELD_OUT, small
from camelid.recipes.vicuna import Vicuna
from camelid.runs import Stage
from camelid.train.sft import SftSettings


class VicunaTiny(Vicuna):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    clean: ShareGptSettings = ShareGptSettings(max_tokens=512)
    drawn: MixSettings = MixSettings(weights={"shared": 1.0}, max_rows=240)
    held_out: HoldOutSettings = FEW_HELD_OUT
    sft: SftSettings = small(Vicuna().sft)
    facts: TaskSettings = FEW_FACTS


def stages(s: VicunaTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return vicuna.stages(s)
