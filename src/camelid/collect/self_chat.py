"""Baize's self-chat: a teacher writes both sides of a conversation about a seed question, and the script becomes a row.

After Xu et al. 2023 (arXiv:2304.01196, section 3.1), in our own words: the teacher goes on from a greeting, the
person's turns marked [Human] and its own [AI]. What it writes is read strictly: a turn begins where a line begins
with its mark, and the two take turns. Half a pair at either end is dropped and counted. Two turns in a row by one
speaker, an empty turn or a mark inside a line make it of no use: it is asked for again, then set aside. Left out:
their lists of seeds (Quora, Stack Overflow, MedQuAD).

    camelid self-chat --seeds questions.jsonl --set teacher.server.model=NAME
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from camelid.durable import write_json_lines
from camelid.models.teacher import Decoding, Question, Said, Teacher, TeacherSettings
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Message, Messages, Prompt, Role, draw, read_records, write_records

SEED = "{seed}"
GREETING = ("Hello!", "Hi! What can I do for you?")
TEMPLATE = f"""Go on with the script below, in which a person talks with an AI assistant about this:

{SEED}

Begin each turn on a new line, the person's turns with [Human] and the assistant's with [AI], and let the two take \
turns. The person asks about the matter and, having read an answer, goes deeper, doubts it or asks for something that \
follows from it. The assistant helps, gives reasons and details, and turns down what is harmful. Nobody speaks of this \
script. Let the person end it when no question is left.

[Human] {GREETING[0]}
[AI] {GREETING[1]}
"""
MARK = re.compile(r"^[ \t]*\[(human|ai)\][ \t]*:?", re.IGNORECASE | re.MULTILINE)
ANYWHERE = re.compile(r"\[(?:human|ai)\]", re.IGNORECASE)
SPEAKERS: dict[str, Role] = {"human": "user", "ai": "assistant"}


class SelfChatSettings(Settings):
    """Self-chat."""

    teacher: TeacherSettings = TeacherSettings()
    """Who talks with itself."""
    decoding: Decoding = Decoding(max_tokens=2048)
    """How scripts are drawn. A script that ends at `max_tokens` loses its last turn."""
    chats: int = Field(default=1, ge=1)
    """Conversations about each seed."""
    min_pairs: int = Field(default=1, ge=1)
    """A conversation of fewer questions with their answers is set aside."""
    max_seeds: int = Field(default=0, ge=0)
    """Use so many seeds, drawn at random; 0 for all."""


class Script(NamedTuple):
    """What a teacher wrote, read."""

    messages: Messages
    problem: str = ""
    """Why it is no conversation; `messages` is then empty."""
    dropped: tuple[str, ...] = ()
    """What was left out at the ends."""


def self_chat(run: Run) -> dict[str, Any]:
    """Stage: `seeds` (prompts), optional `template` (a text file) and `teacher` (a model) -> demonstrations.jsonl."""
    s: SelfChatSettings = run.settings
    template = _template(run.inputs["template"]) if "template" in run.inputs else TEMPLATE
    there = {seed.id: seed for seed in read_records(run.inputs["seeds"], Prompt)}
    seeds = draw(list(there.values()), s.max_seeds, derived_seed(s.seed, "seeds"))
    asked = [(seed, chat) for seed in seeds for chat in range(s.chats)]
    questions = [
        Question(f"{seed.id}-{chat}", _ask(template, seed.prompt[-1].content), sample=chat) for seed, chat in asked
    ]
    with closing(Teacher.of(run, s.teacher)) as teacher, run.progress("conversations", len(asked)) as tick:
        said = teacher.ask(questions, s.decoding, wrong=lambda said: _read(said, s.min_pairs).problem, tick=tick)
        rows: dict[str, Conversation] = {}
        made: dict[str, Said] = {}
        dropped: Counter[str] = Counter()
        aside = []
        for (seed, chat), answer in zip(asked, said, strict=True):
            if answer.set_aside:
                aside.append({"id": seed.id, "chat": chat, "reason": answer.set_aside})
                continue
            script = _read(answer, s.min_pairs)
            dropped.update(script.dropped)
            row = Conversation(
                messages=script.messages,
                source=f"self-chat of {teacher.name}",
                licence=seed.licence,
                tags=tuple(dict.fromkeys((*seed.tags, "self-chat"))),
            )
            rows[row.id], made[row.id] = row, answer
        teacher.write_provenance(run, made, template="self-chat", decoding=s.decoding)
        spent = teacher.spent() | teacher.spent_a_row(len(rows))
    write_json_lines(run.path / "set_aside.jsonl", aside)
    write_records(run.path / "demonstrations.jsonl", rows.values())
    pairs = sum(len(row.messages) // 2 for row in rows.values())
    return {
        "num_seeds": len(seeds),
        "asked": len(asked),
        "kept": len(rows),
        "repeats_dropped": len(asked) - len(aside) - len(rows),
        "pairs_a_conversation": pairs / len(rows) if rows else 0.0,
        "dropped_at_the_ends": dict(dropped.most_common()),
        "set_aside_by_reason": dict(Counter(str(row["reason"]) for row in aside).most_common()),
        **spent,
    }


def _template(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    if text.count(SEED) != 1:
        raise ValueError(f"{file} has {SEED} {text.count(SEED)} times; write it once, where the seed question goes")
    return text


def _ask(template: str, seed: str) -> Messages:
    """Marks in a seed lose their brackets: they would begin turns of the script."""
    quoted = ANYWHERE.sub(lambda mark: mark[0].strip("[]"), seed)
    return (Message(role="user", content=template.replace(SEED, quoted)),)


def _read(said: Said, min_pairs: int) -> Script:
    """What came of one question, by its text and by whether it was cut off."""
    script = parse_script(said.text, cut=said.finish_reason == "length")
    pairs = len(script.messages) // 2
    if script.problem or pairs >= min_pairs:
        return script
    return Script((), "too short")


def parse_script(text: str, *, cut: bool = False) -> Script:
    """A conversation in a script of [Human] and [AI]. `cut`: its last turn is not whole and goes."""
    marks = list(MARK.finditer(text))
    if not marks:
        return Script((), "no turns")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    turns = [(SPEAKERS[mark[1].lower()], text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]
    if any(ANYWHERE.search(content) for _, content in turns):
        return Script((), "a mark inside a line")
    dropped = ["text before the first turn"] if text[: marks[0].start()].strip() else []
    if cut:
        turns.pop()
        dropped.append("last turn, cut off")
    if tuple(content for _, content in turns[:2]) == GREETING:
        turns = turns[2:]
        dropped.append("greeting")
    if turns and turns[0][0] == "assistant":
        turns.pop(0)
        dropped.append("answer without a question")
    if turns and turns[-1][0] == "user":
        turns.pop()
        dropped.append("question without an answer")
    problem = _problem(turns)
    if problem:
        return Script((), problem)
    return Script(tuple(Message(role=role, content=content) for role, content in turns), "", tuple(dropped))


def _problem(turns: list[tuple[Role, str]]) -> str:
    if any(role == before for (role, _), (before, _) in zip(turns[1:], turns, strict=False)):
        return "two turns in a row by one speaker"
    return "empty turn" if any(not content for _, content in turns) else ""
