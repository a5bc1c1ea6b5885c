"""Stop strings across tokens, and text that is shown as it grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camelid.models.engine import Engine, Request
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.models.written import TextStream, before_stop, has_stop


def decode(ids) -> str:
    """Tokens are bytes; 0 is a control token."""
    return bytes(i for i in ids if i).decode("utf-8", "replace")


def test_a_stop_string_is_found_across_tokens_and_control_tokens():
    assert has_stop(decode, [*b"long before ###", 0, *b" En", 0, *b"d"], ["### End"])
    assert not has_stop(decode, list(b"### En"), ["### End"])
    assert not has_stop(decode, list(b"anything"), [])
    assert before_stop("a\nb###", ["###", "\n"]) == "a"
    assert before_stop("a", ["b"]) == "a"


@given(
    st.text(alphabet="ab#\nñ漢", max_size=30), st.lists(st.text(alphabet="ab#\nñ", min_size=1, max_size=4), max_size=3)
)
def test_pieces_together_are_the_text_before_the_first_stop(text, stops):
    stream, shown = TextStream(decode, stops), ""
    for number, byte in enumerate(text.encode()):
        piece = stream.add(byte)
        assert "\N{REPLACEMENT CHARACTER}" not in piece
        shown += piece
        assert text.startswith(shown)
        if has_stop(decode, list(text.encode())[: number + 1], stops):
            break
    assert shown + stream.finish() == before_stop(decode(stream.ids), stops)


def test_a_row_ends_at_its_stop_string_and_its_neighbours_do_not(tied_llama):
    policy = Policy.load(tied_llama, ModelSettings(precision="float32"))
    plain = policy.sample([[5, 6, 7]], Sampling(max_new_tokens=30), seed=3, num_samples=2)[0]
    text = policy.text_of(plain[0].ids)
    stop = policy.text_of(plain[0].ids[8:11])  # of three tokens
    assert len(stop) > 1 and stop not in policy.text_of(plain[1].ids)
    cut = policy.sample([[5, 6, 7]], Sampling(max_new_tokens=30, stop=(stop,)), seed=3, num_samples=2)[0]
    written = policy.text_of(cut[0].ids)
    assert cut[0].finished and stop in written and before_stop(written, [stop]) == before_stop(text, [stop])
    assert cut[0].ids == plain[0].ids[: len(cut[0].ids)]
    assert stop not in policy.text_of(cut[0].ids[:-1])  # not a token later than it must
    assert cut[1].ids == plain[1].ids


def test_an_engine_that_cannot_read_says_so_to_who_wants_stop_strings(tied_llama):
    policy = Policy.load(tied_llama, ModelSettings(precision="float32"))
    engine = Engine(policy.trunk, policy.model.get_output_embeddings(), [])
    engine.add(Request([1, 2], Sampling(stop=("x",)), [0]))
    assert "made without `decode`" in engine.step()[0].end
    with pytest.raises(ValueError, match="at least 1 character"):
        Sampling(stop=("",))
