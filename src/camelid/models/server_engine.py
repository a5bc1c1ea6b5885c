"""An OpenAI-compatible server as the engine: POST {base_url}/completions, a request a sample.

Prompts go out as tokens. vLLM sends tokens back (`return_token_ids`); of other servers the text is encoded again, which
now and then gives other tokens than were drawn. Servers that only chat get messages, and give no log-probabilities. New
weights reach a vLLM server that was started with VLLM_SERVER_DEV_MODE=1, through a folder that both see.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from camelid.models.chat import ChatFormat
from camelid.models.engines import through_folder
from camelid.models.sampling import EngineSettings, Sample, Sampling
from camelid.models.server import Asked, RemoteError, Server


class Choice(NamedTuple):
    """A completion by a server."""

    text: str
    ids: list[int] | None
    logprobs: list[float] | None
    finish_reason: str


class ServerEngine:
    """One server, which has the policy's weights."""

    def __init__(self, settings: EngineSettings, chat: ChatFormat, tokenizer: Any):
        if not settings.server.model:
            raise ValueError("engine.server.model is empty: name the model that the server has")
        self.settings, self.chat, self.tokenizer = settings, chat, tokenizer
        path = "/completions" if settings.api == "completions" else "/chat/completions"
        self.server = Server(settings.server, path, read_choice)

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        seeds: Sequence[Sequence[int]],
        tick: Callable[[int], None],
    ) -> list[list[Sample]]:
        """As `SamplingEngine`. Raises ValueError, with the server's words, for a prompt that it will not take."""
        if sampling.model_logprobs:
            raise ValueError("a server gives one log-probability a token: set model_logprobs=false, or engine.kind=own")
        made: dict[tuple[int, int], Sample] = {}

        def record(place: tuple[int, int], asked: Asked[Choice]) -> None:
            if asked.found is None:
                raise ValueError(f"prompt {place[0]} was refused: {asked.rejected}")
            made[place] = self._sample(asked.found)
            tick(1)

        places = ((i, k) for i, own in enumerate(seeds) for k in range(len(own)))
        self.server.ask_each((((i, k), self._body(prompts[i], sampling, seeds[i][k])) for i, k in places), record)
        return [[made[i, k] for k in range(len(own))] for i, own in enumerate(seeds)]

    def refresh(self, save: Callable[[Path], None]) -> None:
        """As `SamplingEngine`. Raises RemoteError where the server cannot."""
        if self.settings.server.journal:
            raise RemoteError(
                "the policy's weights have changed, and engine.server.journal has answers of the old ones: set it to "
                "nothing where the policy trains"
            )
        if not self.settings.exchange:
            raise RemoteError(
                f"the policy's weights have changed, and {self.settings.server.base_url} has the old ones: set "
                f"engine.exchange to a folder that it can read (vLLM, started with VLLM_SERVER_DEV_MODE=1)"
            )
        through_folder(save, self._reload, self.settings.exchange)

    def _reload(self, folder: Path) -> None:
        parts = urlsplit(self.settings.server.base_url)
        root = self.settings.server.model_copy(update={"base_url": f"{parts.scheme}://{parts.netloc}", "extra": {}})
        call = {"method": "reload_weights", "kwargs": {"weights_path": str(folder.resolve())}}
        for path, body in (("/collective_rpc", call), ("/reset_prefix_cache", {})):
            asked = Server(root, path, lambda answer: answer).ask(body)
            if asked.found is None:
                raise RemoteError(f"{root.base_url}{path} took no new weights: {asked.rejected}")

    def _body(self, prompt: Sequence[int], sampling: Sampling, seed: int) -> dict[str, Any]:
        s = self.settings.server
        body = {
            "model": s.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "seed": seed,
            "stop": list(sampling.stop) or None,
        }
        # What OpenAI's own servers do not know is sent only where it is asked for.
        more = {"top_k": 0, "repetition_penalty": 1.0, "min_tokens": 0}
        wanted = {"top_k": sampling.top_k, "repetition_penalty": sampling.repetition_penalty}
        wanted["min_tokens"] = sampling.min_new_tokens
        body |= {name: value for name, value in wanted.items() if value != more[name]}
        if self.settings.api == "chat":
            return body | {"messages": [message.model_dump() for message in self.chat.parse(prompt)]}
        tokens = {"stop_token_ids": list(self.chat.stop_ids), "ignore_eos": True, "return_token_ids": True}
        tokens |= {"include_stop_str_in_output": True, "skip_special_tokens": False, "logprobs": 1}
        return body | {"prompt": list(prompt)} | tokens

    def _sample(self, choice: Choice) -> Sample:
        finished, ids = choice.finish_reason == "stop", choice.ids
        if ids is None:
            ids = list(self.tokenizer(choice.text, add_special_tokens=False)["input_ids"])
            ids += [self.chat.stop_ids[0]] if finished and ids[-1:] != [self.chat.stop_ids[0]] else []
        logprobs = choice.logprobs if choice.logprobs and len(choice.logprobs) == len(ids) else [math.nan] * len(ids)
        return Sample(ids, logprobs, finished)


def read_choice(body: str) -> Choice | None:
    """The first choice of a completion, of text or of chat; None where the body is none."""
    try:
        choice = json.loads(body)["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        ids, logprobs = choice.get("token_ids"), (choice.get("logprobs") or {}).get("token_logprobs")
        ids = None if ids is None else list(map(int, ids))
        logprobs = None if logprobs is None else list(map(float, logprobs))
        return Choice(str(text or ""), ids, logprobs, str(choice.get("finish_reason") or ""))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
