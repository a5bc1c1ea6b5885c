"""Koala: dialogues from several sources by weight, and pairs that were judged, imitated under a good and a bad marker.

After Geng et al. 2023 and EasyLM's docs/koala.md (docs/recipes/koala.md has the numbers).

    camelid run koala --set 'dialogues={"sharegpt": "a.jsonl", "hc3": "b.jsonl"}' \\
        --set 'weights={"sharegpt": 1, "hc3": 2}'

Departures:
- the bad marker is said at the end of the user's turn, before `GPT:` (`camelid hindsight` says why);
- learning rate and batch were not published; Alpaca's are taken.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.hindsight import PRESETS, HindsightSettings, hindsight
from camelid.collect.stage import ImportSettings, import_data
from camelid.curate.mix import MixSettings, mix
from camelid.recipes._imitation import TRAINER, Imitation, Steps
from camelid.runs import Input, Output, Stage
from camelid.train.sft import SftSettings


class Koala(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    dialogues: dict[str, Path] = Field(
        default={
            "alpaca": Path("conversations/alpaca_random_9k.json"),
            "lima": Path("conversations/lima.json"),
        }
    )
    """Dialogues by name, in any format of conversations; Koala's were ShareGPT, HC3, OIG and Alpaca."""
    weights: dict[str, float] = Field(default={})
    """Weight of each source in the mixture; none: all rows of all."""
    preferences: list[Path] = Field(default=[Path("preferences/hh_harmless_1800.jsonl.gz")])
    """Pairs with a verdict; Koala's were HH, WebGPT and summaries, without ties."""
    rows: ImportSettings = ImportSettings()
    """How dialogues are read."""
    pairs: ImportSettings = ImportSettings(kind="preferences", about="safety")
    """How pairs are read."""
    hindsight: HindsightSettings = PRESETS["koala"]
    """The markers."""
    sft: SftSettings = SftSettings(
        chat_format="koala",
        learning_rate=2e-5,
        batch_size=128,
        epochs=2,
        warmup_fraction=0.03,
        max_tokens=2048,
        **TRAINER,
    )
    """Imitation."""


def stages(s: Koala) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    sources: dict[str, Input] = {
        name: Output(steps.add(f"data/{name}", import_data, s.rows, data=[s.at(file)]), "rows.jsonl")
        for name, file in s.dialogues.items()
    }
    if s.weights:
        mixed = steps.add("data/mixed", mix, MixSettings(weights=s.weights), **sources)
        sources = {"mixed": Output(mixed, "mixed.jsonl")}
    judged = steps.add("data/pairs", import_data, s.pairs, data=[s.at(file) for file in s.preferences])
    marked = steps.add("data/hindsight", hindsight, s.hindsight, preferences=Output(judged, "rows.jsonl"))
    first, *others = sources.values()
    train = steps.hold_out(first)
    steps.imitate("sft", s.sft, train, *others, Output(marked, "demonstrations.jsonl"))
    return steps.finish("koala")
