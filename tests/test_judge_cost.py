"""Tokens and money, before and after."""

import pytest

from camelid.judges.cost import Cost, actual_cost, estimate_tokens, expected_cost
from camelid.models.prices import Price
from camelid.models.remote import RemoteSettings
from camelid.types import Message

ASKED = [
    (Message(role="system", content="12345"), Message(role="user", content="1234")),
    (Message(role="user", content=""),),
]


def row(usage, attempts=1, rejected=""):
    counts = usage and {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return {"usage": counts, "attempts": attempts, "rejected": rejected}


def test_an_estimate_is_characters_by_four_and_a_bound():
    assert estimate_tokens(ASKED[0]) == 3  # 9 / 4, rounded up
    assert expected_cost(ASKED, RemoteSettings(max_tokens=7)) == Cost(2, 3, 14)
    assert expected_cost(ASKED, RemoteSettings(), len).prompt_tokens == 3  # another counter: 2 messages and 1


@pytest.mark.parametrize(
    ("extra", "most"),
    [
        ({}, 100),
        ({"max_tokens": 1}, 1),
        ({"max_tokens": None, "max_completion_tokens": 50}, 50),
        ({"max_tokens": None}, None),  # nothing bounds the reply
    ],
)
def test_the_bound_is_the_limit_that_the_request_carries(extra, most):
    cost = expected_cost(ASKED[:1], RemoteSettings(max_tokens=100, extra=extra))
    assert cost.completion_tokens == most
    assert (cost.usd(Price(1, 1)) is None) == (most is None)


def test_what_was_used_is_what_the_server_counted():
    # A rejected request costs an attempt and has no tokens; a repeated one counts each time it was sent.
    cost = actual_cost([row((10, 2)), row((20, 3), attempts=3), row(None, rejected="HTTP 400"), row(None)])
    assert cost == Cost(6, 30, 5, replies_without_count=1)
    assert cost.usd(Price(2.0, 10.0)) == pytest.approx((30 * 2 + 5 * 10) / 1e6)
    assert cost.usd(None) is None
    assert actual_cost([row(None)]) == Cost(1, None, None, 1)
    assert actual_cost([row(None)]).usd(Price(1, 1)) is None
