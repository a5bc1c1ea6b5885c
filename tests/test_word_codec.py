"""Texts encoded by words against the library itself, which is asked text by text."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from camelid.models import word_codec
from camelid.models.word_codec import open_word_codec
from camelid.models.word_merges import MAX_BYTES, open_word_merges
from tiny import SENTENCES

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
SPLITTERS = {
    "plain": BYTES,
    "digits apart": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES]),
}
TRICKY = "ab'sStmdrevlLT  \n\n\t\r129.,!-_é中́\xa0\u3000\u200b\x85\u2028١½Ⅷ𝟙😀\x00\x04<|im_end|>"
texts = st.lists(st.text(st.sampled_from(TRICKY), max_size=30) | st.text(max_size=20), max_size=8)


@cache
def tokenizer(kind: str, all_bytes: bool = True) -> Tokenizer:
    """Trained here; without `all_bytes` it knows only the letters that it saw, as SmolLM2's lacks some bytes."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = SPLITTERS[kind]
    alphabet = pre_tokenizers.ByteLevel.alphabet() if all_bytes else []
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|im_end|>"])
    made.train_from_iterator([*SENTENCES * 3, "it's we're 1999 2024", TRICKY[:30]], trainer)
    made.encode_special_tokens = True
    return made


def check(made: Tokenizer, given: list[str]) -> None:
    codec = open_word_codec(made)
    assert codec is not None
    for _ in range(2):  # the second time it remembers the words
        ids, lengths = codec.encode(given)
        expected = [made.encode(text, add_special_tokens=False).ids for text in given]
        assert lengths.tolist() == [len(own) for own in expected]
        assert ids.tolist() == [id for own in expected for id in own]


@pytest.mark.parametrize("worth_reading", [0, 1 << 60], ids=["merged here", "merged by the library"])
@pytest.mark.parametrize("kind", SPLITTERS)
@pytest.mark.parametrize("all_bytes", [True, False])
@settings(max_examples=40)
@given(given_texts=texts)
def test_ids_are_the_librarys(kind, all_bytes, worth_reading, given_texts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_codec, "WORTH_READING", worth_reading)
        check(tokenizer(kind, all_bytes), given_texts)


@pytest.mark.parametrize("kind", SPLITTERS)
def test_every_character_is_of_the_kind_that_the_library_says(kind):
    codes = [*range(0x400), *range(0x1F00, 0x2100), *range(0x400, 0x20000, 53), *range(0x20000, 0x110000, 4999)]
    codes = [code for code in codes if not 0xD800 <= code < 0xE000]
    check(tokenizer(kind), [f"a{chr(code)}1 {chr(code)}'s\n{chr(code)}" for code in codes])


@pytest.mark.parametrize("worth_reading", [0, 1 << 60])
def test_long_words_and_a_full_memory_change_nothing(monkeypatch, worth_reading):
    monkeypatch.setattr(word_codec, "WORTH_READING", worth_reading)
    monkeypatch.setattr(word_codec, "MAX_WORDS", 3)
    long = "the capital of France" + "thecapital" * MAX_BYTES + "=" * 5 * MAX_BYTES
    check(tokenizer("plain"), [long, "is Paris", "", long[3:], " " * 200, "is Paris"])


def test_tokenizers_of_another_kind_are_refused():
    def changed(**parts) -> Tokenizer:
        made = Tokenizer.from_str(tokenizer("plain").to_str())
        for name, part in parts.items():
            setattr(made, name, part)
        return made

    assert open_word_codec(changed()) is not None
    assert open_word_codec(changed(normalizer=normalizers.NFC())) is None
    assert open_word_codec(changed(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True))) is None
    pattern = pre_tokenizers.Split(Regex(r"\w+|\W+"), "isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert open_word_codec(changed(pre_tokenizer=pre_tokenizers.Sequence([pattern, whole]))) is None
    assert open_word_codec(changed(pre_tokenizer=pattern)) is None
    assert open_word_codec(changed(model=models.BPE(dropout=0.1))) is None
    assert open_word_codec(changed(model=models.WordLevel({"a": 0}, unk_token="a"))) is None
    assert open_word_codec(Tokenizer(models.BPE())) is None


def test_a_model_that_does_more_than_merge_is_left_to_the_library():
    assert open_word_merges(tokenizer("plain").model) is not None
    assert open_word_merges(models.BPE(end_of_word_suffix="</w>")) is None
    assert open_word_merges(models.BPE({"a": 0}, [], ignore_merges=True)) is None
