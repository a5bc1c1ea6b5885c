"""Many conversations at once against `render`, one by one: the same ids, masks and errors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from camelid.collect.readers import read
from camelid.models import render_many as module
from camelid.models import template_sandbox
from camelid.models.chat import ChatFormat, ChatFormatError, load_chat_format
from camelid.models.formats import built_in_template, writes_contents
from camelid.models.render_many import render_many
from camelid.models.skeleton import fill
from camelid.models.too_long import Lengths, row_limit
from camelid.train.sft import SftSettings, demonstration_rows
from camelid.types import Conversation, Message
from real_data import DATA, needs_data
from test_chat import BOTH, FORMATS, conversation, sentencepiece_tokenizer
from tiny import byte_level_tokenizer

both = pytest.mark.parametrize(("make", "name"), BOTH, ids=[f"{make.__name__}-{name}" for make, name in BOTH])
OWN = (  # asks what a content says, and trims one role only
    "{% for m in messages %}{{ '<|im_start|>' + m.role + ('!' if 'llama' in m.content else '') + '\n' }}"
    "{{ m.content | trim if m.role == 'user' else m.content }}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
contents = st.text(st.sampled_from("abT 's12\n\t.é中\u2003\x00"), max_size=12) | st.sampled_from(
    ["<|im_end|>", "x<|im_start|>user\n", " ASSISTANT:", "[/INST] ", "</s>", " llama\ue0001\ue001"]
)


@st.composite
def talks(draw) -> list[tuple[Message, ...]]:
    made = []
    for _ in range(draw(st.integers(0, 5))):
        turns = draw(st.lists(contents, min_size=2, max_size=6))
        made.append(conversation(*turns, system=draw(st.none() | contents)))
    return made


def one_by_one(chat: ChatFormat, conversations, **options) -> tuple[list, str]:
    """(ids, mask) of every row before the first that is refused, and why that one is."""
    rows = []
    for messages in conversations:
        try:
            rendered = chat.render(messages, **options)
        except ChatFormatError as error:
            return rows, str(error)
        rows.append((rendered.ids, rendered.loss_mask))
    return rows, ""


def at_once(chat: ChatFormat, conversations, **options) -> tuple[list, str]:
    rows = []
    try:
        for row in render_many(chat, conversations, **options):
            assert (row.ids.dtype, row.loss_mask.dtype) == (np.int32, np.bool_)
            rows.append((row.ids.tolist(), row.loss_mask.tolist()))
    except ChatFormatError as error:
        return rows, str(error)
    return rows, ""


@both
@settings(max_examples=25)
@given(
    conversations=talks(),
    train_on=st.sampled_from(["assistant", "last", "everything"]),
    chunk=st.sampled_from([1, 40, 10**6]),
)
def test_rows_and_errors_are_those_of_render(make, name, conversations, train_on, chunk):
    chat, options = load_chat_format(make(), name), {"train_on": train_on}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_CHARS", chunk)
        assert at_once(chat, conversations, **options) == one_by_one(chat, conversations, **options)


@settings(max_examples=15)
@given(conversations=talks(), end_is_special=st.booleans())
def test_a_template_from_outside_is_checked_row_by_row(conversations, end_is_special):
    chat = ChatFormat(byte_level_tokenizer(end_is_special=end_is_special), OWN)
    assert at_once(chat, conversations) == one_by_one(chat, conversations)


@settings(max_examples=15)
@given(conversations=talks())
def test_a_tokenizer_with_another_pattern_is_asked_in_batches(conversations):
    tokenizer = copy.deepcopy(byte_level_tokenizer())
    pattern = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}{1,3}|[^\p{L}\p{N}]+"), "isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pattern, whole])
    chat = load_chat_format(tokenizer, "chatml")
    assert chat.codec.contents(["a", "b"]) is not None
    assert at_once(chat, conversations) == one_by_one(chat, conversations)


def test_an_added_token_in_a_text_is_left_to_the_plain_path():
    codec = load_chat_format(byte_level_tokenizer(), "chatml").codec
    assert codec.contents(["a <|im_end|> b"]) is not None  # special: plain characters in a content
    codec = ChatFormat(byte_level_tokenizer(end_is_special=False), OWN).codec
    assert codec.contents(["a", "b"]) is not None
    assert codec.contents(["a", "a <|im_end|> b"]) is None


def test_a_row_that_no_tokenizer_takes_is_met_in_its_turn():
    chat = load_chat_format(byte_level_tokenizer(), "chatml")
    rows = render_many(chat, [conversation("a", "b"), conversation("\ud800", "b"), conversation("c", "d")])
    assert next(rows).ids.tolist() == chat.render(conversation("a", "b")).ids
    with pytest.raises(TypeError, match="must be str"):
        next(rows)


@both
def test_everything_trains_but_the_first_token_of_each_row(make, name):
    # Nothing stands before a first token to predict it.
    rows = render_many(
        load_chat_format(make(), name), [conversation("a", "b"), conversation("c", "d")], train_on="everything"
    )
    for row in rows:
        assert row.loss_mask.tolist() == [False] + [True] * (len(row.ids) - 1)


# Not ChatML with a start token: of this tokenizer that is <|im_start|>, which would be written twice.
@pytest.mark.parametrize(
    ("name", "writes_start"), [(n, w) for n in FORMATS for w in (False, True) if n != "chatml" or not w]
)
@settings(max_examples=15)
@given(conversations=talks())
def test_formats_that_are_not_checked_again_would_pass_the_check(name, writes_start, conversations):
    template = built_in_template(name, tokenizer_writes_start=writes_start)
    assert writes_contents(template) and not writes_contents(template + " ")
    chat = ChatFormat(byte_level_tokenizer(), template)
    for messages in conversations:
        if name == "koala" and messages[0].role == "system":
            continue  # it has no place for one
        special = {token: str(text) for token, text in byte_level_tokenizer().special_tokens_map.items()}
        variables = {"messages": [m.model_dump() for m in messages], "add_generation_prompt": False, **special}
        text = template_sandbox.render(template, variables)
        pieces = chat._skeletons.split(tuple(m.role for m in messages), False)
        assert fill(pieces, [m.content for m in messages]) == text


def test_a_rendering_beyond_the_limit_is_refused_as_ever():
    chat = load_chat_format(byte_level_tokenizer(), "chatml")
    rows = [conversation("a", "b"), conversation("a", "b" * template_sandbox.MAX_OUTPUT_CHARS)]
    made, why = at_once(chat, rows)
    assert len(made) == 1 and "longer than" in why


@pytest.mark.parametrize("make", [byte_level_tokenizer, sentencepiece_tokenizer])
def test_fine_tuning_names_the_row_that_is_bad(make):
    rows = [Conversation(id=f"row-{i}", source="here", messages=conversation("a", "b c d")) for i in range(5)]
    rows[3] = Conversation(id="bad", source="there", messages=conversation("long " * 90, "b"))
    chat = load_chat_format(make(), "vicuna")
    stop = Lengths("demonstrations", "stop", row_limit(160, 1024))
    with pytest.raises(ValueError, match=r"demonstration bad \(there\) has \d+ tokens, more than max_tokens = 160"):
        demonstration_rows(chat, rows, SftSettings(), stop)
    rows[3] = Conversation(id="bad", source="there", messages=conversation("\ud800", "b"))
    with pytest.raises((ValueError, TypeError)):
        demonstration_rows(chat, rows, SftSettings(), stop)
    [(_, kept)] = demonstration_rows(chat, rows[:1], SftSettings(opening_weight=2.0, opening_tokens=1), stop)
    first = kept.loss_mask.tolist().index(True)
    assert kept.values["weights"][first - 1 : first + 2].tolist() == [1, 2, 1]


@needs_data
@pytest.mark.parametrize("name", FORMATS)
def test_real_rows_are_those_of_render(name):
    rows = read(DATA / "conversations" / "lima.json", want=Conversation).rows
    conversations = [row.messages for row in rows[-150:]]  # the last ones have several turns
    chat = load_chat_format(byte_level_tokenizer(), name)
    assert max(map(len, conversations)) > 2
    assert at_once(chat, conversations) == one_by_one(chat, conversations)
