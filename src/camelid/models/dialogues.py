"""Dialogues of many turns: the user's turns are given, the model answers them one after the other, many at a time.

User turns come from conversations, whose own answers are left out, or from prompts. One that is too short goes on with
the turns of others: what is said early must hold while the subject changes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, NamedTuple

from camelid.models.constraints import Place, with_text
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import derived_seed
from camelid.types import Conversation, Message, Messages, Prompt, read_records


class UserTurns(NamedTuple):
    """The user's side of a dialogue."""

    texts: tuple[str, ...]
    licence: str
    """Of all rows that it is from; empty where that of one is not stated."""


class Answer(NamedTuple):
    """The model's answer to a turn."""

    text: str
    finished: bool

    @property
    def whole(self) -> bool:
        """Whether it was ended by the model, and says something."""
        return self.finished and bool(self.text)


def read_user_turns(inputs: dict[str, Any]) -> list[UserTurns]:
    """The user turns of each row of a stage's input `conversations` or, where there is none, `prompts`."""
    name = "conversations" if "conversations" in inputs else "prompts"
    files = inputs[name] if isinstance(inputs[name], list) else [inputs[name]]
    talks: list[tuple[Messages, str]] = []
    for file in files:
        if name == "conversations":
            talks += [(row.messages, row.licence) for row in read_records(file, Conversation)]
        else:
            talks += [(row.prompt, row.licence) for row in read_records(file, Prompt)]
    return [UserTurns(tuple(m.content for m in talk if m.role == "user"), licence) for talk, licence in talks]


def put_together(rows: Sequence[UserTurns], lengths: Sequence[int], seed: int) -> list[UserTurns]:
    """Dialogues of so many user turns: rows in a random order, one after the other until a dialogue is full.

    Every row is used before one is used again. Raises ValueError where all rows together are too short for a dialogue.
    """
    total = sum(len(row.texts) for row in rows)
    if total < max(lengths):
        raise ValueError(
            f"a dialogue of {max(lengths)} turns: the {len(rows)} rows have only {total} user turns in all"
        )
    order = cycle(random.Random(seed).sample(range(len(rows)), len(rows)))
    dialogues = []
    for length in lengths:
        parts: list[UserTurns] = []
        while sum(len(part.texts) for part in parts) < length:
            parts.append(rows[next(order)])
        texts = [text for part in parts for text in part.texts]
        dialogues.append(UserTurns(tuple(texts[:length]), joined_licences([part.licence for part in parts])))
    return dialogues


def joined_licences(licences: Sequence[str]) -> str:
    """As an SPDX expression: all of them hold."""
    return " AND ".join(dict.fromkeys(licences)) if all(licences) else ""


def messages_of(turns: Sequence[str], answers: Sequence[Answer]) -> Messages:
    """The dialogue so far, in order. An empty answer is a space, for chat formats need something there."""
    messages = []
    for turn, answer in zip(turns, [*answers, None], strict=False):
        messages.append(Message(role="user", content=turn))
        if answer is not None:
            messages.append(Message(role="assistant", content=answer.text or " "))
    return tuple(messages)


def hold_dialogues(
    policy: Policy,
    talks: Sequence[Sequence[str]],
    instructions: Sequence[str],
    place: Place,
    sampling: Sampling,
    *,
    seed: int,
    num_samples: int = 1,
    choose: Callable[[int, Sequence[Answer]], Answer] = lambda dialogue, samples: samples[0],
    goes_on: Callable[[Answer], bool] = lambda answer: True,
    tick: Callable[[int], None] = lambda turns: None,
) -> list[list[Answer]]:
    """The model's answers to the user turns of each dialogue, each with its instruction said at `place`.

    A turn of all dialogues is answered at once; of `num_samples` answers `choose`, told the dialogue's number, takes
    one. A dialogue ends early, with fewer answers than turns, after an answer for which `goes_on` is False and where
    the model's context has no room for another. `tick` hears of turns done.
    """
    room = policy.model.config.max_position_embeddings - sampling.max_new_tokens
    answers: list[list[Answer]] = [[] for _ in talks]
    going = list(range(len(talks)))
    for turn in range(max(map(len, talks), default=0)):
        prompts = {}
        for i in going:
            if turn < len(talks[i]):
                messages = messages_of(talks[i][: turn + 1], answers[i])
                ids = policy.chat.prompt_ids(with_text(messages, instructions[i], place))
                if len(ids) <= room:
                    prompts[i] = ids
        if prompts:
            drawn = policy.sample(
                list(prompts.values()), sampling, seed=derived_seed(seed, "turn", turn), num_samples=num_samples
            )
            for i, samples in zip(prompts, drawn, strict=True):
                said = [Answer(policy.chat.completion_text(s.ids).strip(), s.finished) for s in samples]
                answers[i].append(choose(i, said))
        tick(sum(len(talk) > turn for talk in talks))
        going = [i for i in prompts if goes_on(answers[i][-1])]
    return answers
