"""How many tokens texts have, counted many at a time; and which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from camelid.models.loading import tokenizer_folder
from camelid.models.text_codec import TextCodec

CHUNK_CHARACTERS = 2 << 20


class TokenCounts:
    """A model's tokenizer, asked for lengths only."""

    def __init__(self, model: Path):
        tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder(model), trust_remote_code=False)
        self._codec = TextCodec(tokenizer)

    def of(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as somebody's words: control tokens in it are plain characters."""
        return [number for chunk in _chunks(texts) for number in self._of_chunk(chunk)]

    def _of_chunk(self, texts: Sequence[str]) -> list[int]:
        encoded = self._codec.contents(texts)
        if encoded is not None:
            return [int(number) for number in encoded[1]]
        return [len(self._codec.content(text, fresh=True)) for text in texts]


def token_ids(model: Path) -> Callable[[str], list[int]]:
    """What a model's tokenizer makes of a text, without the tokens that it adds by itself."""
    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder(model), trust_remote_code=False)
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = characters = 0
    for i, text in enumerate(texts):
        characters += len(text)
        if characters >= CHUNK_CHARACTERS:
            yield texts[start : i + 1]
            start, characters = i + 1, 0
    if start < len(texts):
        yield texts[start:]
