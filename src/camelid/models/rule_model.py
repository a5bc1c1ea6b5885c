"""A rule model: P(a rule is broken) of a rule's text and a dialogue, by one model for all rules.

It is a reward model whose score is a logit (`reward_model.py`). The rule comes last, as a user's turn of our own after
the answer, through the chat format: whatever a user or an answer says stands before it, so no text of theirs can take
its place, and what an answer's rows under several rules have in common is computed once. The general classifier, for
comparison, reads the dialogue without a rule (Glaese et al. 2022, arXiv:2209.14375, found 0.85 against 0.77 AUC; where
the rule stands in the text is our choice).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from camelid.durable import write_json
from camelid.models.batch import Row
from camelid.models.chat import ChatFormat, ChatFormatError, load_chat_format
from camelid.models.loading import tokenizer_folder, weights_folder
from camelid.models.model_settings import ModelSettings
from camelid.models.reward_model import RewardModel
from camelid.models.rule_notes import NOTES, RuleNotes, rule_turn
from camelid.models.too_long import Reader
from camelid.types import Message, Messages, Rule


def rule_ids(
    chat: ChatFormat, prompt: Sequence[Message], completion: str, rule: Rule, max_tokens: int | None = None
) -> list[int]:
    """Tokens of prompt, completion and rule. Beyond `max_tokens` the completion loses its end, the rule nothing.

    Raises ChatFormatError where nothing of the completion would be left.
    """
    asked = (*prompt, Message(role="assistant", content=completion), rule_turn(rule))
    ids = chat.prompt_ids(asked)
    if max_tokens is None or len(ids) <= max_tokens:
        return ids
    mask = chat.render(asked, train_on="last").loss_mask
    start, end = mask.index(True), len(mask) - 1 - mask[::-1].index(True)  # of the completion; `end` its end of turn
    kept = end - (len(ids) - max_tokens)
    if kept <= start:
        raise ChatFormatError(f"{max_tokens} tokens leave no room for an answer beside its prompt and the rule")
    return ids[:kept] + ids[end:]


def rule_reader(path: Path, chat_format: str) -> Reader:
    """Who reads prompts and answers for a rule model: its context, less what its longest rule takes."""
    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder(path), trust_remote_code=False)
    chat = load_chat_format(tokenizer, chat_format)
    context = AutoConfig.from_pretrained(weights_folder(path), trust_remote_code=False).max_position_embeddings
    said = (Message(role="user", content="a"),)
    room = [len(rule_ids(chat, said, "a", rule)) - len(chat.prompt_ids(said)) for rule in RuleNotes.read(path).rules]
    return Reader(chat, context - max(room))


class RuleModel:
    """A reward model that reads rules, and what it has learnt."""

    def __init__(self, reward: RewardModel, notes: RuleNotes):
        self.reward = reward
        self.notes = notes

    @classmethod
    def load(cls, path: Path, settings: ModelSettings | None = None, chat_format: str = "model") -> RuleModel:
        """A trained one, to judge with. Raises ValueError for a reward model that is none."""
        notes = RuleNotes.read(path)
        return cls(RewardModel.load(path, settings, chat_format), notes)

    @property
    def context(self) -> int:
        return int(self.reward.model.config.max_position_embeddings)

    def row(self, prompt: Sequence[Message], completion: str, rule: Rule, max_tokens: int | None = None) -> Row:
        """What is read of an answer under a rule; without one, where the model is general. Empty answers are a space.

        No token of it trains: the loss is at the last one's state.
        """
        if self.notes.conditional:
            ids = rule_ids(self.reward.chat, prompt, completion or " ", rule, max_tokens)
        else:
            ids = list(self.reward.row(prompt, completion or " ", max_tokens).ids)
        return Row(ids, [False] * len(ids))

    def probabilities(
        self,
        prompts: Sequence[Messages],
        completions: Sequence[str],
        rules: Sequence[Rule],
        tick: Callable[[int], None] = lambda rows: None,
    ) -> Tensor:
        """P(broken), (N,) float32 on the CPU: of each answer under the rule in its place.

        Raises ValueError for an answer that does not fit into the model's context together with its rule.
        """
        rows = [self.row(*one) for one in zip(prompts, completions, rules, strict=True)]
        longest = max((len(row.ids) for row in rows), default=0)
        if longest > self.context:
            raise ValueError(
                f"an answer with its prompt and a rule has {longest:,} tokens, more than the rule model's context of "
                f"{self.context:,}: shorten the conversation, or lower max_new_tokens"
            )
        return torch.sigmoid(self.reward.score(rows, tick))

    def violations(self, prompts: Sequence[Messages], completions: Sequence[str], rules: Sequence[Rule]) -> Tensor:
        """P(broken), (N, R): of each answer under every rule."""
        n, r = len(prompts), len(rules)
        each = [i for i in range(n) for _ in range(r)]
        found = self.probabilities([prompts[i] for i in each], [completions[i] for i in each], [*rules] * n)
        return found.view(n, r)

    def save(self, folder: Path, card: str) -> None:
        """As a reward model, with the notes in it and, where adapters are saved alone, in those too."""
        self.reward.save(folder, card)
        for place in (folder, *self._adapter_folder(folder)):
            write_json(place / NOTES, self.notes.model_dump(mode="json"))

    def _adapter_folder(self, folder: Path) -> Iterable[Path]:
        beside = folder.parent / "adapter"
        return [beside] if self.reward.settings.save_adapter and beside.is_dir() else []
