"""MPT-Chat on two cores: 80 rows of each of four sources, mixed evenly.

camelid run mpt-chat-tiny
"""

from __future__ import annotations

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.recipes import mpt_chat
from camelid.recipes._imitation import FEW_FACTS, FEW_HELD_OUT, small
from camelid.recipes.mpt_chat import MptChat
from camelid.runs import Stage
from camelid.train.sft import SftSettings


class MptChatTiny(MptChat):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    rows: ImportSettings = ImportSettings(max_rows=80, max_words=160)
    pairs: ImportSettings = ImportSettings(kind="preferences", about="safety", max_rows=80, max_words=160)
    held_out: HoldOutSettings = FEW_HELD_OUT
    sft: SftSettings = small(MptChat().sft)
    facts: TaskSettings = FEW_FACTS


def stages(s: MptChatTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return mpt_chat.stages(s)
