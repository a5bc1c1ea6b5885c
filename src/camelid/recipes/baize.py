"""Baize: a teacher talks with itself about seed questions; its scripts are imitated; the model's own best answers, too.

After Xu et al. 2023 (arXiv:2304.01196; docs/recipes/baize.md has the numbers): self-chat, LoRA on all tokens of the
transcripts, then self-distillation with feedback, in which the teacher puts four of the model's own answers in order.

    camelid run baize --set seeds=questions.jsonl --set self_chat.teacher.server.model=NAME \\
        --set distill.teacher.server.model=NAME

Departures:
- no dropout in the adapters (theirs 0.05), rank 8 on q, k, v and the feed-forward block as theirs;
- the teacher gives an order of the answers, not scores of 1 to 100 (`camelid self-distillation`).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.self_chat import SelfChatSettings, self_chat
from camelid.collect.self_distillation import SelfDistillationSettings, self_distillation
from camelid.collect.stage import ImportSettings, import_data
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.recipes._imitation import Imitation, Steps
from camelid.runs import Input, Output, Stage
from camelid.train.sft import SftSettings

TARGETS = "q_proj,k_proj,v_proj,gate_proj,up_proj,down_proj"


class Baize(Imitation):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    seeds: list[Path] = Field(default=[Path("conversations/dolly_3k.json")])
    """Seed questions, in any format; Baize took those of Quora, Stack Overflow and MedQuAD."""
    asked: ImportSettings = ImportSettings(kind="prompts")
    """How they are read."""
    self_chat: SelfChatSettings = SelfChatSettings()
    """The teacher, and how scripts are drawn."""
    sft: SftSettings = SftSettings(
        chat_format="vicuna",
        model=ModelSettings(lora_rank=8, lora_alpha=16, lora_targets=TARGETS),
        optimizer=OptimizerSettings(beta2=0.999, eps=1e-8, weight_decay=0.0),
        learning_rate=2e-4,
        batch_size=64,
        epochs=1,
        warmup_steps=100,
        max_tokens=512,
        too_long="cut",
        final_fraction=0.0,
        schedule="linear",
        train_on="everything",
    )
    """Imitation of whole transcripts, the person's turns among them."""
    rounds: int = 1
    """Rounds of self-distillation; 0 leaves it out."""
    distill: SelfDistillationSettings = SelfDistillationSettings(chat_format="vicuna")
    """Four answers to each seed by the model, put in order by the teacher."""
    best: SftSettings = SftSettings(
        chat_format="vicuna",
        model=ModelSettings(lora_rank=8, lora_alpha=16, lora_targets=TARGETS),
        learning_rate=5e-5,
        batch_size=64,
        epochs=1,
        max_tokens=512,
        too_long="cut",
    )
    """Imitation of the best of them."""


def stages(s: Baize) -> list[Stage]:
    """The recipe's stages, in order."""
    steps = Steps(s)
    seeds = steps.add("data/seeds", import_data, s.asked, data=[s.at(file) for file in s.seeds])
    asked = Output(seeds, "rows.jsonl")
    chats = steps.add("data/self-chat", self_chat, s.self_chat, seeds=asked)
    newest = steps.imitate("sft", s.sft, steps.hold_out(Output(chats, "demonstrations.jsonl")))
    distilled(steps, s, newest, asked)
    return steps.finish("baize")


def distilled(steps: Steps, s: Baize, newest: Output, asked: Input) -> Output:
    """Rounds of self-distillation with feedback. Returns the newest version."""
    for number in range(1, s.rounds + 1):
        settings = s.distill.model_copy(update={"seed": number})
        made = steps.add(f"self-distillation-{number}", self_distillation, settings, model=newest, prompts=asked)
        newest = steps.imitate(f"best-{number}", s.best, Output(made, "demonstrations.jsonl"), model=newest)
    return newest
