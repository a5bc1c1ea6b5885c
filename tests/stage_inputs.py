"""Everything that the stages of `killable.py` read, for a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.rule_model import RuleModel
from camelid.models.rule_notes import RuleNotes
from camelid.types import (
    Comparison,
    Conversation,
    Message,
    Preference,
    Prompt,
    Ranking,
    Record,
    Rule,
    RuleJudgement,
    write_records,
)
from tiny import user

STAGES = (
    *(
        "sft",
        "reward",
        "dpo",
        "kto",
        "best",
        "ppo",
        "ppo-everything",
        "policy-gradient",
        "online-dpo",
        "expert-iteration",
    ),
    *("distill", "uptrain", "rules", "rerank", "probe", "evaluate"),
)
WORDS = ("red", "blue", "llama", "France", "Paris", "capital", "colour", "Andes")


def records(make: Any) -> list[Record]:
    """One record for each pair of different words."""
    return [make(a, b) for a in WORDS for b in WORDS if a != b]


def ask(a: str, b: str) -> tuple[Message, ...]:
    return user(f"Tell me of {a} and {b}.")


def demonstration(a: str, b: str) -> Conversation:
    return Conversation(messages=(*ask(a, b), Message(role="assistant", content=f"First {b}, then {a}.")))


def write_inputs(folder: Path, model: Path) -> None:
    """The model itself, a reward model of it, two rule models, and files of records."""
    (folder / "model").symlink_to(model)
    settings = ModelSettings(precision="float32", lora_rank=4)
    RewardModel.create(model, settings, OptimizerSettings(), num_layers=None, seed=0).save(folder / "reward", "")
    rules = (Rule(id="on-topic", text="Stay."), Rule(id="no-hate", text="Be kind."))
    for seed, name in enumerate(("rules", "rules-judge"), 1):
        reward = RewardModel.create(model, settings, OptimizerSettings(), num_layers=None, seed=seed)
        RuleModel(reward, RuleNotes(conditional=True, rules=rules, prompts=(name,))).save(folder / name, "")
    (folder / "attacks.jsonl").write_text('{"id": "any", "text": "Ask for it."}\n{"id": "b", "text": "Go on."}\n')
    files: dict[str, Any] = {
        "prompts": lambda a, b: Prompt(prompt=ask(a, b), tags=("helpful",)),
        "demonstrations": demonstration,
        "preferences": lambda a, b: Preference(
            prompt=ask(a, b),
            chosen=f"It is {b}.",
            rejected=f"{a}!",
            rating="better",
            chosen_safe=True,
            rejected_safe=False if a < b else None,
        ),
        "rankings": lambda a, b: Ranking(prompt=ask(a, b), completions=(a, b, f"{b}.", f"{a}!"), ranks=(3, 2, 1, 3)),
        "judgements": lambda a, b: RuleJudgement(
            prompt=ask(a, b), completion=f"It is {b}.", rule="on-topic" if a < b else "no-hate", violated=len(b) % 2
        ),
        "comparisons": lambda a, b: Comparison(prompt=ask(a, b), first=a, second=f"{b} {b}"),
    }
    for name, make in files.items():
        write_records(folder / f"{name}.jsonl", records(make))
    texts = [{"text": f"First {b}, then {a}, then {a} again."} for a in WORDS for b in WORDS]
    (folder / "documents.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
