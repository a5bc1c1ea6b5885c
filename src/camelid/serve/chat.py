"""Talk to a model in the terminal. Left out: an OpenAI-compatible server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from camelid.models.engine import Event
from camelid.models.policy import Policy
from camelid.models.sampling import EngineSettings, Sampling
from camelid.models.written import TextStream
from camelid.types import Message


def chat(model: Path, *, temperature: float, max_new_tokens: int, weights: Literal["own", "int8"]) -> None:
    """Read a line, answer it, until end of input. `/reset` forgets the conversation, `/quit` ends it."""
    policy = Policy.load(model)
    engine = EngineSettings(weights=weights)
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, engine=engine)
    print(f"talking to {model}; /reset forgets, /quit ends", file=sys.stderr)
    messages: list[Message] = []
    turn = 0
    while (line := _ask()) is not None:
        if line == "/reset":
            messages = []
            continue
        messages.append(Message(role="user", content=line))
        turn += 1
        text = TextStream(policy.chat.completion_text)

        def show(event: Event, text: TextStream = text) -> None:
            assert event.token is not None
            print(text.add(event.token), end="", flush=True)

        sample = policy.sample([policy.chat.prompt_ids(messages)], sampling, seed=turn, heard=show)[0][0]
        print(text.finish() + ("" if sample.finished else " [cut]"), flush=True)
        answer = policy.chat.completion_text(sample.ids).strip()
        if answer:
            messages.append(Message(role="assistant", content=answer))
        else:
            messages.pop()


def _ask() -> str | None:
    """The next line that is not empty, or None at the end."""
    while True:
        try:
            line = input("you> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return None
        if line == "/quit":
            return None
        if line:
            return line
