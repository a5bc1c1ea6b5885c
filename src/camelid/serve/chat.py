"""Talk to a model in the terminal: answers as they are written, or the best of N. Left out: a server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from camelid.models.engine import Event
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rerank import Candidate, best_of, candidates
from camelid.models.rule_rewards import RuleRewards
from camelid.models.sampling import Sampling
from camelid.models.written import TextStream
from camelid.types import Message, Prompt


class Rerank(NamedTuple):
    """Draw several answers and say the best."""

    number: int
    reward_model: Path
    rule_model: Path | None
    show_all: bool


Answer = Callable[[list[Message], int], str]
"""(conversation, seed) -> the answer, which has been printed."""


def chat(model: Path, sampling: Sampling, rerank: Rerank | None = None) -> None:
    """Read a line, answer it, until end of input. `/reset` forgets the conversation, `/quit` ends it."""
    policy = Policy.load(model)
    answer = _best_of(policy, sampling, rerank) if rerank else _streamed(policy, sampling)
    print(f"talking to {model}; /reset forgets, /quit ends", file=sys.stderr)
    messages: list[Message] = []
    turn = 0
    while (line := _ask()) is not None:
        if line == "/reset":
            messages = []
            continue
        messages.append(Message(role="user", content=line))
        turn += 1
        said = answer(messages, turn)
        if said:
            messages.append(Message(role="assistant", content=said))
        else:
            messages.pop()


def _streamed(policy: Policy, sampling: Sampling) -> Answer:
    def answer(messages: list[Message], seed: int) -> str:
        text = TextStream(policy.chat.completion_text)

        def show(event: Event) -> None:
            assert event.token is not None
            print(text.add(event.token), end="", flush=True)

        sample = policy.sample([policy.chat.prompt_ids(messages)], sampling, seed=seed, heard=show)[0][0]
        print(text.finish() + ("" if sample.finished else " [cut]"), flush=True)
        return policy.chat.completion_text(sample.ids).strip()

    return answer


def _best_of(policy: Policy, sampling: Sampling, rerank: Rerank) -> Answer:
    """Nothing can be shown before all N are there."""
    rewards = RuleRewards.load(rerank.reward_model, rerank.rule_model, ModelSettings())

    def answer(messages: list[Message], seed: int) -> str:
        prompt = Prompt(prompt=tuple(messages))
        found = candidates(policy, rewards, [prompt], sampling, rerank.number, seed=seed)[0]
        best = best_of(found)
        if rerank.show_all:
            _show_all(found, best)
        print(found[best].text + ("" if found[best].finished else " [cut]"), flush=True)
        return found[best].text

    return answer


def _show_all(found: Sequence[Candidate], best: int) -> None:
    """Every answer with its reward, and the rules that it most likely breaks."""
    for i, one in enumerate(found):
        likely = sorted(one.violations.items(), key=lambda item: -item[1])[:3]
        broken = "".join(f", {rule} {p:.2f}" for rule, p in likely)
        mark = "*" if i == best else " "
        print(
            f"{mark} reward {one.reward:+.2f} (preference {one.preference:+.2f}{broken}) {one.text!r}", file=sys.stderr
        )


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
