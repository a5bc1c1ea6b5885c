"""What becomes of rows and prompts that a model may not read whole: one way for all stages that train or sample.

`set_aside` leaves them out, `cut` shortens them, `stop` is an error. What was done is counted in the stage's metrics,
said on stderr, and written row by row into set_aside.jsonl. Prompts lose their oldest turns, never the system message;
what does not fit even so is set aside. Where more than half of the rows would go, that is an error, whatever was asked.

    lengths = Lengths("demonstrations", s.too_long, row_limit(s.max_tokens, context))
    ... lengths.too_long(name, tokens, cut) ...
    lengths.finish(run, total)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from transformers import AutoConfig, AutoTokenizer

from camelid.durable import write_json_lines
from camelid.models.batch import Row
from camelid.models.chat import ChatFormat, ChatFormatError, load_chat_format
from camelid.models.loading import tokenizer_folder, weights_folder
from camelid.runs import Run
from camelid.types import Messages, Prompt

TooLong = Literal["set_aside", "cut", "stop"]
T = TypeVar("T")
P = TypeVar("P", bound=Prompt)


class Limit(NamedTuple):
    """How many tokens there may be, and in words why, and what would make it more."""

    tokens: int
    why: str
    mend: str


def row_limit(max_tokens: int, context: int) -> Limit:
    """Of a row to train on: the setting, or the model's context where that is shorter."""
    if context < max_tokens:
        return Limit(context, f"the model's context of {context:,} tokens", "shorten them")
    return Limit(max_tokens, f"max_tokens = {max_tokens:,}", "raise max_tokens")


class Lengths:
    """Counts what is too long, and does with it what was asked for."""

    def __init__(self, what: str, choice: TooLong, limit: Limit):
        self.what = what
        self.choice = choice
        self.limit = limit
        self.cut = 0
        self.aside: list[dict[str, str | int]] = []
        """Name and length of what was set aside."""

    def too_long(self, name: str, tokens: int, cut: Callable[[], T | None]) -> T | None:
        """What `cut` makes of it, or None where it is set aside. Raises ValueError where the choice is to stop."""
        if self.choice == "stop":
            raise ValueError(
                f"{name} has {tokens:,} tokens, more than {self.limit.why}: {self.limit.mend}, or choose "
                f"too_long=cut or too_long=set_aside"
            )
        shorter = cut() if self.choice == "cut" else None
        if shorter is not None:
            self.cut += 1
            return shorter
        why = "longer than" if self.choice == "set_aside" else "too long, even cut, for"
        self.aside.append({"name": name, "tokens": tokens, "reason": f"{why} {self.limit.why}"})
        return None

    def finish(self, run: Run, total: int) -> dict[str, int]:
        """Say and write what was done with `total` items. Returns counts for the stage's metrics.

        Raises ValueError where more than half are gone: what would train is then not what was given.
        """
        number = len(self.aside)
        if 2 * number > total:
            longest = max(int(row["tokens"]) for row in self.aside)
            other = "" if self.choice == "cut" else ", or choose too_long=cut"
            raise ValueError(
                f"{number:,} of {total:,} {self.what} are too long for {self.limit.why} (the longest has {longest:,} "
                f"tokens), more than half: {self.limit.mend}{other}"
            )
        if number:
            write_json_lines(run.path / f"set_aside_{self.what}.jsonl", self.aside)
        done = [f"{n:,} {how}" for n, how in ((number, "set aside"), (self.cut, "cut")) if n]
        if done:
            print(
                f"{run.label}: of {total:,} {self.what}, {' and '.join(done)}: longer than {self.limit.why}",
                file=sys.stderr,
                flush=True,
            )
        return {"set_aside": number, "cut": self.cut}


def without_oldest(messages: Messages) -> Iterator[Messages]:
    """The conversation whole, then without its oldest turn and the answer to it, and so on; the last turns stay.

    The system message stays too.
    """
    system = messages[:1] if messages[0].role == "system" else ()
    turns = messages[len(system) :]
    keep = 1 if turns[-1].role == "user" else 2
    for start in range(0, len(turns) - keep + 1, 2):
        yield (*system, *turns[start:])


def cut_completions(
    prompt: Messages, rows: Callable[[Messages, int | None], Sequence[Row]], limit: int
) -> tuple[Messages, Sequence[Row]] | None:
    """The rows of a prompt's completions, `rows(prompt, max_tokens)`, cut to `limit`, with the prompt that is left.

    The prompt's oldest turns go first; where its last turn alone leaves too little room, the completions' ends. None
    where no token of a completion would be left.
    """
    for shorter in without_oldest(prompt):
        made = rows(shorter, None)
        if max(len(row.ids) for row in made) <= limit:
            return shorter, made
    try:
        return shorter, rows(shorter, limit)
    except ChatFormatError:
        return None


class Reader(NamedTuple):
    """Who will read prompts: a chat format, and how many tokens fit into the model's context."""

    chat: ChatFormat
    context: int

    @classmethod
    def of(cls, model: Path, chat_format: str) -> Reader:
        """Of a model folder, whose weights are not loaded."""
        tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder(model), trust_remote_code=False)
        config = AutoConfig.from_pretrained(weights_folder(model), trust_remote_code=False)
        return cls(load_chat_format(tokenizer, chat_format), config.max_position_embeddings)


def fitting_prompts(
    run: Run, prompts: Sequence[P], readers: Sequence[Reader], choice: TooLong, new_tokens: int
) -> tuple[list[P], dict[str, int]]:
    """Prompts that leave every reader room for `new_tokens` more, and the counts for the stage's metrics."""
    context = min(reader.context for reader in readers)
    room = context - new_tokens
    if room < 1:
        raise ValueError(f"max_new_tokens = {new_tokens:,} fills the model's context of {context:,}; lower it")
    why = f"the context of {context:,} tokens less max_new_tokens = {new_tokens:,}"
    lengths = Lengths("prompts", choice, Limit(room, why, "lower max_new_tokens"))

    def tokens(messages: Messages) -> int:
        return max(len(reader.chat.prompt_ids(messages)) for reader in readers)

    def cut(prompt: P) -> P | None:
        left = next((turns for turns in without_oldest(prompt.prompt) if tokens(turns) <= room), None)
        return None if left is None else prompt.model_copy(update={"prompt": left})  # with its id, by which it is known

    kept = []
    for prompt in prompts:
        number = tokens(prompt.prompt)
        fitting: P | None = prompt
        if number > room:
            name = f"prompt {prompt.id} ({prompt.source})"
            fitting = lengths.too_long(name, number, partial(cut, prompt))
        if fitting is not None:
            kept.append(fitting)
    return kept, lengths.finish(run, len(prompts))
