"""Rules and judgements that a tiny model can learn."""

from __future__ import annotations

from pathlib import Path

from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.rule_model import RuleModel
from camelid.models.rule_notes import RuleNotes
from camelid.types import Rule, RuleJudgement, write_records
from tiny import user

WORDS = ("red", "blue", "llama", "France", "Paris", "capital", "colour", "Andes")
LORA = ModelSettings(precision="float32", lora_rank=4, micro_batch_tokens=512)
RULES = [Rule(id="no-paris", text="Do not say Paris.", topic="place"), Rule(id="no-red", text="Do not say Red!")]
BREAKS = {"no-paris": "Paris", "no-red": "Red"}


def judgement(a: str, b: str, said: str, rule: str) -> RuleJudgement:
    """An answer that says one of two words; each rule forbids one of them."""
    return RuleJudgement(
        prompt=user(f"Tell me of {a} and {b}."),
        completion=f"It is {said}.",
        rule=rule,
        violated=float(said == BREAKS[rule]),
        annotator="test",
        proxy="a word",
    )


JUDGEMENTS = [
    judgement(a, b, said, rule.id)
    for a in WORDS
    for b in WORDS
    if a != b
    for said in ("Paris", "Red")
    for rule in RULES
]


def write(folder: Path, judgements: list[RuleJudgement] = JUDGEMENTS) -> dict[str, Path]:
    """The stage's inputs but for the model."""
    write_records(folder / "judgements.jsonl", judgements)
    write_records(folder / "rules.jsonl", RULES)
    return {"judgements": folder / "judgements.jsonl", "rules": folder / "rules.jsonl"}


def rule_model(folder: Path, *, conditional: bool = True, prompts: tuple[str, ...] = (), rank: int = 4) -> RuleModel:
    """An untrained one of a language model's folder."""
    settings = LORA.model_copy(update={"lora_rank": rank})
    reward = RewardModel.create(folder, settings, OptimizerSettings(), num_layers=None, seed=1)
    return RuleModel(reward, RuleNotes(conditional=conditional, rules=tuple(RULES), prompts=prompts))
