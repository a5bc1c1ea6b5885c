"""Requests in text, answered by a model: what an evaluation asks, tokenised as the lm-evaluation-harness does.

Context and continuation are encoded together and split where the context's own encoding ends; spaces at the context's
end belong to the continuation. What has nothing before it stands after the model's start token (or its end token).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch

from camelid.models.likelihood import RowScores, row_scores
from camelid.models.policy import Policy
from camelid.models.prefix_tree import Asked
from camelid.models.requests import Answer, Generate, Likelihood, Request, Rolling, Scored, Written, rows_at_once
from camelid.models.sampling import Sampling
from camelid.models.written import before_stop
from camelid.runs import derived_seed
from camelid.types import Message

Tick = Callable[[int], None]


class Answerer:
    """Answers requests with one model. `in_chat` puts what is asked into a user's turn of the model's chat format.

    Text is written greedily unless there is a temperature; it is then drawn by `answer`'s seed.
    """

    def __init__(self, policy: Policy, *, in_chat: bool = False, temperature: float = 0.0):
        self.policy = policy
        self.in_chat = in_chat
        self.temperature = temperature
        self.context_tokens: int = policy.model.config.max_position_embeddings

    def answer(self, requests: Sequence[Request], tick: Tick = lambda requests: None, *, seed: int = 0) -> list[Answer]:
        """The answers in the order of the requests, which may be of several kinds."""
        pairs = iter(self.likelihoods([r for r in requests if isinstance(r, Likelihood)], tick))
        texts = iter(self.rolling([r for r in requests if isinstance(r, Rolling)], tick))
        written = iter(self.generate([r for r in requests if isinstance(r, Generate)], tick, seed=seed))
        sources: dict[type, Iterator[Answer]] = {Likelihood: pairs, Rolling: texts, Generate: written}
        return [next(sources[type(request)]) for request in requests]

    def likelihoods(
        self, requests: Sequence[Likelihood], tick: Tick = lambda rows: None, *, coarse: bool = False
    ) -> list[Scored]:
        """Log-likelihood of each continuation after its context; `coarse` as in `row_scores`."""
        rows = self.pairs(requests, limit=self.context_tokens)
        return [_sum(scores) for scores in self.scores(rows, tick, coarse=coarse)]

    def rolling(self, requests: Sequence[Rolling], tick: Tick = lambda rows: None) -> list[Scored]:
        """Log-likelihood of each text."""
        texts = [self.windows(request) for request in requests]
        scores = iter(self.scores([window for windows in texts for window in windows]))
        parts = [[next(scores) for _ in windows] for windows in texts]
        tick(len(requests))
        return [_sum(RowScores(*map(torch.cat, zip(*own, strict=True)))) for own in parts]

    def generate(self, requests: Sequence[Generate], tick: Tick = lambda rows: None, *, seed: int = 0) -> list[Written]:
        """Text after each prompt, cut before the first stop; writing ends there, too."""
        answers: dict[int, Written] = {}
        for limit, stop in sorted({(request.max_new_tokens, request.stop) for request in requests}):
            chosen = [i for i, r in enumerate(requests) if (r.max_new_tokens, r.stop) == (limit, stop)]
            prompts = [self.prompt_ids(requests[i].prompt) for i in chosen]
            rows = rows_at_once(max(map(len, prompts)), limit)
            stops = tuple(filter(None, stop))
            sampling = Sampling(temperature=self.temperature, max_new_tokens=limit, stop=stops, batch_rows=rows)
            drawn = self.policy.sample(prompts, sampling, seed=derived_seed(seed, limit), tick=tick)
            for i, (sample,) in zip(chosen, drawn, strict=True):
                text = before_stop(self.policy.text_of(sample.ids), stops)
                answers[i] = Written(text, sample.finished, len(sample.ids))
        return [answers[i] for i in range(len(requests))]

    def rows(self, requests: Sequence[Request]) -> list[Asked]:
        """The token rows behind requests for likelihoods, as `answer` scores them."""
        pairs = iter(self.pairs([r for r in requests if isinstance(r, Likelihood)], limit=self.context_tokens))
        parts = [self.windows(r) if isinstance(r, Rolling) else [next(pairs)] for r in requests]
        return [row for part in parts for row in part]

    def scores(self, rows: Sequence[Asked], tick: Tick = lambda rows: None, *, coarse: bool = False) -> list[RowScores]:
        """Log-probabilities of the asked tokens of each row."""
        head = self.policy.model.get_output_embeddings()
        return row_scores(self.policy.trunk, head, rows, coarse=coarse, tick=tick)

    def pairs(self, requests: Sequence[Likelihood], *, limit: int | None) -> list[Asked]:
        """Contexts and continuations as tokens.

        Raises ValueError for one that needs more than `limit` tokens of context (nothing is cut off in silence), or
        whose continuation has no token of its own.
        """
        texts = [request.context + request.continuation for request in requests]
        if self.in_chat:
            prompts = [self.prompt_ids(request.context) for request in requests]
            answers = self.encode([request.continuation.lstrip(" ") for request in requests], special=False)
            wholes = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        else:
            contexts = [request.context.rstrip() for request in requests]
            different = list(dict.fromkeys(contexts))  # the choices of a question have one context
            encoded = dict(zip(different, self.encode(different), strict=True)) | {"": [self.start_token]}
            prompts = [encoded[context] for context in contexts]
            bare = iter(
                self.encode([t for t, context in zip(texts, contexts, strict=True) if not context], special=False)
            )
            full = iter(self.encode([t for t, context in zip(texts, contexts, strict=True) if context]))
            wholes = [next(full) if context else [self.start_token, *next(bare)] for context in contexts]
        for request, ids, prompt in zip(requests, wholes, prompts, strict=True):
            if len(ids) <= len(prompt):
                raise ValueError(f"{request.continuation!r} adds no token to what stands before it")
            if limit is not None and len(ids) - 1 > limit:
                raise ValueError(
                    f"a question has {len(ids)} tokens and the model's context {limit}: ask with fewer "
                    f"shots; nothing is cut off in silence"
                )
        return [Asked(ids, len(prompt)) for ids, prompt in zip(wholes, prompts, strict=True)]

    def windows(self, request: Rolling) -> list[Asked]:
        """A text in parts of the model's context: each predicts all but its first token, the last only what is left.

        As the lm-evaluation-harness' windows with a context of 1. Raises ValueError for an empty text.
        """
        ids, size = self.encode([request.text], special=False)[0], self.context_tokens
        if not ids:
            raise ValueError("a text is empty; drop it")
        rows = [Asked([self.start_token, *ids[:size]], 1)]
        for done in range(size, len(ids), size):
            end = min(done + size, len(ids))
            rows.append(Asked(ids[end - size - 1 : end], size + 1 - (end - done)))
        return rows

    def prompt_ids(self, text: str) -> list[int]:
        """A prompt to be gone on from."""
        if not self.in_chat:
            return self.encode([text])[0] if text else [self.start_token]
        return self.policy.chat.prompt_ids((Message(role="user", content=text),))

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
        """Token ids; with `special`, what the tokenizer puts in front by default (a start token, or nothing)."""
        if not texts:
            return []
        return cast("list[list[int]]", self.policy.tokenizer(list(texts), add_special_tokens=special)["input_ids"])

    @property
    def start_token(self) -> int:
        """What stands before a text that has nothing before it: the start token, else the end token."""
        tokenizer = self.policy.tokenizer
        return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id


def _sum(scores: RowScores) -> Scored:
    # In float64: a text of many tokens adds up without loss.
    return Scored(float(scores.logprobs.double().sum()), bool(scores.likeliest.all()), len(scores.logprobs))
