"""Settings of the recipe false-promise."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from camelid.collect.hold_out import HoldOutSettings
from camelid.collect.judgements import JudgementSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.version import EvaluateSettings
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.train.distill import DistillSettings
from camelid.train.reward import RewardSettings
from camelid.train.sft import SftSettings

CHAT = "chatml"
TOKENS = 2048
JUDGES = ("alpaca-7b", "vicuna-13b", "falcon-7b-instruct", "llama-2-7b-chat-hf", "text_davinci_001", "gpt4", "claude")
GUESSING = {"arc_easy": 0.25, "piqa": 0.5, "boolq": 0.62, "lambada": 0.0}
"""Of BoolQ, saying yes to everything."""


class Files(BaseModel):
    """Where the data comes from; relative paths are looked up in `folder`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    folder: Path = Path(os.environ.get("CAMELID_DATA", "data"))
    """Folder of the data: the environment variable CAMELID_DATA, or `data`."""
    teacher: Path = Path("teachers/text_davinci_003.json")
    """The teacher's recorded answers, in any format of conversations."""
    judgements: list[Path] = [Path(f"preferences/alpaca_eval_gpt4/{name}.json") for name in JUDGES]
    """AlpacaEval's judgements to train and test the judge on."""
    conversations: list[Path] = [Path("conversations/dolly_3k.json"), Path("conversations/alpaca_random_9k.json")]
    """Conversations on which cut models are healed."""
    documents: list[Path] = [Path("pretraining/c4_demo.jsonl")]
    """Documents (`text` a row) on which they are healed, too."""
    benchmarks: Path = Path("benchmarks")
    """Folder of the benchmarks' files."""

    def at(self, path: Path) -> Path:
        return self.folder / path


class FalsePromise(BaseModel):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Seed of what all models share: the held-out prompts, the judge, the healing."""
    seeds: int = Field(default=3, ge=1)
    """Runs of each cell that differ in what they draw: data, order, adapters, answers."""
    start_model: str = "smollm2-135m"
    """The model to begin with."""
    files: Files = Files()
    """Files."""
    layers: tuple[int, ...] = (20, 10)
    """Sizes besides the whole model, in layers."""
    amounts: tuple[int, ...] = (25, 100, 400)
    """Conversations of the teacher imitated by the whole model; cut ones imitate the largest amount only."""
    local_amount: int = Field(default=600, ge=0)
    """Questions of the own task imitated; 0 leaves local imitation out."""
    own_task: str = "arc_easy"
    """The task of local imitation, one of `items`."""
    items: dict[str, int] = {"arc_easy": 250, "piqa": 250, "boolq": 100, "lambada": 150}
    """Benchmarks of facts, and how many of their items are asked, drawn by `seed`."""
    guessing: dict[str, float] = GUESSING
    """Accuracy of guessing; a task on which no start model is above it is left out of the facts."""
    frozen_share: float = Field(default=0.3, ge=0, lt=1)
    """Share of the layers, from the bottom, without adapters."""
    teacher: ImportSettings = ImportSettings(max_words=160)
    """How the teacher's answers are read; long ones, prompt and answer together, would be cut where students are."""
    hold_out: HoldOutSettings = HoldOutSettings(held_out=100)
    """Prompts kept from training."""
    judgements: JudgementSettings = JudgementSettings(max_rows=450, max_test_rows=300, max_words=250)
    """Judgements for the judge."""
    judge: RewardSettings = RewardSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=3, micro_batch_tokens=TOKENS),
        num_layers=10,
        learning_rate=1e-3,
        warmup_steps=2,
        held_out=0,
    )
    """The judge, a reward model."""
    heal: DistillSettings = DistillSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_rank=0, micro_batch_tokens=TOKENS),
        max_rows=400,
        max_tokens=192,
    )
    """Healing of the cut models."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(micro_batch_tokens=TOKENS),
        learning_rate=1e-3,
        batch_size=8,
        epochs=1,
        warmup_steps=2,
    )
    """Imitation."""
    answer: EvaluateSettings = EvaluateSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=96), kl_prompts=0
    )
    """Answers to held-out prompts; the teacher's are cut at the same length."""
