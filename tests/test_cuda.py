"""On a GPU: what only its kernels, its memory and its formats can show. `make gpu` runs these.

The same stages without one are in test_stand_in.py.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
import torch

from camelid.models import attention, compiling, replay, varlen_attention
from camelid.models.batch import Row, make_batches
from camelid.models.compute import choose_compute
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.train.sft import loss
from tiny import write_tiny_llama

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here; tests/test_stand_in.py runs without one"),
]
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def wide_llama(tmp_path_factory) -> Path:
    """Heads of 16 numbers, a multiple of 8, so that the flash kernel has them."""
    folder = tmp_path_factory.mktemp("models") / "wide"
    return write_tiny_llama(folder, hidden_size=64, intermediate_size=128)


def rows(lengths=(7, 130, 31, 64, 3), shared: int = 0) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for length in lengths:
        ids = [*range(50, 50 + shared), *torch.randint(0, 400, (length,), generator=generator).tolist()]
        mask = [False] * (shared + 1) + [True] * (len(ids) - shared - 1)
        found.append(Row(ids, mask, {"weights": torch.ones(len(ids))}))
    return found


def load(path: Path, **settings) -> Policy:
    held = ModelSettings(**{"micro_batch_tokens": 512, "compile": "never"} | settings)
    return Policy.load_for_training(path, held, OptimizerSettings(), seed=0)


def gradients(policy: Policy, batches: list[list[Row]]) -> tuple[float, torch.Tensor]:
    """Mean loss, and all gradients in one vector of float64 on the CPU."""
    found = [policy.forward_backward(batch, loss) for batch in batches]
    slopes = torch.cat([p.grad.double().cpu().flatten() for p in policy.model.parameters() if p.grad is not None])
    return sum(m["loss"] * m["count"] for m in found) / sum(m["count"] for m in found), slopes


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("precision,tolerance", [("float32", 1e-4), ("bfloat16", 5e-2)])
@pytest.mark.parametrize("shared", [0, 40])
def test_packed_rows_have_the_values_and_gradients_of_rows_alone(wide_llama, rank, precision, tolerance, shared):
    settings = {"lora_rank": rank, "precision": precision}
    together = gradients(load(wide_llama, **settings), [rows(shared=shared)])
    alone = gradients(load(wide_llama, **settings), [[row] for row in rows(shared=shared)])
    assert together[0] == pytest.approx(alone[0], rel=tolerance)
    assert distance(together[1], alone[1]) < tolerance


def test_a_gpu_computes_what_the_cpu_does(wide_llama, monkeypatch):
    there = gradients(load(wide_llama, lora_rank=0, precision="float32"), [rows(shared=20)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = gradients(load(wide_llama, lora_rank=0, precision="float32"), [rows(shared=20)])
    assert there[0] == pytest.approx(here[0], rel=1e-5)
    assert distance(there[1], here[1]) < 1e-4


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("width", [64, 128])
@pytest.mark.parametrize("window", [None, 50])
def test_the_flash_kernel_and_the_tiles_agree(groups, width, window, monkeypatch):
    lengths = [5, 200, 1, 77]
    device = choose_compute("bfloat16").device
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(1, heads, sum(lengths), width, generator=generator) for heads in (4, groups, groups)]

    def attended(dtype: torch.dtype) -> list[torch.Tensor]:
        parts = [x.to(device, dtype).requires_grad_() for x in made]
        found, _ = attention.attention(None, *parts, None, segment_lengths=lengths, sliding_window=window)
        slopes = torch.autograd.grad(found.float().square().sum(), parts)
        return [x.detach().double().cpu() for x in (found, *slopes)]

    query = made[0].to(device, torch.bfloat16)
    assert varlen_attention.applies(query, query, lengths, window)
    by_kernel, exact = attended(torch.bfloat16), attended(torch.float32)  # float32 goes by tiles
    monkeypatch.setattr(varlen_attention, "applies", lambda *_: False)
    by_tiles = attended(torch.bfloat16)
    for kernel, tiles, right in zip(by_kernel, by_tiles, exact, strict=True):
        assert distance(kernel, right) < 2e-2
        assert distance(tiles, right) < 2e-2


def test_greedy_answers_are_those_of_the_cpu(wide_llama, monkeypatch):
    prompts, how = [[60, 61, 62], [70, 71], list(range(80, 100))], Sampling(max_new_tokens=12, temperature=0.0)
    there = Policy.load(wide_llama, ModelSettings(precision="float32")).sample(prompts, how, seed=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = Policy.load(wide_llama, ModelSettings(precision="float32")).sample(prompts, how, seed=0)
    for a, b in zip(there, here, strict=True):
        assert a[0].ids == b[0].ids
        assert a[0].logprobs == pytest.approx(b[0].logprobs, abs=1e-4)


def test_what_is_sampled_has_the_likelihood_that_training_sees(wide_llama):
    policy = load(wide_llama, lora_rank=4, precision="float32")
    prompts = [[60, 61, 62], [70, 71]]
    samples = [found[0] for found in policy.sample(prompts, Sampling(max_new_tokens=10), seed=1)]
    for prompt, sample in zip(prompts, samples, strict=True):
        row = Row([*prompt, *sample.ids], [False] * len(prompt) + [True] * len(sample.ids))
        seen = policy.logprobs([row])[0][len(prompt) :].tolist()
        assert seen == pytest.approx(sample.logprobs, abs=1e-4)


def test_recorded_steps_draw_what_steps_draw(wide_llama, monkeypatch):
    """Rows that end and come, and room that grows: a step is recorded more than once."""
    policy = Policy.load(wide_llama, ModelSettings(precision="float32"))
    prompts = [list(range(60, 63 + 5 * i)) for i in range(6)]
    how, made = Sampling(max_new_tokens=60, batch_rows=8), []
    record = replay.record

    def counted(step, tokens):
        made.append(len(tokens))
        return record(step, tokens)

    monkeypatch.setattr(replay, "record", counted)
    recorded = policy.sample(prompts, how, seed=1, num_samples=2)
    assert len(made) > 1
    monkeypatch.setattr(replay.Replay, "__call__", lambda self, step, state, tokens: step(tokens))
    plain = policy.sample(prompts, how, seed=1, num_samples=2)
    for a, b in zip((x for xs in recorded for x in xs), (x for xs in plain for x in xs), strict=True):
        assert a.ids == b.ids
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


@pytest.fixture
def deterministic():
    """Sums in a fixed order; the kernels' own order differs from run to run."""
    if "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        pytest.skip("cuBLAS sums in a fixed order only with CUBLAS_WORKSPACE_CONFIG=:4096:8, which `make gpu` sets")
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_resumed_run_goes_on_bit_by_bit(wide_llama, tmp_path, deterministic, rank):
    first = load(wide_llama, lora_rank=rank)

    def step(policy: Policy) -> None:
        policy.step(1e-2, policy.forward_backward(rows(), loss)["count"])

    step(first)
    first.save_state(tmp_path)
    second = load(wide_llama, lora_rank=rank)
    second.load_state(tmp_path)
    assert first.updater is not None and second.updater is not None
    for _ in range(2):
        a, b = first.updater.state(), second.updater.state()
        assert a.keys() == b.keys()
        assert [name for name in a if not torch.equal(a[name].cpu(), b[name].cpu())] == []
        step(first)
        step(second)


def test_a_step_of_ppo_is_finite(tied_llama, tmp_path):
    from camelid.train.ppo import PpoSettings, train_ppo
    from preference_rows import run_stage
    from stage_inputs import write_inputs

    write_inputs(tmp_path, tied_llama)
    settings = PpoSettings(
        model=ModelSettings(lora_rank=4),
        num_iterations=2,
        batch_size=8,
        mini_batch_size=4,
        sampling=Sampling(max_new_tokens=16),
    )
    inputs = {"model": tied_llama, "reward_model": tmp_path / "reward", "prompts": tmp_path / "prompts.jsonl"}
    _, metrics, logged = run_stage(train_ppo, settings, tmp_path / "run", **inputs)
    assert len(logged) == 2  # the stage raises where a number is not finite
    assert metrics["engine_mean"] < 0.1


@pytest.mark.parametrize("rank", [0, 4])
def test_compiled_layers_train_as_plain_ones(wide_llama, rank):
    device = choose_compute().device
    if obstacle := compiling.why_not(device):
        pytest.skip(f"torch.compile does not work here: {obstacle}")
    found = []
    for how in ("never", "always"):
        policy = load(wide_llama, lora_rank=rank, compile=how)
        policy.compile_for(1)
        found.append(gradients(policy, [rows()]))
    attention.register()
    assert found[1][0] == pytest.approx(found[0][0], rel=2e-2)
    assert distance(found[1][1], found[0][1]) < 5e-2


def test_a_micro_batch_is_sent_without_waiting():
    """Sent from pinned memory, and right: a kernel that is queued reads what was sent, not what came after it."""
    device = choose_compute().device
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = make_batches([[row] for row in rows()], 256, device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for batch in batches:
        for index, ids in batch.unpack(batch.ids):
            assert ids.tolist() == rows()[index].ids


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_memory_is_what_the_estimate_says(kind):
    """Within 15%, for a model of 1.2B parameters."""
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("1.2B float32 weights with gradients, moments and activations need 40 GB free on the GPU")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import gpu
    finally:
        sys.path.remove(str(BENCHMARKS))
    gc.collect()
    torch.cuda.empty_cache()
    found = gpu.measure_memory("1b", kind)
    gc.collect()
    torch.cuda.empty_cache()
    assert found["fits"]
    assert found["peak_bytes"] == pytest.approx(found["estimate_bytes"], rel=0.15), found
