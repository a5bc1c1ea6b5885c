"""GPT4All on two cores: 300 recorded rows, twelve clusters of which the smallest is left out.

camelid run gpt4all-tiny
"""

from __future__ import annotations

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.stage import ImportSettings
from camelid.curate.clusters import ClusterSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.recipes import gpt4all
from camelid.recipes._imitation import FEW_FACTS, FEW_HELD_OUT, small
from camelid.recipes.gpt4all import Gpt4All
from camelid.runs import Stage
from camelid.train.sft import SftSettings


class Gpt4AllTiny(Gpt4All):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    rows: ImportSettings = ImportSettings(max_rows=360, max_words=160)
    clusters: ClusterSettings = ClusterSettings(clusters=12, exclude=(11,))
    held_out: HoldOutSettings = FEW_HELD_OUT
    sft: SftSettings = small(Gpt4All().sft)
    facts: TaskSettings = FEW_FACTS


def stages(s: Gpt4AllTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return gpt4all.stages(s)
