"""Tokens and money, before and after."""

import math

import pytest

from camelid.judges.cost import Cost, actual_cost, estimate_tokens, expected_cost
from camelid.models.pace import KEPT
from camelid.models.prices import Price
from camelid.models.remote import RemoteSettings
from camelid.models.server import ServerSettings
from camelid.models.server_cost import ServerCost, server_cost
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
    limited = RemoteSettings(max_tokens=7, requests_per_minute=60)
    cost = expected_cost(ASKED, limited)
    assert (cost.requests, cost.prompt_tokens, cost.completion_tokens) == (2, 3, 14)
    assert cost.seconds == pytest.approx(2 / KEPT) and math.isnan(cost.usd)
    assert expected_cost(ASKED, RemoteSettings(), len).prompt_tokens == 3  # another counter: 2 messages and 1


@pytest.mark.parametrize(
    ("extra", "most"),
    [
        ({}, 100),
        ({"max_tokens": 1}, 1),
        ({"max_tokens": None, "max_completion_tokens": 50}, 50),
        ({"max_tokens": None}, math.nan),  # nothing bounds the reply
    ],
)
def test_the_bound_is_the_limit_that_the_request_carries(tmp_path, extra, most):
    (tmp_path / "prices.json").write_text('{"j": {"input": 2, "output": 10}}')
    prices = str(tmp_path / "prices.json")
    settings = RemoteSettings(model="j", max_tokens=100, extra=extra, prices=prices, tokens_per_minute=60)
    cost = expected_cost(ASKED[:1], settings)
    assert cost.completion_tokens == pytest.approx(most, nan_ok=True)
    assert cost.usd == pytest.approx((3 * 2 + most * 10) / 1e6, nan_ok=True)
    assert cost.seconds == pytest.approx((3 + most) / KEPT, nan_ok=True)  # a token a second


def test_costs_are_added_and_the_slower_limit_counts():
    """600 requests of 50 + 100 tokens: ten minutes at 60 requests a minute, nine at 10,000 tokens; 0.98 of each."""
    settings = ServerSettings(requests_per_minute=60, tokens_per_minute=10_000)
    cost = server_cost(settings, 600, 600 * 50, 100)
    assert cost.seconds == pytest.approx(600 / 0.98)
    assert cost.slowest_answer(8) == pytest.approx(8 / 0.98)  # eight at once, one a second
    fewer = settings.model_copy(update={"tokens_per_minute": 5000.0})
    assert server_cost(fewer, 600, 600 * 50, 100).seconds == pytest.approx(18 * 60 / 0.98)
    both = cost + server_cost(ServerSettings(), 2, 3, 4)
    assert (both.requests, both.prompt_tokens, both.completion_tokens) == (602, 30_003, 60_008)
    assert math.isnan(both.seconds)  # of the second server no limit is known
    assert math.isinf(ServerCost().slowest_answer(8))


def test_what_was_used_is_what_the_server_counted():
    # A rejected request costs an attempt and has no tokens; a repeated one counts each time it was sent.
    cost = actual_cost([row((10, 2)), row((20, 3), attempts=3), row(None, rejected="HTTP 400"), row(None)])
    assert cost == Cost(6, 30, 5, replies_without_count=1)
    assert cost.usd(Price(2.0, 10.0)) == pytest.approx((30 * 2 + 5 * 10) / 1e6)
    assert cost.usd(None) is None
    assert actual_cost([row(None)]) == Cost(1, None, None, 1)
    assert actual_cost([row(None)]).usd(Price(1, 1)) is None
