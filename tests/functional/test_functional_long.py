"""Windows of documents and the base of rotary positions, by hand."""

from __future__ import annotations

import pytest

from camelid.functional.rope import ntk_base
from camelid.functional.windows import windows

DOCUMENTS = [[1, 2, 3, 4, 5], [6], [7, 8, 9]]


def test_documents_apart_keep_their_ends_where_they_are_long_enough():
    assert windows(DOCUMENTS, 2, "apart", 0, least=2) == [[1, 2], [3, 4], [7, 8]]
    assert windows(DOCUMENTS, 3, "apart", 0, least=1) == [[1, 2, 3], [4, 5], [6], [7, 8, 9]]
    assert windows(DOCUMENTS, 3, "apart", 0) == [[1, 2, 3], [7, 8, 9]]  # `least` is no more than a whole window


def test_joined_documents_fill_windows_with_a_separator_after_each():
    assert windows(DOCUMENTS, 4, "joined", 0) == [[1, 2, 3, 4], [5, 0, 6, 0], [7, 8, 9, 0]]
    assert windows(DOCUMENTS, 5, "joined", 0) == [[1, 2, 3, 4, 5], [0, 6, 0, 7, 8]]  # 9, 0 fill no window


def test_a_window_that_predicts_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least 2"):
        windows(DOCUMENTS, 1, "joined", 0)


def test_the_base_slows_the_slowest_pair_by_the_factor():
    """d = 4: pairs turn by 1 and b^(-1/2). b = 10,000, s = 4: b' = 10,000 * 4^2 = 160,000; 1/100 becomes 1/400."""
    assert ntk_base(10_000, 4, 4) == pytest.approx(160_000)
    for width, base, factor in ((64, 1e5, 2), (128, 5e5, 8)):
        slowest = -(width - 2) / width
        assert ntk_base(base, factor, width) ** slowest == pytest.approx(base**slowest / factor)
    assert ntk_base(1e4, 1, 64) == 1e4
    with pytest.raises(ValueError, match="one frequency"):
        ntk_base(1e4, 2, 2)
