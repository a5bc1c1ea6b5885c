"""Vicuna: conversations that people shared, cleaned, cut at whole turns, imitated in every answer.

After Chiang et al. 2023 and FastChat's scripts (docs/recipes/vicuna.md has the numbers). Any file of ShareGPT's form is
read, one that is cut off in the middle too.

    camelid run vicuna --set conversations=sharegpt.json --set start_model=path/to/model

Departures:
- the language is told by py3langid, not polyglot; segments keep their last pair where FastChat's split loses it
  (`--set clean.split=fastchat` loses it as well);
- no rows on who the model is: give your own in `more`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.sharegpt.stage import ShareGptSettings, clean_sharegpt
from camelid.curate.mix import MixSettings, mix
from camelid.models.loading import resolve_model
from camelid.recipes._imitation import TRAINER, Imitation, Steps
from camelid.runs import Output, Stage
from camelid.train.sft import SftSettings


class Vicuna(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    conversations: list[Path] = Field(default=[Path("sharegpt.json")])
    """ShareGPT's conversations."""
    more: list[Path] = Field(default=[])
    """Rows in our own form (`camelid data convert`) that are added as they are, such as who the assistant is."""
    clean: ShareGptSettings = ShareGptSettings()
    """Cleaning and splitting."""
    drawn: MixSettings = MixSettings(weights={"shared": 1.0})
    """How many of the segments are used; all unless max_rows is set."""
    sft: SftSettings = SftSettings(
        chat_format="vicuna",
        learning_rate=2e-5,
        batch_size=128,
        epochs=3,
        warmup_fraction=0.04,
        max_tokens=2048,
        **TRAINER,
    )
    """Imitation of every answer, its end of turn included."""


def stages(s: Vicuna) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    files = [s.at(file) for file in s.conversations]
    cleaned = steps.add("data/clean", clean_sharegpt, s.clean, data=files, model=resolve_model(s.start_model))
    drawn = steps.add("data/drawn", mix, s.drawn, shared=Output(cleaned, "rows.jsonl"))
    train = steps.hold_out(Output(drawn, "mixed.jsonl"))
    steps.imitate("sft", s.sft, train, *(s.at(file) for file in s.more))
    return steps.finish("vicuna")
