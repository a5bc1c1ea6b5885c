"""Runs of LLaMA-2's kind: planted ones are found, token by token, and equal to a search of all alignments."""

from hypothesis import given
from hypothesis import strategies as st

from camelid.functional.contamination import overlaps


def words(n: int, prefix: str = "w") -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


def by_brute_force(item, text) -> tuple[int, bool]:
    """Contaminated tokens and the run of 13, by trying every alignment and every start."""
    marked, exact = set(), False
    for p in range(len(item)):
        for q in range(len(text)):
            if item[p : p + 10] != text[q : q + 10] or len(item[p : p + 10]) < 10:
                continue
            exact |= len(item[p : p + 13]) == 13 and item[p : p + 13] == text[q : q + 13]
            skipped, k, same, run = 0, 0, [], []
            while p + k < len(item) and q + k < len(text) and skipped <= 4:
                if item[p + k] == text[q + k]:
                    same.append(p + k)
                    run = [*same]
                    length = k + 1
                else:
                    skipped += 1
                k += 1
            if length > 10:
                marked |= set(run)
    return len(marked), exact


def test_an_item_inside_a_training_text_is_dirty():
    item = words(20)
    (found,) = overlaps([item], [words(5, "x"), [*words(3, "y"), *item, *words(3, "z")]])
    assert (found.num_tokens, found.contaminated, found.has_exact_run, found.rows) == (20, 20, True, (1,))
    assert found.dirty
    assert not found.clean


def test_ten_equal_tokens_are_too_few_and_eleven_are_enough():
    text = words(30)
    ten, eleven = overlaps([[*text[:10], "?", *words(9, "x")], [*text[:11], *words(9, "x")]], [text])
    assert (ten.contaminated, ten.rows) == (0, ())
    assert (eleven.contaminated, eleven.rows) == (11, (0,))
    assert not eleven.has_exact_run  # GPT-3's measure wants 13


def test_up_to_four_tokens_may_differ_after_the_tenth():
    text = words(40)
    item = [word if i not in (12, 15, 18, 21) else "other" for i, word in enumerate(text[:30])]
    (found,) = overlaps([item], [text])
    assert found.contaminated == 26  # 30 less the four that the training text lacks
    item[24] = "fifth"  # ends the run behind token 23: 24 tokens less four
    (found,) = overlaps([item], [text])
    assert found.contaminated == 20


def test_a_run_does_not_cross_from_one_training_text_into_the_next():
    item = words(14)
    (found,) = overlaps([item], [item[:7], item[7:]])
    assert found.contaminated == 0


def test_a_run_does_not_cross_from_one_item_into_the_next():
    text = words(14)
    assert [o.contaminated for o in overlaps([text[:7], text[7:]], [text])] == [0, 0]


def test_rows_are_named_from_the_one_that_holds_most():
    item = words(30)
    (found,) = overlaps([item], [item[:12], item[:11], item])
    assert found.rows == (2, 0, 1)


def test_empty_and_short_items_share_nothing():
    assert [o.share for o in overlaps([[], ["w0"]], [words(20), []])] == [0.0, 0.0]
    assert overlaps([words(20)], [["a"]])[0].contaminated == 0


@given(
    st.lists(st.sampled_from("ab"), min_size=10, max_size=26),
    st.lists(st.sampled_from("ab"), min_size=10, max_size=26),
)
def test_equals_the_search_of_all_alignments(item, text):
    (found,) = overlaps([item], [text])
    assert (found.contaminated, found.has_exact_run) == by_brute_force(item, text)


@given(st.lists(st.integers(0, 40), max_size=5), st.data())
def test_equals_the_search_where_a_copy_is_changed(changed, data):
    text = words(45)
    item = [("other" if i in changed else word) for i, word in enumerate(text)]
    start = data.draw(st.integers(0, 20))
    (found,) = overlaps([item[start:]], [text])
    assert (found.contaminated, found.has_exact_run) == by_brute_force(item[start:], text)
