"""Files of answers, whoever wrote them: our answers.jsonl, AlpacaEval's model outputs, FastChat's answers.

FastChat's hold no questions, so they come with the file of questions that they answer (`question_id`, and `text` or
`turns`). Left out: answers to pictures, tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from camelid.evaluate.json_rows import read_rows
from camelid.types import Message, check_turns, content_hash, reasons


@dataclass(frozen=True)
class Question:
    """A question of a set."""

    id: Any
    turns: tuple[str, ...]
    category: str


@dataclass(frozen=True)
class Answered:
    """A question and one system's answers to it, a text a turn."""

    question: Question
    answers: tuple[str, ...]
    model: str


Questions = Mapping[Any, Question]
Reader = Callable[[dict[str, Any], Questions], Answered]


@dataclass(frozen=True)
class AnswerFile:
    """The answers of one system."""

    model: str
    """Its name, by the file's word, else the file's name."""
    rows: Sequence[Answered]
    needs_questions: bool
    """Whether its questions stand in a file of their own."""


def read_questions(path: Path) -> dict[Any, Question]:
    """FastChat's questions, by id. Raises ValueError for a row that is none, and for an id that comes twice."""
    found: dict[Any, Question] = {}
    for place, row in read_rows(path):
        turns: Any = row["turns"] if "turns" in row else [row.get("text")]
        if not isinstance(row.get("question_id"), int | str) or not _texts(turns):
            raise ValueError(f"{place}: not a question; a row has question_id and text, or question_id and turns")
        if row["question_id"] in found:
            raise ValueError(f"{place}: question {row['question_id']} comes twice")
        found[row["question_id"]] = Question(row["question_id"], tuple(turns), str(row.get("category", "")))
    return found


def read_references(path: Path) -> dict[Any, tuple[str, ...]]:
    """Correct answers by question id, from a file of FastChat's answers."""
    references: dict[Any, tuple[str, ...]] = {}
    for place, row in read_rows(path):
        try:
            references[row["question_id"]] = _fastchat_texts(row)
        except (KeyError, TypeError, IndexError):
            raise ValueError(f"{place}: not a reference answer; a row has question_id and choices or text") from None
    return references


def read_answers(path: Path, questions: Questions | None = None) -> AnswerFile:
    """All answers of a file. Raises ValueError with the place where a row does not fit or a question comes twice."""
    rows: list[Answered] = []
    seen: set[Any] = set()
    for place, row in read_rows(path):
        try:
            answered = _reader(row, questions)(row, questions or {})
        except (KeyError, TypeError, IndexError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{place}: {reason}") from None
        marks = {answered.question.turns, answered.question.id}
        if marks & seen:
            raise ValueError(f"{place}: question {answered.question.id} is answered twice in this file")
        seen |= marks
        rows.append(answered)
    names = {row.model for row in rows if row.model}
    needs_questions = any(row.question is (questions or {}).get(row.question.id) for row in rows)
    return AnswerFile(names.pop() if len(names) == 1 else _name(path), rows, needs_questions)


def _reader(row: dict[str, Any], questions: Questions | None) -> Reader:
    """Which format a row is in."""
    if "question_id" in row and ("choices" in row or "text" in row):
        if questions is None:
            raise ValueError("FastChat's answers hold no questions; give their file with --questions FILE")
        return _fastchat
    reader = _alpaca if "instruction" in row and "output" in row else _ours if "prompt" in row else None
    if reader is None:
        raise ValueError(
            f"no known format of answers (the row has {', '.join(row) or 'nothing'}); wanted are "
            "prompt and text (ours), instruction and output (AlpacaEval), or question_id and text or choices (FastChat)"
        )
    return reader


def _ours(row: dict[str, Any], questions: Questions) -> Answered:
    try:
        prompt = tuple(Message.model_validate(message) for message in row["prompt"])
    except ValidationError as error:
        raise ValueError(f"prompt: {reasons(error)}") from None
    check_turns(prompt, last="user")
    talk = "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in prompt)
    text = prompt[0].content if len(prompt) == 1 else talk
    tags = row.get("tags") or ("",)
    question = Question(str(row.get("prompt_id") or content_hash(text)[:16]), (text,), str(tags[0]))
    return Answered(question, (_text(row["text"]),), "")


def _alpaca(row: dict[str, Any], questions: Questions) -> Answered:
    text = _text(row["instruction"])
    question = Question(content_hash(text)[:16], (text,), str(row.get("dataset", "")))
    return Answered(question, (_text(row["output"]),), str(row.get("generator", "")))


def _fastchat(row: dict[str, Any], questions: Questions) -> Answered:
    if row["question_id"] not in questions:
        raise ValueError(f"question {row['question_id']} is not in the file of questions")
    question, answers = questions[row["question_id"]], _fastchat_texts(row)
    if len(answers) != len(question.turns):
        raise ValueError(
            f"question {question.id} has {len(question.turns)} turns, its answer {len(answers)}: is it the right file?"
        )
    return Answered(question, answers, str(row.get("model_id", "")))


def _fastchat_texts(row: dict[str, Any]) -> tuple[str, ...]:
    """The answers of all turns; of several choices the first."""
    return tuple(_text(text) for text in (row["choices"][0]["turns"] if "choices" in row else [row["text"]]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is wanted, not {type(value).__name__}")
    return value


def _texts(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(v, str) and v.strip() for v in values)


def _name(path: Path) -> str:
    """answer_alpaca-13b.jsonl -> alpaca-13b; a stage's answers.jsonl has the name of its folder."""
    return path.resolve().parent.name if path.stem == "answers" else path.stem.removeprefix("answer_")
