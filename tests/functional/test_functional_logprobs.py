import math

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from camelid.functional import logprobs as logprobs_module
from camelid.functional.logprobs import chunked_entropies, chunked_logprobs, token_entropy, token_logprobs


def test_hand_computed_probabilities():
    # softmax(ln 1, ln 2, ln 5) = (1/8, 2/8, 5/8)
    logits = torch.tensor([1.0, 2.0, 5.0]).log()
    assert token_logprobs(logits, torch.tensor(1)).item() == pytest.approx(math.log(2 / 8))
    # H = -(1/8 ln 1/8 + 2/8 ln 2/8 + 5/8 ln 5/8) = 0.900256
    assert token_entropy(logits).item() == pytest.approx(0.900256, abs=1e-6)


def test_temperature_divides_the_logits():
    # At temperature 1/2 the weights (1, 2, 5) are squared: (1, 4, 25) / 30.
    logits = torch.tensor([1.0, 2.0, 5.0]).log()
    assert token_logprobs(logits, torch.tensor(2), temperature=0.5).item() == pytest.approx(math.log(25 / 30))
    with pytest.raises(ValueError, match="temperature is 0"):
        token_logprobs(logits, torch.tensor(2), temperature=0)


def test_entropy_of_equal_logits_is_log_v_and_forbidden_tokens_add_nothing():
    logits = torch.zeros(2, 3, 7, requires_grad=True)
    torch.testing.assert_close(token_entropy(logits), torch.full((2, 3), math.log(7)))
    forbidden = torch.cat([logits, torch.full((2, 3, 1), -math.inf)], dim=-1)
    entropy = token_entropy(forbidden)
    torch.testing.assert_close(entropy, torch.full((2, 3), math.log(7)))
    entropy.sum().backward()
    assert logits.grad.isfinite().all()


def test_bfloat16_logits_are_normalised_in_float32():
    torch.manual_seed(0)
    logits = torch.randn(4, 1000).bfloat16()
    targets = torch.randint(1000, (4,))
    logprobs = token_logprobs(logits, targets)
    assert logprobs.dtype == torch.float32
    torch.testing.assert_close(logprobs, logits.double().log_softmax(-1).gather(-1, targets[:, None])[:, 0].float())


def head(seed: int, dtype: torch.dtype = torch.float32, width: int = 8):
    torch.manual_seed(seed)
    hidden = torch.randn(23, width).to(dtype).requires_grad_()
    weight, bias = torch.randn(37, width, requires_grad=True), torch.randn(37, requires_grad=True)
    return hidden, weight, bias, torch.randint(37, (23,)), torch.randn(23)


@pytest.mark.parametrize(("head_trains", "kept"), [(True, 0), (True, 10**6), (False, 0)])
@pytest.mark.parametrize("chunk_tokens", [1, 5, 23, 100])
def test_chunked_equals_unchunked_in_values_and_gradients(chunk_tokens, head_trains, kept, monkeypatch):
    monkeypatch.setattr(logprobs_module, "KEPT_BYTES", kept)
    monkeypatch.setattr(logprobs_module, "BLOCK", chunk_tokens)
    hidden, weight, bias, targets, a = head(0)
    weight.requires_grad_(head_trains)
    bias.requires_grad_(head_trains)
    trained = (hidden, weight, bias) if head_trains else (hidden,)
    logits = hidden @ weight.T + bias
    plain = token_logprobs(logits, targets, temperature=0.7)
    expected = torch.autograd.grad((a * plain).sum(), trained)
    settings = {"bias": bias, "temperature": 0.7, "chunk_tokens": chunk_tokens}
    chunked = chunked_logprobs(hidden, weight, targets, **settings)
    gradients = torch.autograd.grad((a * chunked).sum(), trained)
    torch.testing.assert_close(chunked, plain, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-5)
    entropies = chunked_entropies(hidden, weight, **settings)
    torch.testing.assert_close(entropies, token_entropy(logits, temperature=0.7), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("head_trains", [True, False])
def test_no_more_logits_are_kept_for_the_backward_pass_than_is_said(head_trains, monkeypatch):
    hidden, weight, bias, targets, _ = head(1)
    weight.requires_grad_(head_trains)
    bias.requires_grad_(head_trains)
    shapes: list[tuple[int, ...]] = []

    def remember(tensor):
        shapes.append(tuple(tensor.shape))
        return tensor

    with saved_tensors_hooks(remember, lambda tensor: tensor):
        token_logprobs(hidden @ weight.T + bias, targets)
    assert (23, 37) in shapes  # the hook does see logits where they are kept
    for room in (23 * 37 * 4, 23 * 37 * 4 - 1):
        shapes.clear()
        monkeypatch.setattr(logprobs_module, "KEPT_BYTES", room)
        with saved_tensors_hooks(remember, lambda tensor: tensor):
            chunked_logprobs(hidden, weight, targets, bias=bias, chunk_tokens=5)
        assert ((23, 37) in shapes) == (head_trains and room == 23 * 37 * 4)


class LargestProduct(TorchDispatchMode):
    """Remembers the most numbers that any one operation returned, other than copies of the weight or the states."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and 3 not in result.shape:
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize(("head_trains", "most"), [(True, 23 * 10), (False, 5 * 37)])
def test_neither_pass_ever_makes_more_than_a_chunk_of_logits(head_trains, most, monkeypatch):
    """A trained head: all 23 states with 10 tokens of the vocabulary at a time. A frozen one: 5 states with all 37."""
    monkeypatch.setattr(logprobs_module, "BLOCK", 10)
    monkeypatch.setattr(logprobs_module, "KEPT_BYTES", 0)
    hidden, weight, bias, targets, _ = head(1, width=3)
    weight.requires_grad_(head_trains)
    bias.requires_grad_(head_trains)
    with LargestProduct() as largest:
        chunked_logprobs(hidden, weight, targets, bias=bias, chunk_tokens=5).sum().backward()
        if not head_trains:
            chunked_entropies(hidden, weight, bias=bias, chunk_tokens=5)
    assert largest.numbers == most


def test_a_weights_gradient_can_be_added_to_what_is_there(monkeypatch):
    monkeypatch.setattr(logprobs_module, "BLOCK", 5)
    hidden, weight, _, targets, a = head(3)
    (a * token_logprobs(hidden @ weight.T, targets)).sum().backward()
    into = torch.ones_like(weight)
    again = hidden.detach().requires_grad_()
    (a * chunked_logprobs(again, weight.detach(), targets, weight_gradient=into)).sum().backward()
    torch.testing.assert_close(into - 1, weight.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again.grad, hidden.grad, atol=1e-5, rtol=1e-5)


def test_bfloat16_hidden_states_with_a_float32_head():
    hidden, weight, bias, targets, a = head(2, torch.bfloat16)
    logprobs = chunked_logprobs(hidden, weight, targets, bias=bias, chunk_tokens=4)
    assert logprobs.dtype == torch.float32
    logits = hidden.float() @ weight.T + bias
    # bfloat16 has 8 bits: logits of size about 3 to 8 are off by up to 0.03.
    torch.testing.assert_close(logprobs, token_logprobs(logits, targets), atol=0.1, rtol=0.0)
    (a * logprobs).sum().backward()
    assert hidden.grad.dtype == torch.bfloat16
    assert weight.grad.dtype == bias.grad.dtype == torch.float32


def test_a_head_frozen_or_without_bias_and_no_tokens_at_all():
    hidden, weight, _, targets, _ = head(3)
    with torch.no_grad():
        logprobs = chunked_logprobs(hidden, weight, targets, chunk_tokens=7)
    torch.testing.assert_close(logprobs, token_logprobs(hidden @ weight.T, targets))
    empty = chunked_logprobs(hidden[:0], weight, targets[:0])
    assert empty.shape == (0,)
    with pytest.raises(ValueError, match="chunk_tokens is 0"):
        chunked_logprobs(hidden, weight, targets, chunk_tokens=0)
