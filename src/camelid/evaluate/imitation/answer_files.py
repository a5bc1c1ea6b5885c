"""Answers of a model to prompts, from any file in which people keep them; paired with another's by prompt.

Known rows, in a JSON array or as JSON Lines: ours (`prompt`, `text`: answers.jsonl of an evaluation), conversations
(`messages`, the last turn the answer), AlpacaEval's outputs (`instruction`, `output`), FastChat's answers
(`question_id`, with `text` or `choices[0].turns[0]`). FastChat's rows hold no prompt,
so they pair with one another only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camelid.types import Message, Messages

FORMATS = "prompt and text, messages, instruction and output, question_id and text (or choices)"


@dataclass(frozen=True)
class Answers:
    """A model's answers by key; a key is the prompt's text or, where the file has none, the question's number."""

    name: str
    texts: dict[str, str]
    prompts: dict[str, Messages] = field(default_factory=dict)
    """Empty where the file has no prompts."""


@dataclass(frozen=True)
class _Row:
    key: str
    text: str
    prompt: Messages | None
    model: str


def read_answers(path: str | Path, name: str = "") -> Answers:
    """The answers in a file, named by the model that the rows name or else by the file.

    Raises ValueError with file and row where a row is of no known format, has no text, or repeats a prompt.
    """
    path = Path(path)
    texts: dict[str, str] = {}
    prompts: dict[str, Messages] = {}
    models: set[str] = set()
    for place, value in _rows(path):
        try:
            row = _row(value)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, {place}: no answer here ({_reason(error)}); known rows have {FORMATS}") from None
        if row.key in texts:
            raise ValueError(f"{path}, {place}: a second answer to {row.key[:60]!r}; keep one answer a prompt")
        texts[row.key] = row.text
        models.add(row.model)
        if row.prompt is not None:
            prompts[row.key] = row.prompt
    if not texts:
        raise ValueError(f"{path} holds no answers: it is empty")
    model = models.pop() if len(models) == 1 else ""
    return Answers(name or model or (path.parent.name if path.name == "answers.jsonl" else path.stem), texts, prompts)


def common_keys(*several: Answers) -> list[str]:
    """Keys that all have, in the first one's order. Raises ValueError where there are none."""
    keys = [key for key in several[0].texts if all(key in answers.texts for answers in several[1:])]
    if not keys:
        examples = "; ".join(f"{answers.name}: {next(iter(answers.texts))[:60]!r}" for answers in several)
        raise ValueError(
            f"no prompt was answered by all of {', '.join(answers.name for answers in several)}: compare answers to "
            f"the same prompts. First prompts: {examples}"
        )
    return keys


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, row) of a JSON array or of JSON Lines."""
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {error.lineno}: broken JSON: {error.msg}") from None
        yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: broken JSON: {error.msg}") from None


def _row(value: Any) -> _Row:
    if not isinstance(value, dict):
        raise TypeError(f"it is a {type(value).__name__}, not an object")
    reader = next((read for fields, read in READERS.items() if all(name in value for name in fields)), None)
    if reader is None:
        raise ValueError(f"its fields are {', '.join(map(str, value)) or 'none'}")
    row = reader(value)
    if not isinstance(row.text, str):
        raise TypeError(f"the answer is a {type(row.text).__name__}, not a text")
    return row


def _ours(value: dict[str, Any]) -> _Row:
    prompt = tuple(Message.model_validate(message) for message in value["prompt"])
    return _Row(prompt_key(prompt), value["text"], prompt, value.get("model", ""))


def _conversation(value: dict[str, Any]) -> _Row:
    *prompt, last = (Message.model_validate(message) for message in value["messages"])
    return _Row(prompt_key(tuple(prompt)), last.content, tuple(prompt), "")


def _alpaca_eval(value: dict[str, Any]) -> _Row:
    prompt = (Message(role="user", content=value["instruction"]),)
    return _Row(prompt_key(prompt), value["output"], prompt, str(value.get("generator", "")))


def _fastchat(value: dict[str, Any]) -> _Row:
    text = value["text"] if "text" in value else value["choices"][0]["turns"][0]
    return _Row(f"question {value['question_id']}", text, None, str(value.get("model_id", "")).partition(":")[0])


READERS: dict[tuple[str, ...], Callable[[dict[str, Any]], _Row]] = {
    ("prompt", "text"): _ours,
    ("messages",): _conversation,
    ("instruction", "output"): _alpaca_eval,
    ("question_id", "text"): _fastchat,
    ("question_id", "choices"): _fastchat,
}
"""By the fields that tell a format, first match first."""


def prompt_key(prompt: Messages) -> str:
    """The same for the same prompt in any format: the user's words, each turn's white space at the ends gone."""
    return "\n\n".join(message.content.strip() for message in prompt)


def _reason(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
