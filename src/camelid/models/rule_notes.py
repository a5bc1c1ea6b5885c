"""What a rule model reads of a rule, and what its folder says of it. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from camelid.types import Message, Rule, reasons

NOTES = "rule_model.json"
"""The file that tells a rule model from any other reward model."""


class RuleNotes(BaseModel):
    """What a rule model's folder says of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conditional: bool
    """Whether it reads the rule; the general classifier does not."""
    rules: tuple[Rule, ...]
    """Those that it has learnt."""
    prompts: tuple[str, ...]
    """Names of the prompts that it has learnt from (`types.prompt_name`), sorted: a judge must not share them."""

    @classmethod
    def read(cls, folder: Path) -> RuleNotes:
        """Raises ValueError for a folder that is no rule model's."""
        path = folder / NOTES
        if not path.exists():
            raise ValueError(f"{folder} is no rule model: it has no {NOTES}; `camelid rules` trains one")
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise ValueError(f"{path}: {reasons(error)}") from None

    def check_apart(self, judge: RuleNotes) -> None:
        """Raises ValueError where a judge has learnt from prompts that this model has learnt from."""
        shared = len(set(self.prompts) & set(judge.prompts))
        if shared:
            raise ValueError(
                f"the judge has learnt from {shared} of the {len(self.prompts)} prompts of the rule model that it is "
                f"to judge, so it would repeat its errors: train the two with part=first and part=second"
            )


def rule_turn(rule: Rule) -> Message:
    """The last turn that a rule model reads."""
    return Message(
        role="user", content=f"Rule for the assistant: {rule.text}\nDoes the assistant's last answer break this rule?"
    )
