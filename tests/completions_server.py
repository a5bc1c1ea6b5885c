"""An OpenAI-compatible completions server on loopback, over a policy: what a server engine meets, without vLLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from chat_server import ChatServer, Request, Response


class Completions:
    """Answers /completions, and takes weights as vLLM does in its development mode."""

    def __init__(self, folder, *, with_tokens: bool = True):
        self.folder, self.with_tokens = folder, with_tokens
        self._load(folder)
        self.server = ChatServer(self.answer)

    def _load(self, folder) -> None:
        self.policy = Policy.load(folder, ModelSettings(precision="float32"))

    def answer(self, request: Request) -> Response:
        body = request.body
        if request.path == "/collective_rpc":
            assert body["method"] == "reload_weights"
            self._load(Path(body["kwargs"]["weights_path"]))
            return Response(body="{}")
        if request.path == "/reset_prefix_cache":
            return Response(body="{}")
        if request.path != "/v1/completions":
            return Response(404, "no such path")
        if any(token >= self.policy.model.config.vocab_size for token in body["prompt"]):
            return Response(400, "a token is out of the vocabulary")
        sampling = Sampling(
            temperature=body["temperature"],
            top_p=body["top_p"],
            max_new_tokens=body["max_tokens"],
            min_new_tokens=body.get("min_tokens", 0),
            stop=tuple(body.get("stop", ())),
        )
        sample = self.policy.sample([body["prompt"]], sampling, seed=body["seed"])[0][0]
        choice: dict[str, Any] = {
            "text": self.policy.tokenizer.decode(sample.ids),
            "finish_reason": "stop" if sample.finished else "length",
            "logprobs": {"token_logprobs": sample.logprobs},
        }
        if self.with_tokens:
            choice["token_ids"] = sample.ids
        return Response(body=json.dumps({"choices": [choice]}))
