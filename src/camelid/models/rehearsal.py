"""A rehearsal of each kind of work on a few layers of a model's shape, with random weights: how fast it goes here.

No share of a machine's peak holds on another machine: where products are six times as fast, all that is not a product
counts. So what a plan tells time from is measured here, in some seconds, with the code that will run: training of full
weights and of adapters, scoring, the head of each, a decoding step with few rows and with many, an optimizer step.

Left out: other families than Llama's, whose layers are taken to be as fast; attention over long rows, which grows with
their square; recomputed layers, which are taken to go as fast as others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from camelid.models import attention
from camelid.models.batch import Batch, Row, make_batches
from camelid.models.compute import Compute, choose_compute
from camelid.models.devices import Rates
from camelid.models.draw import draw
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings, Updater
from camelid.models.outputs import head_outputs
from camelid.models.prefill import prefill
from camelid.models.replay import Replay
from camelid.models.shape import Shape
from camelid.models.trained import prepare_training, trained_parameters
from camelid.models.trunk import Trunk

WEIGHTS = 24_000_000
"""Of all layers that rehearse: enough that they and what they keep for the backward pass do not lie in a cache."""
VOCABULARY = 16_384
"""Of the head that rehearses, where the model's is larger."""
ROW_TOKENS, TOKENS, TOKENS_GPU = 205, 1024, 8192
PROMPT_TOKENS, FEW, MANY = 96, 8, 128
"""Of a prompt, and rows in the decoding steps that are timed."""
ATTENTION_SHARE = 0.35
"""Causal attention in float32 over 9,216 tokens beside bfloat16 products, on two cores (median of 3 runs on a busy
machine: 0.36)."""


def rehearse(shape: Shape, precision: Any, product_speed: float, *, seconds: float = 0.4) -> Rates:
    """Time each kind of work for about so long, and twice at least. `product_speed`: of bare products."""
    compute = choose_compute(precision)
    small = _reduced(shape)
    clock = _Clock(compute.device, seconds)
    attention.register()
    plain = _model(small, compute, compute.dtype).requires_grad_(False)
    decoding = _sampling(plain, small, compute, clock)
    found: dict[str, tuple[float, float]] = {}
    with torch.no_grad():
        found |= _passes("scoring", plain, small, compute, clock, factor=2)
    settings = ModelSettings(precision=precision, checkpointing="never", compile="never")
    prepare_training(plain, settings, seed=0)
    found |= _passes("adapters", plain, small, compute, clock, factor=4)
    del plain
    full = _model(small, compute, torch.float32)
    prepare_training(full, settings.model_copy(update={"lora_rank": 0}), seed=0)
    found |= _passes("full", full, small, compute, clock, factor=6)
    updater = Updater(trained_parameters(full), OptimizerSettings())

    def update() -> None:
        updater.clip(1.0)
        updater.update(0.0)

    operations = {kind: 1 / second for kind, (_, second) in found.items()}
    operations["attention"] = ATTENTION_SHARE * product_speed
    passes = {kind: seconds for kind, (seconds, _) in found.items()}
    return Rates(operations, passes, *decoding, update=clock.time(update) / small.parameters)


def _passes(
    kind: str, model: Any, shape: Shape, compute: Compute, clock: _Clock, *, factor: int
) -> dict[str, tuple[float, float]]:
    """Of layers and of head: seconds of a pass, a weight; and of an operation.

    A weight and token need `factor` operations in a layer, in the head 6, or 2 where nothing trains.
    """
    trunk, head = Trunk(model.base_model, compute), model.get_output_embeddings()
    head_factor = 6 if torch.is_grad_enabled() else 2
    most = (TOKENS if compute.device.type == "cpu" else TOKENS_GPU) // ROW_TOKENS
    layers, heads = [], []
    for rows in (1, most):
        ids = torch.arange(rows * ROW_TOKENS).remainder(shape.vocabulary).view(rows, -1).tolist()
        made = [[Row(row, [False] + [True] * (ROW_TOKENS - 1))] for row in ids]
        (batch,) = make_batches(made, 1 << 30, compute.device)
        states = trunk.hidden(batch).detach().requires_grad_()

        def pass_layers(batch: Batch = batch) -> None:
            _backward(trunk.hidden(batch).float().sum())

        def pass_head(batch: Batch = batch, states: Tensor = states) -> None:
            _backward(head_outputs(batch, states, head, None, compute, 1.0).logprobs.sum())

        layers.append((factor * batch.ids.numel(), clock.time(pass_layers) / shape.trunk_parameters))
        heads.append((head_factor * len(batch.trained), clock.time(pass_head) / shape.head_parameters))
    return {kind: _line(*layers), f"{kind} head": _line(*heads)}


def _backward(result: Tensor) -> None:
    if torch.is_grad_enabled():
        result.backward()


@torch.no_grad()
def _sampling(model: Any, shape: Shape, compute: Compute, clock: _Clock) -> tuple[float, float, float, float]:
    """Seconds of a decoding step a weight of the layers, and of each row in it; the same of the head and the draw."""
    trunk, head = Trunk(model.base_model, compute), model.get_output_embeddings()
    steps, draws = [], []
    for rows in (FEW, MANY):
        prompts = [[(7 * i + k) % shape.vocabulary for k in range(PROMPT_TOKENS)] for i in range(rows // 4)]
        cohort = prefill(trunk, prompts, [4] * len(prompts), 1 << 20).cohort
        replay, tokens = Replay(compute.device), torch.zeros(rows, dtype=torch.long, device=compute.device)

        def forward(ids: Tensor, cohort: Any = cohort) -> Tensor:
            return trunk.forward(ids[None], cohort.positions[None], cohorts=[cohort])[0]

        def step(cohort: Any = cohort, replay: Replay = replay, tokens: Tensor = tokens, forward: Any = forward) -> Any:
            cohort.begin_step()
            return replay(forward, cohort.version, tokens)

        states = step()

        def drawn(states: Tensor = states, rows: int = rows) -> None:
            draw(head(states), [1.0] * rows, [0.5] * rows, {})

        steps.append((rows, clock.time(step) / shape.trunk_parameters))
        draws.append((rows, clock.time(drawn) / shape.head_parameters))
    return *_line(*steps), *_line(*draws)


def _line(few: tuple[float, float], many: tuple[float, float]) -> tuple[float, float]:
    """Seconds of nothing, and of one more, through two (amount, seconds); where a busy machine makes one of them
    negative, all is taken to grow with the amount."""
    each = (many[1] - few[1]) / (many[0] - few[0])
    none = few[1] - few[0] * each
    return (none, each) if none > 0 and each > 0 else (0.0, many[1] / many[0])


def _model(shape: Shape, compute: Compute, dtype: torch.dtype) -> Any:
    """A Llama with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=not shape.has_head,
        bos_token_id=0,
        eos_token_id=0,
    )
    config._attn_implementation = attention.NAME
    with compute.device:
        model: Any = LlamaForCausalLM(config)
    return model.to(dtype).eval()


def _reduced(shape: Shape) -> Shape:
    """As many layers as make `WEIGHTS`, at least one; of very wide ones narrower ones, whose products are as fast."""
    while shape.layer_parameters > 2 * WEIGHTS and shape.kv_heads % 2 == 0:
        halves = {name: getattr(shape, name) // 2 for name in ("hidden", "intermediate", "heads", "kv_heads")}
        shape = shape._replace(**halves)
    layers = min(max(round(WEIGHTS / shape.layer_parameters), 1), shape.layers)
    return shape._replace(layers=layers, vocabulary=min(shape.vocabulary, VOCABULARY))


class _Clock:
    """Medians of repeated calls."""

    def __init__(self, device: torch.device, seconds: float):
        self.device, self.seconds = device, seconds

    def time(self, work: Callable[[], Any]) -> float:
        """Seconds of a call, the first one left out."""
        self._once(work)
        found = [self._once(work), self._once(work)]
        while sum(found) < self.seconds:
            found.append(self._once(work))
        return statistics.median(found)

    def _once(self, work: Callable[[], Any]) -> float:
        start = time.perf_counter()
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start
