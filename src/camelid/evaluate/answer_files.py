"""Files of answers, whoever wrote them: one reader for judges, people, reward models, safety and comparisons.

Known rows: ours (`prompt`, `text`: answers.jsonl of an evaluation), AlpacaEval's outputs (`instruction`, `output`),
XSTest's (`prompt`, `completion`), conversations (`messages`, the last turn the answer) and FastChat's answers
(`question_id`, with `text` or `choices`), which hold no prompt: their questions stand in a file of their own
(`questions.py`). In JSON, JSON Lines or CSV (`camelid.rows`). Left out: answers to pictures, tools.

    for answer in read_answers("answers.jsonl"):
        print(answer.asked, answer.text)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from camelid.rows import Row, read_rows
from camelid.types import Message, Messages, as_text, reasons

PROMPT_NAMES = ("prompt", "instruction", "question")
ANSWER_NAMES = ("completion", "output", "answer", "response", "text")
MODEL_NAMES = ("generator", "model_id", "model")
MESSAGES = TypeAdapter(Messages)
FORMATS = (
    "prompt and text (ours), instruction and output (AlpacaEval), prompt and completion (XSTest), messages, or "
    "question_id and text or choices (FastChat)"
)


class Answer(NamedTuple):
    """One answer, and what it answers."""

    place: str
    """File and line, for errors."""
    prompt: Messages | None
    """None where the file names its questions by number only."""
    question_id: Any
    """The file's name of the question; None where it has none."""
    texts: tuple[str, ...]
    """A text a turn."""
    model: str
    """Who answered; empty where the row does not say."""
    tags: tuple[str, ...]
    source: str
    """Where the prompt is from; `dataset` in AlpacaEval's files."""
    row: dict[str, Any]
    """Everything else that the row has."""

    @property
    def text(self) -> str:
        """The answer to the first turn."""
        return self.texts[0]

    @property
    def asked(self) -> Messages:
        """The prompt, where a caller cannot do without. Raises ValueError where the file has none."""
        if self.prompt is None:
            raise ValueError(
                f"{self.place}: no prompt, only the number of a question; wanted are rows with one of "
                f"{', '.join(PROMPT_NAMES)} or messages"
            )
        return self.prompt

    @property
    def key(self) -> str:
        """The same for the same prompt in any format; where there is none, the number of the question."""
        return f"question {self.question_id}" if self.prompt is None else prompt_key(self.prompt)


def read_answers(path: str | os.PathLike[str]) -> list[Answer]:
    """All answers of a file. Raises ValueError with place, problem and mend where a row holds none."""
    return [answer_of(row) for row in read_rows(path, "a prompt and an answer")]


def answer_of(row: Row) -> Answer:
    """The answer in a row of any known format."""
    values = row.values
    prompt, texts = _talk(row) if "messages" in values else (_prompt(row), _texts(row))
    return Answer(
        place=row.place,
        prompt=prompt,
        question_id=values.get("question_id", values.get("prompt_id")),
        texts=texts,
        model=str(_first(values, MODEL_NAMES) or ""),
        tags=tags_of(values),
        source=str(_first(values, ("source", "dataset")) or ""),
        row=values,
    )


def prompt_of(row: Row) -> Messages:
    """The prompt of a row, a text or a list of messages."""
    prompt = _first(row.values, PROMPT_NAMES)
    if prompt is None:
        raise ValueError(f"{row.place}: no prompt ({_fields(row)}); known rows have {FORMATS}")
    return (Message(role="user", content=prompt),) if isinstance(prompt, str) else _messages(prompt, row.place)


def tags_of(values: dict[str, Any]) -> tuple[str, ...]:
    """`tags` of a row: a list, or, in CSV, words between commas."""
    given = values.get("tags") or ()
    return tuple(str(tag).strip() for tag in (given if isinstance(given, list | tuple) else str(given).split(",")))


def prompt_key(prompt: Messages) -> str:
    """The words of a prompt, white space at the ends of its turns gone."""
    return as_text(tuple(Message(role=message.role, content=message.content.strip()) for message in prompt))


def model_of(path: str | os.PathLike[str], answers: Iterable[Answer]) -> str:
    """The one model that the rows name, else the file's: answer_alpaca-13b.jsonl -> alpaca-13b.

    A stage's answers.jsonl has the name of its folder.
    """
    named = {answer.model for answer in answers if answer.model}
    path = Path(path)
    by_file = path.resolve().parent.name if path.stem == "answers" else path.stem.removeprefix("answer_")
    return named.pop() if len(named) == 1 else by_file


def _talk(row: Row) -> tuple[Messages, tuple[str, ...]]:
    *prompt, last = _messages(row.values["messages"], row.place)
    if not prompt or last.role != "assistant":
        raise ValueError(f"{row.place}: no answer: the last of its messages is not the assistant's, or the only one")
    return tuple(prompt), (last.content,)


def _prompt(row: Row) -> Messages | None:
    by_number = "question_id" in row.values and _first(row.values, PROMPT_NAMES) is None
    return None if by_number else prompt_of(row)


def _texts(row: Row) -> tuple[str, ...]:
    """The answers of all turns; of several choices (FastChat) the first."""
    values = row.values
    if not {"choices", *ANSWER_NAMES} & values.keys():
        raise ValueError(f"{row.place}: no answer ({_fields(row)}); known rows have {FORMATS}")
    try:
        texts = values["choices"][0]["turns"] if "choices" in values else [_first(values, ANSWER_NAMES)]
    except (KeyError, TypeError, IndexError):
        raise ValueError(f"{row.place}: no answer: choices must be a list, its first an object with turns") from None
    wrong = next((text for text in texts if not isinstance(text, str)), None) if isinstance(texts, list) else texts
    if not texts or wrong is not None or None in texts:
        raise ValueError(f"{row.place}: no answer: a text is wanted, not {type(wrong).__name__}")
    return tuple(texts)


def _messages(value: Any, place: str) -> Messages:
    try:
        messages = MESSAGES.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{place}: no prompt: text or messages with role and content; {reasons(error)}") from None
    if not messages:
        raise ValueError(f"{place}: no prompt: it has no turns")
    return messages


def _first(values: dict[str, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _fields(row: Row) -> str:
    return f"its fields are {', '.join(map(str, row.values))[:120] or 'none'}"
