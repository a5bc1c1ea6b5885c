"""New special tokens for a model: rows of the embedding and of the head that begin as the mean of the old ones.

As Alpaca did (tatsu-lab/stanford_alpaca, train.py): a new row's logit then is the mean logit of the old rows, where a
random one can be the largest of all. All new rows are equal until they train, and only full fine-tuning
(`model.lora_rank=0`) trains them: adapters leave embedding and head as they are, and `check_end_of_turn` refuses to
teach a model with them to write a token that its head cannot tell from another.

    camelid models add-tokens MODEL --token '<|im_start|>' --token '<|im_end|>' --pad '<|pad|>' --out models/chat
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import AddedToken
from torch import Tensor


def add_special_tokens(model: Any, tokenizer: Any, tokens: Sequence[str], pad: str | None = None) -> dict[str, int]:
    """Add `tokens`, and `pad` as the padding token, to both; returns the new ids by token.

    Raises ValueError, before anything has changed, where a token is there already, is given twice or is blank.
    """
    new = [*tokens, *([pad] if pad is not None else [])]
    vocabulary = tokenizer.get_vocab()
    _check(new, vocabulary)
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in new], special_tokens=True)
    ids = dict(zip(new, tokenizer.convert_tokens_to_ids(new), strict=True))
    if pad is not None:
        tokenizer.pad_token = pad
        model.config.pad_token_id = ids[pad]
    _initialise(model, sorted(vocabulary.values()), list(ids.values()))
    return ids


def check_end_of_turn(head: Tensor, end_of_turn: int, token: str) -> None:
    """Raise ValueError where the frozen `head` (V, H) has another row equal to that of `end_of_turn`.

    Rows that were added, or reserved and never trained, are such; the model would write any of them for any other.
    """
    twins = int((head == head[end_of_turn]).all(-1).sum()) - 1
    if twins:
        raise ValueError(
            f"the end of turn {token!r} has the same row in the output head as {twins} other token(s), and adapters "
            f"do not train the head, so the model could not learn to stop; set model.lora_rank=0 to train all weights, "
            f"or take a chat format whose end of turn has been trained"
        )


def _check(new: Sequence[str], vocabulary: dict[str, int]) -> None:
    if not new:
        raise ValueError("no token to add: name one with --token or --pad")
    for token in new:
        if not token.strip():
            raise ValueError(f"{token!r} is blank, and no token can be")
        if token in vocabulary:
            raise ValueError(f"the tokenizer has {token!r} already (id {vocabulary[token]}); leave it out")
        if new.count(token) > 1:
            raise ValueError(f"{token!r} is given twice")


@torch.no_grad()
def _initialise(model: Any, old: list[int], new: list[int]) -> None:
    """Rows `new` of embedding and head become the mean of rows `old`; both grow where they are too short.

    Many models have more rows than tokens, for even sizes: such rows were never trained, so they are no part of the
    mean and are taken before any is added.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    if max(new) >= rows:
        model.resize_token_embeddings(max(new) + 1, mean_resizing=False)
    head = model.get_output_embeddings()
    matrices = {id(m): m for m in (model.get_input_embeddings().weight, head.weight, head.bias) if m is not None}
    for matrix in matrices.values():  # tied ones come once
        matrix[new] = matrix[[i for i in old if i < rows]].float().mean(0).to(matrix.dtype)
