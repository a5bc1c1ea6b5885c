"""MPT-Chat: conversations of several teachers in one mixture, imitated as ChatML.

After MosaicML's model card of MPT-7B-Chat (2023; docs/recipes/mpt-chat.md): ShareGPT, HC3, Alpaca, HH and
Evol-Instruct. Here any files by name and weight; `camelid evol-instruct` makes the last kind.

    camelid run mpt-chat --set 'sources={"sharegpt": "a.jsonl", "evol": "b.jsonl"}' \\
        --set 'weights={"sharegpt": 3, "evol": 1}'

Departures: the card gives neither weights nor settings of training; all rows are taken, and MPT-Instruct's settings.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.hindsight import hindsight
from camelid.collect.stage import ImportSettings, import_data
from camelid.curate.mix import MixSettings, mix
from camelid.recipes._imitation import Imitation, Steps
from camelid.recipes.mpt_instruct import CHOSEN, MptInstruct
from camelid.runs import Input, Output, Stage
from camelid.train.sft import SftSettings


class MptChat(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    sources: dict[str, Path] = Field(
        default={
            "alpaca": Path("conversations/alpaca_random_9k.json"),
            "lima": Path("conversations/lima.json"),
            "graded": Path("conversations/alpaca_claude_t45.json"),
        }
    )
    """Conversations by name."""
    preferences: list[Path] = Field(default=[Path("preferences/hh_harmless_1800.jsonl.gz")])
    """Pairs, of which the chosen answers are a source of the name `chosen`."""
    weights: dict[str, float] = Field(default={"alpaca": 1.0, "lima": 1.0, "graded": 1.0, "chosen": 1.0})
    """Weight of each source."""
    rows: ImportSettings = ImportSettings()
    """How conversations are read."""
    pairs: ImportSettings = ImportSettings(kind="preferences", about="safety")
    """How pairs are read."""
    sft: SftSettings = MptInstruct().sft.model_copy(update={"chat_format": "chatml"})
    """Imitation."""


def stages(s: MptChat) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    sources: dict[str, Input] = {
        name: Output(steps.add(f"data/{name}", import_data, s.rows, data=[s.at(file)]), "rows.jsonl")
        for name, file in s.sources.items()
    }
    pairs = steps.add("data/pairs", import_data, s.pairs, data=[s.at(file) for file in s.preferences])
    chosen = steps.add("data/chosen", hindsight, CHOSEN, preferences=Output(pairs, "rows.jsonl"))
    sources["chosen"] = Output(chosen, "demonstrations.jsonl")
    mixed = steps.add("data/mixed", mix, MixSettings(weights=s.weights), **sources)
    steps.imitate("sft", s.sft, steps.hold_out(Output(mixed, "mixed.jsonl")))
    return steps.finish("mpt-chat")
