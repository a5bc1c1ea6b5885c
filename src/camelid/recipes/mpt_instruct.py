"""MPT-Instruct: people's instructions with their answers, and the answers that people preferred, in Alpaca's form.

After MosaicML's `mpt-7b_dolly_sft.yaml` (2023; docs/recipes/mpt-instruct.md): Dolly's rows and HH's chosen answers, two
passes of full fine-tuning.

    camelid run mpt-instruct --set start_model=path/to/model

Departures: AdamW in the place of its decoupled variant, which at a weight decay of 0 is the same.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.hindsight import HindsightSettings, hindsight
from camelid.collect.stage import ImportSettings, import_data
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.recipes._imitation import Imitation, Steps
from camelid.runs import Output, Stage
from camelid.train.sft import SftSettings

CHOSEN = HindsightSettings(good="", bad="-", answers="good")
"""The preferred answers alone, without a marker."""


class MptInstruct(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    demonstrations: list[Path] = Field(default=[Path("conversations/dolly_3k.json")])
    """Instructions with answers."""
    preferences: list[Path] = Field(default=[Path("preferences/hh_harmless_1800.jsonl.gz")])
    """Pairs, of which the chosen answers are imitated."""
    rows: ImportSettings = ImportSettings()
    """How instructions are read."""
    pairs: ImportSettings = ImportSettings(kind="preferences", about="safety")
    """How pairs are read."""
    sft: SftSettings = SftSettings(
        chat_format="alpaca",
        model=ModelSettings(lora_rank=0),
        optimizer=OptimizerSettings(beta2=0.999, eps=1e-8, weight_decay=0.0),
        learning_rate=5e-6,
        batch_size=48,
        epochs=2,
        schedule="linear",
        warmup_steps=50,
        final_fraction=0.0,
        max_tokens=2048,
        too_long="cut",
    )
    """Imitation."""


def stages(s: MptInstruct) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    written = steps.add("data/written", import_data, s.rows, data=[s.at(file) for file in s.demonstrations])
    pairs = steps.add("data/pairs", import_data, s.pairs, data=[s.at(file) for file in s.preferences])
    chosen = steps.add("data/chosen", hindsight, CHOSEN, preferences=Output(pairs, "rows.jsonl"))
    train = steps.hold_out(Output(written, "rows.jsonl"))
    steps.imitate("sft", s.sft, train, Output(chosen, "demonstrations.jsonl"))
    return steps.finish("mpt-instruct")
