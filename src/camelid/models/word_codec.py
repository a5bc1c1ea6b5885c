"""Many texts to token ids at once, each different word encoded once: the ids of the `tokenizers` library, sooner.

A byte-level tokenizer cuts a text into words and merges bytes within each, so a word has the same ids wherever it
stands, and a page of text repeats most of its words. Here arrays find the words (`functional/word_starts.py`), Arrow
numbers the different ones, and only those that are new are encoded: by the library, or, where they are many, by its own
merges as arrays (`word_merges.py`). The library is also asked for the kind of each character, so no Unicode table of
ours can differ from its own.

Left out: tokenizers with another pattern than GPT-2's (Llama-3, Qwen) or with a normalizer; `open_word_codec` returns
None for them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from camelid.functional.word_starts import ALONE, LETTER, NUMBER, OTHER, SPACE, word_starts
from camelid.models.word_merges import WordMerges, open_word_merges

MAX_WORDS = 1 << 18
"""Words remembered, some 60 MB; beyond that it starts anew. The 115 MB of ShareGPT hold about 600,000."""
WORTH_READING = 10_000
"""Words for which the library takes as long as reading its merges takes here."""
UNKNOWN = 255


def open_word_codec(tokenizer: Any) -> WordCodec | None:
    """A codec with the ids of this `tokenizers.Tokenizer`, or None where its words cannot be told by GPT-2's pattern.

    The tokenizer must not recognise added tokens in the texts that `encode` gets; that is the caller's care.
    """
    if tokenizer.normalizer or type(tokenizer.model).__name__ != "BPE" or tokenizer.model.dropout:
        return None
    splitter = json.loads(tokenizer.pre_tokenizer.__getstate__()) if tokenizer.pre_tokenizer else {}
    steps = splitter.get("pretokenizers", [splitter])
    if steps[0].get("type") == "Digits" and steps[0]["individual_digits"]:
        steps = steps[1:]
    plain = [s.get("type") == "ByteLevel" and s["use_regex"] and not s["add_prefix_space"] for s in steps]
    return WordCodec(tokenizer) if plain == [True] else None


class WordCodec:
    """Encodes batches of texts; may be used from several threads."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._ids: dict[str, bytes] = {}  # a word's ids as int32
        self._merges: WordMerges | None = None
        self._opened = False
        self._num_asked = 0
        self._lock = threading.Lock()
        self._kinds = np.full(0x110000, UNKNOWN, dtype=np.uint8)
        self._learn_kinds(range(128))

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The ids of all texts laid end to end, and the number of each text's ids, without special tokens."""
        if not texts:
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
        encoded = [text.encode() for text in texts]
        data = np.frombuffer(b"\0".join(encoded) + b"\0", dtype=np.uint8)
        ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(texts)) + 1) - 1
        kinds = self._kinds_of(data)
        kinds[ends] = ALONE
        starts = word_starts(data, kinds)
        numbers, words = _numbered(data, starts)
        known = self._look_up(words)
        sizes = np.fromiter(map(len, known), dtype=np.int64, count=len(known)) // 4
        counts = sizes[numbers]  # ids of each word in the texts
        last_words = np.searchsorted(starts, ends)
        counts[last_words] = 0  # what stands between the texts
        ids = np.frombuffer(b"".join(known), dtype=np.int32)
        total = np.cumsum(counts)
        # Word k's ids are at first[number]..., and go to total[k] - counts[k]...
        first = np.cumsum(sizes) - sizes
        places = np.repeat(first[numbers] - total + counts, counts) + np.arange(total[-1])
        return ids[places], np.diff(total[last_words], prepend=0)

    def _look_up(self, words: list[str]) -> list[bytes]:
        with self._lock:
            known = list(map(self._ids.get, words))
        new = [word for word, ids in zip(words, known, strict=True) if ids is None]
        if not new:
            return known  # type: ignore[return-value]
        merges = self._merges_for(len(new))
        found = merges.encode(new) if merges else {}
        others = [word for word in new if word not in found]
        encodings = self._tokenizer.encode_batch(others, add_special_tokens=False)
        found |= {word: np.array(e.ids, dtype=np.int32).tobytes() for word, e in zip(others, encodings, strict=True)}
        with self._lock:
            if len(self._ids) + len(found) > MAX_WORDS:
                self._ids.clear()
            self._ids.update(found)
        return [found[word] if ids is None else ids for word, ids in zip(words, known, strict=True)]

    def _merges_for(self, num_words: int) -> WordMerges | None:
        """The tokenizer's merges, once it was asked for so many words that reading them is worth the time."""
        with self._lock:
            self._num_asked += num_words
            if self._num_asked >= WORTH_READING and not self._opened:
                self._merges, self._opened = open_word_merges(self._tokenizer.model), True
            return self._merges

    def _kinds_of(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(N,) the kind of the character that each byte belongs to."""
        kinds = self._kinds[data]  # right for ASCII
        leads = np.flatnonzero(data >= 0xC0)
        if not len(leads):
            return kinds
        lengths = 2 + (data[leads] >= 0xE0) + (data[leads] >= 0xF0)
        codes = (data[leads] & (0xFF >> (lengths + 1))).astype(np.int64)
        for further in range(1, 4):
            here = lengths > further
            codes[here] = codes[here] << 6 | (data[leads[here] + further] & 0x3F)
        if (self._kinds[codes] == UNKNOWN).any():
            self._learn_kinds(np.unique(codes[self._kinds[codes] == UNKNOWN]).tolist())
        for further in range(4):
            here = lengths > further
            kinds[leads[here] + further] = self._kinds[codes[here]]
        return kinds

    def _learn_kinds(self, codes: Iterable[int]) -> None:
        """Ask the tokenizer what it joins these characters to."""
        split = self._tokenizer.pre_tokenizer.pre_tokenize_str
        for code in codes:
            character = chr(code)
            beside = {LETTER: "a", OTHER: "!", SPACE: "\n", NUMBER: character}
            joined = (kind for kind, left in beside.items() if len(split(left + character)) == 1)
            self._kinds[code] = next(joined, ALONE)


def _numbered(data: NDArray[np.uint8], starts: NDArray[np.int64]) -> tuple[NDArray[np.int32], list[str]]:
    """The number of each word, and the different words in the order of their numbers."""
    offsets = np.append(starts, len(data)).astype(np.int32)
    words = pa.StringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(data)).dictionary_encode()
    return words.indices.to_numpy(), words.dictionary.to_pylist()
