"""GPT4All: a teacher's answers to collected prompts, sifted, without whole regions of the map, imitated by adapters.

After Anand et al. 2023 (docs/recipes/gpt4all.md has the numbers). Look at the clusters of a first run (clusters.json,
or `camelid data report`), then name those that are to go:

    camelid run gpt4all --set 'answers=["a.jsonl"]' --set start_model=path/to/model
    camelid run gpt4all --set 'answers=["a.jsonl"]' --set 'clusters.exclude=[4,11]'

Departures:
- the map is of words (`camelid clusters`), not Atlas's of embeddings; with `model` as the stage's input it is of a
  model's hidden states;
- no dropout in the adapters (theirs 0.1); Alpaca's chat format, theirs was the prompt, a line break and the answer.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.stage import ImportSettings, import_data
from camelid.curate.clusters import ClusterSettings, cluster_rows
from camelid.curate.near_duplicates import DeduplicateSettings, deduplicate
from camelid.curate.sift import SiftSettings, sift
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.recipes._imitation import Imitation, Steps
from camelid.runs import Output, Stage
from camelid.train.sft import SftSettings


class Gpt4All(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    answers: list[Path] = Field(
        default=[Path("conversations/dolly_3k.json"), Path("conversations/alpaca_random_9k.json")]
    )
    """Prompts with a teacher's answers; GPT4All's prompts were OIG's, Stack Overflow's and P3's."""
    rows: ImportSettings = ImportSettings()
    """How they are read."""
    repeats: DeduplicateSettings = DeduplicateSettings()
    """Near copies, of which the first is kept."""
    sift: SiftSettings = SiftSettings(private_data="off")
    """Refusals, empty and unfinished answers are dropped."""
    clusters: ClusterSettings = ClusterSettings()
    """The map, and which of its clusters are left out."""
    sft: SftSettings = SftSettings(
        chat_format="alpaca",
        model=ModelSettings(lora_rank=8, lora_alpha=32),
        optimizer=OptimizerSettings(beta2=0.999, eps=1e-8, weight_decay=0.0),
        learning_rate=5e-5,
        batch_size=32,
        epochs=4,
        warmup_steps=100,
        final_fraction=0.0,
        max_tokens=1024,
        too_long="cut",
    )
    """Imitation."""


def stages(s: Gpt4All) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    read = steps.add("data/read", import_data, s.rows, data=[s.at(file) for file in s.answers])
    once = steps.add("data/once", deduplicate, s.repeats, rows=Output(read, "rows.jsonl"))
    sifted = steps.add("data/sifted", sift, s.sift, rows=Output(once, "rows.jsonl"))
    mapped = steps.add("data/clusters", cluster_rows, s.clusters, rows=Output(sifted, "rows.jsonl"))
    steps.imitate("sft", s.sft, steps.hold_out(Output(mapped, "rows.jsonl")))
    return steps.finish("gpt4all")
