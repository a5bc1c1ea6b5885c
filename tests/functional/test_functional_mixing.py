"""How many rows each source gives, by hand."""

import pytest

from camelid.functional.mixing import mixture_sizes


def test_the_scarcest_source_sets_the_size():
    assert mixture_sizes({"a": 100, "b": 30}, {"a": 1, "b": 1}) == {"a": 30, "b": 30}
    assert mixture_sizes({"a": 100, "b": 30}, {"a": 0.9, "b": 0.1}) == {"a": 100, "b": 11}  # 100 / 9
    assert mixture_sizes({"a": 100, "b": 30}, {"a": 3, "b": 1}, max_rows=40) == {"a": 30, "b": 10}
    assert mixture_sizes({"a": 100, "b": 30}, {"a": 3, "b": 1}, max_rows=4000) == {"a": 90, "b": 30}


def test_llama_2s_mixtures():
    helpful = {"helpful": 1, "rest": 1}
    assert mixture_sizes({"helpful": 50, "rest": 200}, helpful, whole="helpful") == {"helpful": 50, "rest": 50}
    assert mixture_sizes({"helpful": 50, "rest": 20}, helpful, whole="helpful") == {"helpful": 50, "rest": 20}
    assert mixture_sizes({"safety": 90, "helpful": 999}, {"safety": 9, "helpful": 1}, whole="safety") == {
        "safety": 90,
        "helpful": 10,
    }


@pytest.mark.parametrize(
    ("available", "weights", "more", "message"),
    [
        ({"a": 1}, {"b": 1}, {}, "weights are given for b, and the sources are a"),
        ({"a": 1}, {}, {}, "weights are given for nothing"),
        ({"a": 1}, {"a": 0}, {}, "source a has weight 0"),
        ({"a": 1}, {"a": float("nan")}, {}, "source a has weight nan"),
        ({"a": 0}, {"a": 1}, {}, "source a has no row left"),
        ({"a": 1}, {"a": 1}, {"whole": "c"}, "whole = 'c' is no source; there are a"),
        ({"a": 9}, {"a": 1}, {"whole": "a", "max_rows": 3}, "max_rows = 3 would cut the source 'a'"),
    ],
)
def test_what_makes_no_mixture_is_an_error(available, weights, more, message):
    with pytest.raises(ValueError, match=message):
        mixture_sizes(available, weights, **more)
