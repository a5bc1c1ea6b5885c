"""The false promise of imitation in two minutes, to see that everything runs; its numbers say nothing.

camelid run false-promise-tiny --set files.folder=path/to/data
"""

from __future__ import annotations

from pydantic import Field

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.judgements import JudgementSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.version import EvaluateSettings
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.recipes import false_promise
from camelid.recipes._false_promise import TOKENS, FalsePromise
from camelid.runs import Stage
from camelid.train.distill import DistillSettings
from camelid.train.reward import RewardSettings

FULL = FalsePromise()


class FalsePromiseTiny(FalsePromise):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    seeds: int = 2
    layers: tuple[int, ...] = (2,)
    amounts: tuple[int, ...] = (4, 16)
    local_amount: int = 16
    items: dict[str, int] = Field(default={"arc_easy": 12, "lambada": 8})
    teacher: ImportSettings = ImportSettings(max_words=40)
    hold_out: HoldOutSettings = HoldOutSettings(held_out=12)
    judgements: JudgementSettings = JudgementSettings(max_rows=16, max_test_rows=12, max_words=60)
    judge: RewardSettings = FULL.judge.model_copy(
        update={"num_layers": 2, "model": ModelSettings(micro_batch_tokens=TOKENS)}
    )
    heal: DistillSettings = FULL.heal.model_copy(
        update={"max_rows": 24, "max_tokens": 64, "held_out": 4, "batch_size": 8}
    )
    answer: EvaluateSettings = FULL.answer.model_copy(update={"sampling": Sampling(temperature=0.7, max_new_tokens=16)})


def stages(s: FalsePromiseTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return false_promise.stages(s)
