"""Documents as rows of tokens that all train but the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camelid.functional.windows import Layout, windows
from camelid.models.batch import Row


def document_rows(tokenizer: Any, texts: Sequence[str], length: int, layout: Layout, separator: str = "") -> list[Row]:
    """Windows of `length` tokens. `separator`: a token between joined documents; empty takes the end of sequence.

    Raises ValueError where no window is left, or the separator is no token.
    """
    documents = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    rows = windows(documents, length, layout, _separator(tokenizer, separator))
    if not rows:
        raise ValueError(
            f"{len(documents)} documents of {sum(map(len, documents))} tokens fill no window of {length}; give more "
            f"text, shorten the window, or set layout=joined"
        )
    return [Row(ids, [False] + [True] * (len(ids) - 1)) for ids in rows]


def _separator(tokenizer: Any, text: str) -> int:
    if not text:
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no end of sequence; name a token between documents with separator=")
        return tokenizer.eos_token_id
    if text not in tokenizer.get_vocab():
        raise ValueError(f"separator={text!r} is no token of this model; leave it empty for the end of sequence")
    return tokenizer.get_vocab()[text]
