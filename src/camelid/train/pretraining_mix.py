"""Text of pretraining, or of supervised fine-tuning, in every step beside what is learnt, so that what the model could
do before is not forgotten: PPO-ptx (Ouyang et al. 2022, arXiv:2203.02155, eq. 2 and appendix C.4), and 10% in the
fine-tuning before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from camelid.documents import read_documents
from camelid.functional.sft import sft_loss
from camelid.models.batch import Batch, Row
from camelid.models.document_rows import document_rows
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.train.common import in_turn
from camelid.types import Conversation, iterate_json_lines, read_records


class MixSettings(BaseModel):
    """Text in every step, where the input pretraining is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    coef: float = Field(default=27.8, ge=0)
    """Weight of the text's mean loss a token beside the step's own; InstructGPT took 27.8 beside PPO's."""
    ratio: float = Field(default=8.0, gt=0)
    """Rows of text for each row of the step, at least one a step; InstructGPT took 8 for each rollout."""
    max_tokens: int = Field(default=512, ge=8)
    """Documents are cut into rows of this length, conversations are cut at their end."""


class Mix:
    """Rows of text, drawn pass after pass, each pass in another order."""

    def __init__(self, rows: Sequence[Row], settings: MixSettings, seed: int):
        self.rows = rows
        self.settings = settings
        self.seed = seed

    def add_gradient(self, policy: Policy, step: int, num_rows: int, count: float) -> dict[str, float]:
        """Add the gradient of text for optimizer step `step` (from 0), which trains on `num_rows` rows of its own.

        The step will divide all gradients by `count`, its number of trained tokens; afterwards that of the text is coef
        times the gradient of its own mean loss a token. Returns that loss, in nats.
        """
        size = max(1, round(self.settings.ratio * num_rows))
        rows = [self.rows[i] for i in in_turn(len(self.rows), size, step, self.seed)]
        weight = self.settings.coef * count / sum(int(np.count_nonzero(row.loss_mask)) for row in rows)

        def loss(batch: Batch, outputs: Outputs) -> Loss:
            total, tokens = sft_loss(outputs.logprobs, batch.loss_mask)
            return Loss(weight * total, tokens, {"pretraining_loss": total})

        return {"pretraining_loss": policy.forward_backward(rows, loss)["pretraining_loss"]}


def mix_rows(policy: Policy, files: Sequence[Path], settings: MixSettings) -> list[Row]:
    """Documents (all tokens train) or conversations (the assistant's do), a file may hold either.

    Raises ValueError for a file that holds neither.
    """
    rows: list[Row] = []
    for file in files:
        first = next(iterate_json_lines(file), {})
        if "text" in first:
            rows += document_rows(policy.tokenizer, read_documents([file]), settings.max_tokens, "apart")
        elif "messages" in first:
            rows += [_conversation(policy, c, settings) for c in read_records(file, Conversation)]
        else:
            raise ValueError(f"{file}: rows need `text` or `messages`; convert others with `camelid data convert`")
    return rows


def _conversation(policy: Policy, conversation: Conversation, settings: MixSettings) -> Row:
    try:
        rendered = policy.chat.render(conversation.messages, train_on="assistant", max_tokens=settings.max_tokens)
    except ValueError as error:
        raise ValueError(f"pretraining conversation {conversation.id}: {error}; raise ptx.max_tokens") from error
    return Row(rendered.ids, rendered.loss_mask)
