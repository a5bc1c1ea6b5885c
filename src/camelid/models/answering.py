"""Requests in text, answered by a model: what an evaluation asks, tokenised as the lm-evaluation-harness does.

Context and continuation are encoded together and split where the context's own encoding ends; spaces at the context's
end belong to the continuation. Texts as a whole begin after the model's start (or end) token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch

from camelid.models.likelihood import RowScores, row_scores
from camelid.models.policy import Policy
from camelid.models.prefix_tree import Asked
from camelid.models.requests import Answer, Generate, Likelihood, Request, Rolling, Scored, Written
from camelid.models.sampler import Sampling
from camelid.types import Message

R = TypeVar("R")
Tick = Callable[[int], None]


class Answerer:
    """Answers requests with one model. `in_chat` puts what is asked into a user's turn of the model's chat format."""

    def __init__(self, policy: Policy, *, in_chat: bool = False):
        self.policy = policy
        self.in_chat = in_chat
        self.context_tokens: int = policy.model.config.max_position_embeddings

    def answer(self, requests: Sequence[Request], tick: Tick = lambda requests: None) -> list[Answer]:
        """The answers in the order of the requests, which may be of several kinds."""
        answers: dict[int, Answer] = {}
        for kind, method in ((Likelihood, self.likelihoods), (Rolling, self.rolling), (Generate, self.generate)):
            chosen = [i for i, request in enumerate(requests) if isinstance(request, kind)]
            if chosen:
                found = method([requests[i] for i in chosen], tick)  # type: ignore[operator]
                answers.update(zip(chosen, found, strict=True))
        return [answers[i] for i in range(len(requests))]

    def likelihoods(self, requests: Sequence[Likelihood], tick: Tick = lambda rows: None) -> list[Scored]:
        """Log-likelihood of each continuation after its context."""
        rows = [self.row(request) for request in requests]
        longest = max(rows, key=lambda row: len(row.ids), default=None)
        if longest is not None and len(longest.ids) - 1 > self.context_tokens:
            raise ValueError(
                f"a question has {len(longest.ids)} tokens and the model's context {self.context_tokens}: "
                f"ask with fewer shots; nothing is cut off in silence"
            )
        return [_sum(scores) for scores in self.scores(rows, tick)]

    def rolling(self, requests: Sequence[Rolling], tick: Tick = lambda rows: None) -> list[Scored]:
        """Log-likelihood of each text, in windows of the model's context that do not overlap but for the last."""
        windows, owners = [], []
        for number, request in enumerate(requests):
            for window in self.windows(self.encode(request.text, special=False)):
                windows.append(window)
                owners.append(number)
        parts: list[list[RowScores]] = [[] for _ in requests]
        for number, scores in zip(owners, self.scores(windows, lambda rows: None), strict=True):
            parts[number].append(scores)
        tick(len(requests))
        empty = next((i for i, own in enumerate(parts) if not own), None)
        if empty is not None:
            raise ValueError(f"text {empty} is empty; drop it")
        return [_sum(RowScores(*map(torch.cat, zip(*own, strict=True)))) for own in parts]

    def generate(self, requests: Sequence[Generate], tick: Tick = lambda rows: None) -> list[Written]:
        """Greedy text after each prompt, cut before the first stop."""
        answers: dict[int, Written] = {}
        for limit in sorted({request.max_new_tokens for request in requests}):
            chosen = [i for i, request in enumerate(requests) if request.max_new_tokens == limit]
            prompts = [self.prompt_ids(requests[i].prompt) for i in chosen]
            drawn = self.policy.sample(prompts, Sampling(temperature=0, max_new_tokens=limit), seed=0, tick=tick)
            for i, (sample,) in zip(chosen, drawn, strict=True):
                answers[i] = self._written(requests[i], sample.ids, sample.finished)
        return [answers[i] for i in range(len(requests))]

    def scores(self, rows: Sequence[Asked], tick: Tick) -> list[RowScores]:
        """Log-probabilities of the asked tokens of each row."""
        return row_scores(self.policy.trunk, self.policy.model.get_output_embeddings(), rows, tick=tick)

    def row(self, request: Likelihood) -> Asked:
        """A request as tokens. Raises ValueError where the continuation has no token of its own."""
        if self.in_chat:
            prompt, answer = self.prompt_ids(request.context), request.continuation.lstrip(" ")
            ids = [*prompt, *self.encode(answer, special=False)]
        elif not request.context:
            prompt, ids = [self.start_token], [self.start_token, *self.encode(request.continuation, special=False)]
        else:
            context = request.context.rstrip()
            prompt = self.encode(context) if context else [self.start_token]
            ids = self.encode(request.context + request.continuation)
        if len(ids) <= len(prompt):
            raise ValueError(f"{request.continuation!r} adds no token to what stands before it")
        return Asked(ids, len(prompt))

    def windows(self, ids: Sequence[int]) -> list[Asked]:
        """A long text in parts: each predicts as much as fits after one token before it; the last looks back further.

        As the lm-evaluation-harness' windows with a context of 1.
        """
        size = self.context_tokens
        rows = [Asked([self.start_token, *ids[:size]], 1)] if ids else []
        for done in range(size, len(ids), size):
            end = min(done + size, len(ids))
            rows.append(Asked(ids[end - size - 1 : end], size + 1 - (end - done)))
        return rows

    def prompt_ids(self, text: str) -> list[int]:
        """A prompt to be gone on from."""
        if not self.in_chat:
            return self.encode(text) if text else [self.start_token]
        return self.policy.chat.prompt_ids((Message(role="user", content=text),))

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids; with `special`, what the tokenizer puts in front by default (a start token, or nothing)."""
        return cast("list[int]", self.policy.tokenizer.encode(text, add_special_tokens=special))

    @property
    def start_token(self) -> int:
        """What stands before a text that has nothing before it: the start token, else the end token."""
        tokenizer = self.policy.tokenizer
        return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id

    def _written(self, request: Generate, ids: list[int], finished: bool) -> Written:
        text = self.policy.tokenizer.decode(ids, skip_special_tokens=True)
        ends = [text.index(stop) for stop in request.stop if stop and stop in text]
        return Written(text[: min(ends)] if ends else text, finished or bool(ends), len(ids))


def _sum(scores: RowScores) -> Scored:
    # In float64: a text of many tokens adds up without loss.
    return Scored(float(scores.logprobs.double().sum()), bool(scores.likeliest.all()), len(scores.logprobs))
