"""Falcon-Instruct on two cores: the self-chats of `baize-tiny`, and a document of C4 in every step.

camelid run falcon-instruct-tiny
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.self_chat import SelfChatSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.recipes import falcon_instruct
from camelid.recipes._imitation import small
from camelid.recipes.baize_tiny import RECORDED, BaizeTiny
from camelid.recipes.falcon_instruct import FalconInstruct
from camelid.runs import Stage
from camelid.train.pretraining_mix import MixSettings
from camelid.train.sft import SftSettings

TINY = BaizeTiny()


class FalconInstructTiny(FalconInstruct):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    seeds: list[Path] = Field(default=[RECORDED])
    asked: ImportSettings = TINY.asked
    self_chat: SelfChatSettings = TINY.self_chat
    held_out: HoldOutSettings = TINY.held_out
    sft: SftSettings = small(FalconInstruct().sft, ptx=MixSettings(coef=0.05, ratio=0.05, max_tokens=256))
    facts: TaskSettings = TINY.facts


def stages(s: FalconInstructTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return falcon_instruct.stages(s)
