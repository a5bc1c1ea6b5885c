"""Residual dropout's schedule and arithmetic, by hand."""

from __future__ import annotations

import pytest
import torch

from camelid.functional.residual_dropout import drop, layer_probabilities, random_bits

CPU = torch.device("cpu")


@pytest.mark.parametrize(("layers", "highest"), [(1, 0.3), (2, 0.3), (30, 0.3), (80, 0.3), (12, 0.0), (7, 0.99)])
def test_the_probability_of_layer_l_is_linspace(layers, highest):
    expected = torch.linspace(0, highest, layers, dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(layer_probabilities(layers, highest), dtype=torch.float64), expected)


@pytest.mark.parametrize("highest", [-0.1, 1.0, float("nan")])
def test_a_probability_outside_is_an_error(highest):
    with pytest.raises(ValueError, match="less than 1"):
        layer_probabilities(4, highest)


def test_a_quarter_of_the_bits_is_dropped_and_the_rest_grows_by_a_third():
    """u = (bits + 32768) / 65536 = 0, 0.24998, 0.25, 0.99998; u >= 0.25 stays, times 1 / 0.75."""
    bits = torch.tensor([-32768, -16385, -16384, 32767], dtype=torch.int16)
    x = torch.tensor([float("nan"), 3.0, 3.0, -6.0], requires_grad=True)
    y = drop(x, bits, 0.25)
    y.sum().backward()
    assert y.tolist() == [0.0, 0.0, 4.0, -8.0]
    assert x.grad.tolist() == pytest.approx([0.0, 0.0, 4 / 3, 4 / 3])


def test_nothing_is_dropped_at_zero_and_not_everything_just_below_one():
    bits = torch.tensor([-32768, 32767], dtype=torch.int16)
    assert drop(torch.ones(2), bits, 0.0).tolist() == [1.0, 1.0]
    assert drop(torch.ones(2), bits, 1 - 1e-9).tolist() == [0.0, 65536.0]  # p = 65535 / 65536


def test_the_bits_are_uniform_independent_and_named_by_their_seed():
    """The share below a quantile q has standard error sqrt(q (1 - q) / n), for each of the four numbers of a word."""
    bits = random_bits(3, (4000, 100), CPU)
    for part in bits.flatten().view(-1, 4).T:
        for q in (0.1, 0.3, 0.5, 0.9):
            share = (part < round(q * 65536) - 32768).double().mean().item()
            assert share == pytest.approx(q, abs=4 * (q * (1 - q) / 100_000) ** 0.5)
    signs = (bits[:, :-1] < 0) == (bits[:, 1:] < 0)  # 396,000 neighbours, equal half of the time
    assert signs.double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 396_000**0.5)
    assert torch.equal(bits, random_bits(3, (4000, 100), CPU))
    assert not torch.equal(bits, random_bits(4, (4000, 100), CPU))
    assert random_bits(3, (3, 5), CPU).shape == (3, 5)  # no multiple of four


def test_dropout_is_unbiased():
    """y has mean 1 and variance p / (1 - p) = 3/7 at p = 0.3."""
    y = drop(torch.ones(300_000), random_bits(0, (300_000,), CPU), 0.3)
    assert y.mean().item() == pytest.approx(1.0, abs=4 * (3 / 7 / 300_000) ** 0.5)
