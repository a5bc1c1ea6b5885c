"""Cases for a judge from one or two files of answers; two must answer the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camelid.evaluate.answer_files import Answered, AnswerFile, read_answers, read_questions, read_references
from camelid.judges.case import Case
from camelid.judges.way import Way
from camelid.types import draw


@dataclass(frozen=True)
class Cases:
    """What is judged, and whose answers these are."""

    models: tuple[str, ...]
    cases: Sequence[Case]


def read_cases(way: Way, inputs: Mapping[str, Path], *, number: int = 0, seed: int = 0) -> Cases:
    """`inputs`: `first`, for a pairwise way `second`, and perhaps `questions` and `references`.

    `number` questions are drawn, 0 takes all. Raises ValueError where files do not fit the way or one another.
    """
    given = [name for name in ("first", "second") if name in inputs]
    if len(given) != way.num_answers:
        wants = "two files of answers" if way.num_answers == 2 else "one file of answers"
        raise ValueError(f"way {way.name!r} judges {wants}, not {len(given)}; see --way")
    questions = read_questions(inputs["questions"]) if "questions" in inputs else None
    references = read_references(inputs["references"]) if "references" in inputs else {}
    files = [read_answers(inputs[name], questions) for name in given]
    if questions and not any(file.needs_questions for file in files):
        raise ValueError("these answers hold their questions themselves; leave --questions out")
    if references and not way.wants_reference:
        raise ValueError(f"way {way.name!r} shows no correct answers; leave --references out")
    chosen = draw(_matched(files, [inputs[name] for name in given]), number, seed)
    cases = [case for rows in chosen for case in _cases(way, rows, references)]
    if references and not any(case.reference for case in cases):
        raise ValueError(f"{inputs['references']} has no answer to any question in {', '.join(way.wants_reference)}")
    return Cases(_names(files), cases)


def _matched(files: Sequence[AnswerFile], paths: Sequence[Path]) -> list[tuple[Answered, ...]]:
    """The files' rows, side by side. Raises ValueError unless the files answer the same questions."""
    asked = [{row.question.turns: row for row in file.rows} for file in files]
    if len(files) == 2:
        for has, lacks in ((0, 1), (1, 0)):
            lonely = [row for turns, row in asked[has].items() if turns not in asked[lacks]]
            if lonely:
                raise ValueError(
                    f"{paths[lacks]} lacks an answer to {len(lonely)} of the {len(asked[has])} questions in "
                    f"{paths[has]}, the first: {lonely[0].question.turns[0][:80]!r}. "
                    "Both must answer the same questions."
                )
    return [tuple(rows[row.question.turns] for rows in asked) for row in files[0].rows]


def _cases(way: Way, rows: tuple[Answered, ...], references: Mapping[Any, tuple[str, ...]]) -> list[Case]:
    """One case a turn for a way that judges by turn; else the question must have one turn."""
    question, answers = rows[0].question, [row.answers for row in rows]
    turns = len(question.turns)
    if turns > (2 if way.by_turn else 1):
        most = "at most two turns" if way.by_turn else "one turn; take --way mt-bench or mt-bench-single for two"
        raise ValueError(f"question {question.id} has {turns} turns; way {way.name!r} judges {most}")
    reference = references.get(question.id, ())
    if reference and len(reference) != turns:
        raise ValueError(f"question {question.id} has {turns} turns, its reference answer {len(reference)}")
    return [
        Case(
            id=f"{question.id}/{turn}" if turns > 1 else str(question.id),
            question_id=question.id,
            category=question.category,
            questions=question.turns[:turn],
            answers=tuple(texts[:turn] for texts in answers),
            reference=reference[:turn] if question.category in way.wants_reference else (),
        )
        for turn in range(1, turns + 1)
    ]


def _names(files: Sequence[AnswerFile]) -> tuple[str, ...]:
    """The systems' names, told apart."""
    names = [file.model for file in files]
    return tuple(f"{name} ({i})" for i, name in enumerate(names, 1)) if len({*names}) < len(names) else tuple(names)
