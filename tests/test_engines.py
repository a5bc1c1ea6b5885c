"""What every engine must do: camelid's own, a server, vLLM. vLLM needs an environment of its own: `make vllm`."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import EngineSettings, Sampling
from camelid.models.server import RemoteError, ServerSettings
from camelid.models.server_engine import read_choice
from camelid.train import sft
from chat_server import ChatServer, Response, says
from completions_server import Completions
from tiny import write_tiny_llama

HAS_VLLM = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(
    not HAS_VLLM, reason="vLLM (3.4 GB) is not installed here; `make vllm` runs this in an environment that has it"
)
PROMPTS = [[5, 6, 7], [30, 31, 32, 33, 34, 35, 36, 37, 38, 39], [5, 6, 7, 40, 41]]
SIZES: dict = {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1}
EXACT = ModelSettings(precision="float32", lora_rank=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A llama with heads of 64, which vLLM's kernels want; not tied, since its server on a CPU keeps a tied head."""
    return write_tiny_llama(tmp_path_factory.mktemp("engines") / "model", tied=False, **SIZES)


@pytest.fixture(scope="module")
def vllm_server(folder):
    """vLLM's own server, as a user starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--dtype", "float32"]
    words += ["--port", str(port), "--host", "127.0.0.1", "--max-model-len", "256", "--enforce-eager"]
    words += ["--logprobs-mode", "processed_logprobs", "--generation-config", "vllm", "--served-model-name", "m"]
    environment = os.environ | {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    log = (folder.parent / "server.log").open("w")
    process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            assert process.poll() is None, (folder.parent / "server.log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(
    params=[
        "own",
        "server",
        pytest.param("vllm", marks=[needs_vllm, pytest.mark.slow]),
        pytest.param("vllm server", marks=[needs_vllm, pytest.mark.slow]),
    ]
)
def engine(request, folder, tmp_path):
    if request.param == "own":
        yield EngineSettings()
    elif request.param == "vllm":
        yield EngineSettings(kind="vllm", cache_gigabytes=0.5)
    elif request.param == "vllm server":
        url = request.getfixturevalue("vllm_server")
        yield EngineSettings(kind="server", server=ServerSettings(base_url=url, model="m"), exchange=str(tmp_path))
    else:
        with Completions(folder).server as server:
            settings = ServerSettings(base_url=server.url, model="m")
            yield EngineSettings(kind="server", server=settings, exchange=str(tmp_path))


def greedy(model, prompt: list[int], new: int, stop_ids) -> list[int]:
    """transformers' own."""
    settings = {"max_new_tokens": new, "do_sample": False, "eos_token_id": list(stop_ids), "pad_token_id": 0}
    with torch.no_grad():
        return model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), **settings)[0][
            len(prompt) :
        ].tolist()


def trainers(policy: Policy, prompt: list[int], ids: list[int], temperature: float = 1.0) -> torch.Tensor:
    row = Row([*prompt, *ids], [False] * len(prompt) + [True] * len(ids))
    return policy.logprobs([row], temperature=temperature)[0][len(prompt) :]


def test_greedy_is_generate_and_weights_follow_the_trainer(engine, folder, tmp_path):
    policy = Policy.load_for_training(folder, EXACT, OptimizerSettings(), seed=0)
    sampling = Sampling(temperature=0, max_new_tokens=12, engine=engine)
    before = [samples[0].ids for samples in policy.sample(PROMPTS, sampling, seed=0)]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert before == [greedy(model, prompt, 12, policy.chat.stop_ids) for prompt in PROMPTS]

    rows = [Row([*prompt, 50, 51, 52, 53], [False] * len(prompt) + [True] * 4) for prompt in PROMPTS]
    for _ in range(5):
        policy.step(0.05, policy.forward_backward(rows, sft.loss)["count"])
    policy.save(tmp_path / "trained", "")
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "trained", dtype=torch.float32)
    after = [samples[0].ids for samples in policy.sample(PROMPTS, sampling, seed=0)]
    assert after == [greedy(trained, prompt, 12, policy.chat.stop_ids) for prompt in PROMPTS]
    assert after != before
    if engine.kind == "server" or HAS_VLLM:  # others that meet this server want its first weights
        policy = Policy.load_for_training(folder, EXACT, OptimizerSettings(), seed=0)
        policy.updates = 1
        assert [samples[0].ids for samples in policy.sample(PROMPTS, sampling, seed=0)] == before


@pytest.mark.parametrize("temperature", [0.7, 1.3])
def test_log_probabilities_are_the_trainers(engine, folder, temperature, record_property):
    policy = Policy.load(folder, EXACT)
    sampling = Sampling(temperature=temperature, max_new_tokens=20, engine=engine)
    drawn = policy.sample(PROMPTS, sampling, seed=1, num_samples=4)
    gaps = torch.cat(
        [
            torch.tensor(sample.logprobs) - trainers(policy, prompt, sample.ids, temperature)
            for prompt, samples in zip(PROMPTS, drawn, strict=True)
            for sample in samples
        ]
    )
    record_property("mean", float(gaps.abs().mean()))
    print(f"{engine.kind}: mean {gaps.abs().mean():.1e}, worst {gaps.abs().max():.1e} nats of {len(gaps)} tokens")
    assert len(gaps) > 150
    assert gaps.abs().max() < 1e-3


def test_a_seed_names_its_sample(engine, folder):
    policy = Policy.load(folder, EXACT)
    sampling = Sampling(max_new_tokens=10, engine=engine)
    first, again, other = (policy.sample(PROMPTS, sampling, seed=seed, num_samples=3) for seed in (1, 1, 2))
    assert [[s.ids for s in samples] for samples in first] == [[s.ids for s in samples] for samples in again]
    assert first != other
    assert all(len({tuple(s.ids) for s in samples}) == 3 for samples in first)


def test_limits_and_stops(engine, folder):
    policy = Policy.load(folder, EXACT)
    sampling = Sampling(temperature=0, max_new_tokens=30, engine=engine)
    plain = policy.sample(PROMPTS[:1], sampling, seed=0)[0][0]
    assert len(plain.ids) == 30 and not plain.finished
    pairs = (policy.text_of(plain.ids[i : i + 2]) for i in range(2, 28))
    stop = next(text for text in pairs if len(text) > 1 and text.isascii() and text.isprintable())
    cut = policy.sample(PROMPTS[:1], sampling.model_copy(update={"stop": (stop,)}), seed=0)[0][0]
    assert cut.finished and stop in policy.text_of(cut.ids) and stop not in policy.text_of(cut.ids[:-1])
    assert cut.ids == plain.ids[: len(cut.ids)]


def test_what_is_wrong_with_a_prompt(engine, folder):
    policy = Policy.load(folder, EXACT)
    for prompt, said in (([], "prompt 1 has no token"), ([5] * 250, "of 250 tokens leaves no room for 12 more")):
        with pytest.raises(ValueError, match=said):
            policy.sample([[5], prompt], Sampling(max_new_tokens=12, engine=engine), seed=0)


@needs_vllm
@pytest.mark.slow
def test_vllm_renews_a_tied_head(tmp_path):
    first, second = (write_tiny_llama(tmp_path / str(seed), seed=seed, **SIZES) for seed in (0, 1))
    policy = Policy.load(first, EXACT)
    sampling = Sampling(temperature=0, max_new_tokens=8, engine=EngineSettings(kind="vllm", cache_gigabytes=0.5))
    policy.sample(PROMPTS, sampling, seed=0)
    other = Policy.load(second, EXACT)
    policy.model.load_state_dict(other.model.state_dict())
    policy.updates += 1
    theirs = AutoModelForCausalLM.from_pretrained(second, dtype=torch.float32)
    expected = [greedy(theirs, prompt, 8, policy.chat.stop_ids) for prompt in PROMPTS]
    assert [samples[0].ids for samples in policy.sample(PROMPTS, sampling, seed=0)] == expected


def test_a_server_with_another_model_is_found_out(folder, tmp_path):
    other = write_tiny_llama(tmp_path / "other", tied=False, seed=1, **SIZES)
    policy = Policy.load(folder, EXACT)
    with Completions(other).server as server, pytest.raises(ValueError, match=r"nats a token from those of .*model"):
        policy.sample([[5]], server_settings(server.url), seed=0)


def server_settings(url: str, **more) -> Sampling:
    server = ServerSettings(base_url=url, model="m", max_retries=0)
    return Sampling(max_new_tokens=8, engine=EngineSettings(kind="server", server=server, **more))


def test_a_server_without_tokens_gives_text_encoded_again(folder):
    policy = Policy.load(folder, EXACT)
    with Completions(folder, with_tokens=False).server as server:
        sampling = server_settings(server.url)
        drawn = policy.sample(PROMPTS, sampling, seed=3)
    own = policy.sample(PROMPTS, Sampling(max_new_tokens=8), seed=3)
    for (a,), (b,) in zip(drawn, own, strict=True):
        assert policy.text_of(a.ids) == policy.tokenizer.decode(a.ids, skip_special_tokens=True)
        assert len(a.logprobs) == len(a.ids)
        assert a.finished == b.finished


def test_a_server_that_only_chats_gets_messages(folder):
    policy = Policy.load(folder, EXACT)
    prompt = policy.chat.prompt_ids(policy.chat.parse(policy.chat.prompt_ids([says_hello()])))
    with ChatServer(lambda request: says("Hi " + request.text)) as server:
        sample = policy.sample([prompt], server_settings(server.url, api="chat"), seed=0)[0][0]
        assert server.requests[0].path == "/v1/chat/completions"
    assert policy.chat.completion_text(sample.ids) == "Hi hello"
    assert sample.finished and all(x != x for x in sample.logprobs)


def says_hello():
    from camelid.types import Message

    return Message(role="user", content="hello")


def test_what_is_wrong_with_a_server_is_said(folder):
    policy = Policy.load_for_training(folder, EXACT, OptimizerSettings(), seed=0)
    with Completions(folder).server as server:
        with pytest.raises(ValueError, match=r"prompt 1 was refused: HTTP 400: a token is out of the vocabulary"):
            policy.sample([[5], [10**6]], server_settings(server.url), seed=0)
        policy.updates += 1
        with pytest.raises(RemoteError, match="has the old ones"):
            policy.sample([[5]], server_settings(server.url), seed=0)
    with pytest.raises(ValueError, match=r"engine.server.model is empty"):
        policy.sample([[5]], Sampling(engine=EngineSettings(kind="server")), seed=0)
    with (
        ChatServer(lambda request: Response(body="{}")) as server,
        pytest.raises(RemoteError, match="given up after 1"),
    ):
        policy = Policy.load(folder, EXACT)
        policy.sample([[5]], server_settings(server.url), seed=0)
    assert read_choice('{"choices": []}') is None
    assert read_choice("<html>") is None


@pytest.mark.skipif(HAS_VLLM, reason="what is said where vLLM is missing; here it is installed")
def test_vllm_that_is_not_installed_is_named(folder):
    policy = Policy.load(folder, EXACT)
    with pytest.raises(ValueError, match=r"engine.kind=vllm needs vLLM.*set engine.kind=own"):
        policy.sample([[5]], Sampling(engine=EngineSettings(kind="vllm")), seed=0)
