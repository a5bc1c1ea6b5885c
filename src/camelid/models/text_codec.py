"""Text to token ids and back, piece by piece, such that the pieces' ids make up those of the whole text.

Two encodings: control text, in which special tokens are tokens, and contents, in which they are plain characters, so
that a user's '<|im_end|>' never ends a turn. Tokenizers of the SentencePiece family put a blank before a text's first
word; for a piece from the middle they are given a newline first, whose ids are taken away again (as transformers does).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from camelid.models.skeleton import ChatFormatError
from camelid.models.word_codec import open_word_codec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ANCHOR = "\n"


class TextCodec:
    """A tokenizer, seen as two encoders and a decoder."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self._tokenizer = tokenizer
        # A copy, because `split_special_tokens=True` switches the shared tokenizer's state: another thread could
        # encode a user's text in between. It is also twice as fast as the call through transformers.
        self._plain = copy.deepcopy(tokenizer.backend_tokenizer)
        self._plain.no_truncation()
        self._plain.no_padding()
        self._plain.encode_special_tokens = True
        # An unknown character's token stands for somebody's text, not for control.
        unknown = {tokenizer.unk_token_id} - {tokenizer.bos_token_id, tokenizer.eos_token_id}
        added = {id: str(token) for id, token in tokenizer.added_tokens_decoder.items()}
        self.tokens: dict[int, str] = {id: text for id, text in added.items() if text.strip() and id not in unknown}
        """Control tokens by id: all added tokens but runs of white space. Some models' end of turn is not 'special'."""
        separate = self._encode(ANCHOR) + self._encode("a")
        self._anchor = [] if self._encode(ANCHOR + "a") == separate else self._encode(ANCHOR)
        token = next(iter(self.tokens.values()), "")
        self._fresh_after_tokens = bool(self._anchor) and self._encode(token + "a")[1:] == self._encode("a")
        self._control: dict[tuple[str, bool], list[int]] = {}
        self._is_token = np.zeros(1 + max(tokenizer.get_vocab().values()), dtype=bool)
        self._is_token[list(self.tokens)] = True
        self._words = None if self._anchor else open_word_codec(self._plain)
        # Without `special` they are found in plain text too.
        self._findable = [str(token) for token in tokenizer.added_tokens_decoder.values() if not token.special]

    def is_fresh_after(self, id: int | None) -> bool:
        """Whether text after this token (None: after nothing) is encoded as a text of its own, not as a continuation.

        LLaMA's tokenizer puts its blank after every control token too, newer ones of its kind only at the very start.
        """
        return id is None or (self._fresh_after_tokens and id in self.tokens)

    def control(self, text: str, *, fresh: bool) -> list[int]:
        """Ids of a template's own text; special tokens in it are tokens."""
        key = (text, fresh)
        if key not in self._control:
            self._control[key] = self._encode(text) if fresh else self._continue(text, self._encode)
        return self._control[key]

    def content(self, text: str, *, fresh: bool) -> list[int]:
        """Ids of somebody's text; no control token is among them, whatever the text says."""
        ids = self._encode_plain(text) if fresh else self._continue(text, self._encode_plain)
        if not self.tokens.keys() & ids:
            return ids
        # An added token that is not marked as special (then it is not split), such as some fine-tunes' end of turn.
        ids = self._without_added_tokens(text) if fresh else self._continue(text, self._without_added_tokens)
        forged = self.tokens.keys() & ids
        if forged:
            raise ChatFormatError(
                f"the tokenizer makes the control token {self.tokens[min(forged)]!r} out of plain text, "
                f"so that a user could forge turns; mark it as special in tokenizer.json, or drop the row"
            )
        return ids

    def contents(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]] | None:
        """What `content` gives for each text, laid end to end, and the number of each text's ids.

        None where only `content` can tell: what stands before a text matters, or a text holds an added token's text.
        """
        if self._anchor or any(token in text for token in self._findable for text in texts):
            return None
        try:
            ids, lengths = self._words.encode(texts) if self._words else self._in_batch(texts)
        except (UnicodeEncodeError, TypeError):  # half a surrogate pair, which no tokenizer takes
            return None
        return None if self._is_token[ids].any() else (ids, lengths)

    def starts_with_token(self, text: str) -> bool:
        """Whether a control text begins with a control token."""
        return bool(text) and self.control(text, fresh=False)[0] in self.tokens

    def decode(self, ids: Sequence[int], *, fresh: bool = False) -> str:
        """The text of a piece, special tokens written out."""
        anchor = [] if fresh else self._anchor  # keeps the blank before the first word
        text = self._tokenizer.decode([*anchor, *ids], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text).removeprefix(ANCHOR) if anchor else str(text)

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=False)

    def _in_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """By the library, on all cores."""
        encodings = self._plain.encode_batch(texts, add_special_tokens=False)
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        return np.array([id for encoding in encodings for id in encoding.ids], dtype=np.int32), lengths

    def _encode_plain(self, text: str) -> list[int]:
        return self._plain.encode(text, add_special_tokens=False).ids

    def _without_added_tokens(self, text: str) -> list[int]:
        """The tokenizer's pipeline without its added tokens."""
        if self._plain.normalizer:
            text = self._plain.normalizer.normalize_str(text)
        splitter: Any = self._plain.pre_tokenizer
        words = [word for word, _ in splitter.pre_tokenize_str(text)] if splitter else [text]
        return [token.id for word in words for token in self._plain.model.tokenize(word)]

    def _continue(self, text: str, encode: Any) -> list[int]:
        """Ids of a text that continues another one."""
        if not self._anchor:
            return encode(text)
        ids = encode(ANCHOR + text)
        if ids[: len(self._anchor)] == self._anchor:
            return ids[len(self._anchor) :]
        return encode(text)  # a special token that takes the white space before it away
