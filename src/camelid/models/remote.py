"""A model behind an OpenAI-compatible chat server: POST {base_url}/chat/completions, asked as `server.py` asks.

Left out: streaming, tools. Standard library only; imports no torch.

    remote = Remote(RemoteSettings(base_url="http://localhost:8000/v1", model="my-model"))
    print(remote.complete((Message(role="user", content="Hello"),)).text)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pydantic import Field

from camelid.models.completion import Completion, Usage, read_completion
from camelid.models.server import Asked, Name, Server, ServerSettings
from camelid.types import Messages


class RemoteSettings(ServerSettings):
    """Chat server."""

    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature."""
    max_tokens: int = Field(default=1024, ge=1)
    """Most tokens of a reply, its reasoning included."""


class Reply(NamedTuple):
    """What came of one request."""

    text: str
    model: str
    """The model that answered, by the server's word."""
    finish_reason: str
    attempts: int
    rejected: str = ""
    """Why the server will not take this one request, whoever asks and when; the text is then empty."""
    usage: Usage | None = None
    """Tokens used, where the server says so."""
    first_token: dict[str, float] | None = None
    """Log-probabilities of the likeliest first tokens, where `extra` asked for them and the server sent them."""


class Remote:
    """A client. `sleep` as in `Server`."""

    def __init__(self, settings: RemoteSettings, *, sleep: Callable[[float], object] | None = None):
        if not settings.model:
            raise ValueError("remote.model is empty: name a model that the server has")
        self.settings = settings
        self._server = Server(settings, "/chat/completions", read_completion, sleep=sleep)

    def complete(self, messages: Messages) -> Reply:
        """The reply to `messages`. Raises RemoteError where asking again is of no use, or was of none."""
        return _reply(self._server.ask(self._body(messages)))

    def complete_each(self, requests: Iterable[tuple[Name, Messages]], record: Callable[[Name, Reply], None]) -> None:
        """As `Server.ask_each`."""
        bodies = ((name, self._body(messages)) for name, messages in requests)
        self._server.ask_each(bodies, lambda name, asked: record(name, _reply(asked)))

    def _body(self, messages: Messages) -> dict[str, Any]:
        s = self.settings
        body = {"model": s.model, "messages": [m.model_dump() for m in messages]}
        return body | {"temperature": s.temperature, "max_tokens": s.max_tokens}


def _reply(asked: Asked[Completion]) -> Reply:
    if asked.found is None:
        return Reply("", "", "", asked.attempts, rejected=asked.rejected)
    said = asked.found
    return Reply(*said[:3], asked.attempts, usage=said.usage, first_token=said.first_token)
