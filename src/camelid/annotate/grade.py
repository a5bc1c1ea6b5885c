"""Numbers that tell a row's quality: difficulty, a reward model's score, a teacher's grade.

- ifd: instruction-following difficulty, the answer's loss with the instruction over its loss without (Li et al. 2023,
  Cherry, arXiv:2308.12032, equation 3). Near 1 the instruction tells the model nothing about the answer.
- reward: a reward model's score of the conversation.
- grade: 0 to 5 by a teacher (AlpaGasus, Chen et al. 2023, arXiv:2307.08701, kept what had 4.5 or more).

    camelid grade --rows pool.jsonl --model smollm2-135m --reward_model REWARD

`camelid select` chooses by them. Rows that a number cannot be had for are set aside, with the reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from pydantic import Field

from camelid.durable import write_json_lines
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.teacher import Decoding, Question, Said, Teacher, TeacherSettings, cut_or_empty
from camelid.runs import Run, Settings
from camelid.types import Conversation, Message, as_text, read_records, write_records

Numbers = dict[str, float]
GRADE = re.compile(r"\b([0-5](?:\.\d+)?)\b")
ASKED = """Below are a request and an answer to it. Judge how good the answer is: whether it is right, does what was \
asked and says it clearly. Reply with one number from 0 (useless) to 5 (could not be better), halves allowed, and \
nothing else.

The request:

{request}

The answer:

{answer}
"""


class GradeSettings(Settings):
    """Grading rows."""

    model: ModelSettings = ModelSettings()
    """How models are held in memory."""
    chat_format: str = "model"
    """Chat format of both models."""
    max_tokens: int = Field(default=2048, ge=8)
    """Longer rows are set aside."""
    by_teacher: bool = False
    """Ask the teacher for a grade."""
    teacher: TeacherSettings = TeacherSettings()
    """Who grades."""
    decoding: Decoding = Decoding(temperature=0.0, max_tokens=16)
    """How its grades are drawn."""


def grade_rows(run: Run) -> dict[str, Any]:
    """Stage: `rows` (conversations), `model` and/or `reward_model` and/or a teacher -> grades.jsonl, rows.jsonl."""
    s: GradeSettings = run.settings
    files = run.inputs["rows"] if isinstance(run.inputs["rows"], list) else [run.inputs["rows"]]
    rows = list({row.id: row for file in files for row in read_records(file, Conversation)}.values())
    if not ({"model", "reward_model"} & set(run.inputs) or s.by_teacher):
        raise ValueError("nothing to grade by: give model, reward_model, or by_teacher=true with a teacher")
    numbers: list[Numbers] = [{} for _ in rows]
    aside: dict[int, str] = {}
    spent: dict[str, float] = {}
    if "model" in run.inputs:
        _difficulty(run, rows, numbers, aside)
    if "reward_model" in run.inputs:
        _rewards(run, rows, numbers, aside)
    if s.by_teacher:
        spent = _grades(run, rows, numbers, aside)
    kept = [i for i in range(len(rows)) if i not in aside]
    if not kept:
        raise ValueError(f"no row could be graded: {dict(Counter(aside.values()))}")
    write_json_lines(run.path / "grades.jsonl", ({"id": rows[i].id, **numbers[i]} for i in kept))
    write_json_lines(run.path / "set_aside.jsonl", ({"id": rows[i].id, "reason": why} for i, why in aside.items()))
    write_records(run.path / "rows.jsonl", (rows[i] for i in kept))
    means = {f"mean_{name}": float(np.mean([numbers[i][name] for i in kept])) for name in numbers[kept[0]]}
    reasons = Counter(why.partition(":")[0] for why in aside.values())
    return {"read": len(rows), "kept": len(kept), "set_aside_by_reason": dict(reasons.most_common()), **means, **spent}


def _difficulty(run: Run, rows: Sequence[Conversation], numbers: list[Numbers], aside: dict[int, str]) -> None:
    """Of the last answer, given all that was said before it and given nothing."""
    s: GradeSettings = run.settings
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    limit = min(s.max_tokens, policy.model.config.max_position_embeddings)
    told: list[Row] = []
    alone: list[Row] = []
    places: list[int] = []
    for i, row in enumerate(rows):
        whole = policy.chat.render(row.messages, train_on="last")
        mask = np.asarray(whole.loss_mask)
        answer = np.asarray(whole.ids)[mask]
        if len(whole.ids) > limit:
            aside.setdefault(i, f"too long: {len(whole.ids)} tokens")
        elif len(answer) < 2:
            aside.setdefault(i, "too short: an answer of one token has no loss without its instruction")
        else:
            # Without the instruction the first token has nothing before it: it counts in neither.
            told.append(Row(whole.ids, mask & (np.arange(len(mask)) != np.argmax(mask))))
            alone.append(Row(answer, np.arange(len(answer)) > 0))
            places.append(i)
    losses = [[-float(one.sum()) for one in policy.logprobs(part)] for part in (told, alone)]
    for i, given, free, row in zip(places, *losses, alone, strict=True):
        numbers[i] |= {"ifd": given / free, "answer_nll": given / (len(row.ids) - 1)}


def _rewards(run: Run, rows: Sequence[Conversation], numbers: list[Numbers], aside: dict[int, str]) -> None:
    s: GradeSettings = run.settings
    judge = RewardModel.load(run.inputs["reward_model"], s.model, s.chat_format)
    made = {i: judge.row(row.messages[:-1], row.messages[-1].content) for i, row in enumerate(rows)}
    fit = {i: row for i, row in made.items() if len(row.ids) <= s.max_tokens}
    for i in made.keys() - fit.keys():
        aside.setdefault(i, f"too long: {len(made[i].ids)} tokens")
    with run.progress("rows", len(fit)) as tick:
        scores = judge.score(list(fit.values()), tick).tolist()
    for i, score in zip(fit, scores, strict=True):
        numbers[i]["reward"] = score


def _grades(run: Run, rows: Sequence[Conversation], numbers: list[Numbers], aside: dict[int, str]) -> dict[str, float]:
    s: GradeSettings = run.settings
    questions = [Question(row.id, (Message(role="user", content=_asked(row)),)) for row in rows]
    with closing(Teacher.of(run, s.teacher)) as teacher, run.progress("grades", len(rows)) as tick:
        said = teacher.ask(questions, s.decoding, wrong=_no_grade, tick=tick)
        spent = teacher.spent()
    for i, answer in enumerate(said):
        if answer.set_aside:
            aside.setdefault(i, answer.set_aside)
        else:
            numbers[i]["grade"] = read_grade(answer.text) or 0.0
    return spent


def _asked(row: Conversation) -> str:
    return ASKED.format(request=as_text(row.messages[:-1]), answer=row.messages[-1].content)


def _no_grade(said: Said) -> str:
    return cut_or_empty(said) or ("" if read_grade(said.text) is not None else "no grade from 0 to 5")


def read_grade(text: str) -> float | None:
    """The one number from 0 to 5 in a reply; None where there is none, or several."""
    found = GRADE.findall(text.replace("/5", ""))
    value = float(found[0]) if len(found) == 1 else None
    return value if value is not None and value <= 5 else None
