"""Falcon-Instruct: Baize's self-chats imitated with 5% of web text in every step, so that less is forgotten.

After the model card of Falcon-40B-Instruct (2023; docs/recipes/falcon-instruct.md): 150 million tokens with
Baize's data; that 5% of RefinedWeb was mixed in could not be confirmed. The data is made as in `baize`, whose
settings these are.

    camelid run falcon-instruct --set seeds=questions.jsonl --set self_chat.teacher.server.model=NAME \\
        --set text=web.jsonl

Departures: full weights at Alpaca's learning rate and batch, which the card does not give; the loss of text is weighted
by its share.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.self_chat import self_chat
from camelid.collect.split_documents import SplitDocumentsSettings, split_documents
from camelid.collect.stage import import_data
from camelid.recipes._imitation import TRAINER, Steps
from camelid.recipes.baize import Baize
from camelid.runs import Output, Stage
from camelid.train.pretraining_mix import MixSettings
from camelid.train.sft import SftSettings


class FalconInstruct(Baize):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    text: list[Path] = Field(default=[Path("pretraining/c4_demo.jsonl")])
    """Web text, JSON Lines with `text`."""
    split: SplitDocumentsSettings = SplitDocumentsSettings()
    """Documents kept from training."""
    sft: SftSettings = SftSettings(
        chat_format="vicuna",
        learning_rate=2e-5,
        batch_size=128,
        epochs=1,
        warmup_fraction=0.03,
        max_tokens=2048,
        ptx=MixSettings(coef=0.05, ratio=0.05, max_tokens=2048),
        **TRAINER,
    )
    """Imitation with text."""
    rounds: int = 0


def stages(s: FalconInstruct) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    seeds = steps.add("data/seeds", import_data, s.asked, data=[s.at(file) for file in s.seeds])
    chats = steps.add("data/self-chat", self_chat, s.self_chat, seeds=Output(seeds, "rows.jsonl"))
    documents = steps.add("data/text", split_documents, s.split, documents=[s.at(file) for file in s.text])
    train = steps.hold_out(Output(chats, "demonstrations.jsonl"))
    steps.imitate("sft", s.sft, train, pretraining=Output(documents, "train.jsonl"))
    return steps.finish("falcon-instruct")
