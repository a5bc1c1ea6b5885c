"""LIMA: a thousand chosen conversations, fifteen passes, residual dropout, and nothing else.

After Zhou et al. 2023 (arXiv:2305.11206; docs/recipes/lima.md has the numbers).

    camelid run lima --set start_model=path/to/model
    camelid run lima --set conversations=chosen.jsonl

Departures:
- a turn ends with the chat format's own token, not with a new one;
- the checkpoint was chosen by hand between the fifth and the tenth epoch; here the last is kept (`camelid
  choose-checkpoint` compares several).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.stage import ImportSettings, import_data
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.recipes._imitation import Imitation, Steps
from camelid.runs import Output, Stage
from camelid.train.sft import SftSettings


class Lima(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    conversations: list[Path] = Field(default=[Path("conversations/lima.json")])
    """What is imitated."""
    prompts: list[Path] = Field(default=[Path("prompts/lima_test_300.jsonl")])
    """Prompts of the evaluation; rows that repeat one are dropped."""
    rows: ImportSettings = ImportSettings()
    """How the rows are read."""
    sft: SftSettings = SftSettings(
        chat_format="chatml",
        model=ModelSettings(lora_rank=0),
        optimizer=OptimizerSettings(beta2=0.95, weight_decay=0.1),
        learning_rate=1e-5,
        schedule="linear",
        final_fraction=0.1,
        batch_size=32,
        epochs=15,
        max_tokens=2048,
        too_long="cut",
        residual_dropout=0.3,
    )
    """Imitation. LIMA's smaller models had batches of 64 and a residual dropout of 0.2."""


def stages(s: Lima) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    asked = [s.at(file) for file in s.prompts]
    read = steps.add("data/rows", import_data, s.rows, data=[s.at(file) for file in s.conversations], exclude=asked)
    steps.imitate("sft", s.sft, steps.hold_out(Output(read, "rows.jsonl")))
    return steps.finish("lima")
