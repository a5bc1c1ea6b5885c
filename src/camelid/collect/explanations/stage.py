"""Orca's explanation traces: each question under a system message that asks for an explanation, answered by a teacher.

After Mukherjee et al. 2023 (arXiv:2306.02707, section 3): one system message a question, drawn from the row of the
question's sub-collection; then imitation of all answers of one teacher, and after it of a better one's to a share of
the same questions (their FLAN-5M by ChatGPT, a fifth of it again by GPT-4). That is this stage twice, with one seed:
a question has the same system message in both. Left out: drawing questions from FLAN's tasks.

    camelid explanation-traces --prompts flan.jsonl --set teacher.server.model=small --out runs/orca
    camelid explanation-traces --prompts flan.jsonl --set teacher.server.model=large --set share=0.2 --out runs/orca
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Any, Literal, NamedTuple

from pydantic import Field

from camelid.collect.explanations.messages import (
    SystemMessage,
    SystemMessages,
    collection_of,
    load_system_messages,
)
from camelid.durable import write_json_lines
from camelid.models.teacher import Decoding, Question, Said, Teacher, TeacherSettings
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Message, Messages, Prompt, draw, read_records, write_records

TAG = "explanation"


class ExplanationSettings(Settings):
    """Explanation traces."""

    teacher: TeacherSettings = TeacherSettings()
    """Who explains."""
    decoding: Decoding = Decoding(temperature=0.7, top_p=1.0)
    """How explanations are drawn; the paper does not say how its were."""
    collection: Literal["", "cot", "niv2", "t0", "flan2021"] = ""
    """Sub-collection of the prompts whose tags name none; empty: they are an error."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Ask about this share of the prompts, drawn at random; a larger share contains a smaller one."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many of the prompts, drawn at random before `share` is taken; 0 for all."""


class Asked(NamedTuple):
    """A question with the system message that it was drawn."""

    prompt: Prompt
    collection: str
    message: SystemMessage

    @property
    def messages(self) -> Messages:
        system = (Message(role="system", content=self.message.text),) if self.message.text else ()
        return (*system, *self.prompt.prompt)


def explanation_traces(run: Run) -> dict[str, Any]:
    """Stage: `prompts`, optional `system_messages` (a file) and `teacher` (a model) -> demonstrations.jsonl."""
    s: ExplanationSettings = run.settings
    there = {prompt.id: prompt for prompt in read_records(run.inputs["prompts"], Prompt)}
    prompts = draw(list(there.values()), s.max_prompts, derived_seed(s.seed, "prompts"))
    if not prompts:
        raise ValueError(f"{run.inputs['prompts']} has no prompt to ask about")
    known = load_system_messages(*([run.inputs["system_messages"]] if "system_messages" in run.inputs else []))
    share = draw(prompts, max(1, round(s.share * len(prompts))), derived_seed(s.seed, "share"))
    asked = [with_system_message(prompt, known, s) for prompt in share]
    with closing(Teacher.of(run, s.teacher)) as teacher, run.progress("explanations", len(asked)) as tick:
        said = teacher.ask([Question(one.prompt.id, one.messages) for one in asked], s.decoding, tick=tick)
        answered = [(one, answer) for one, answer in zip(asked, said, strict=True) if not answer.set_aside]
        rows = [as_demonstration(one, answer, teacher.name) for one, answer in answered]
        made = {row.id: answer for row, (_, answer) in zip(rows, answered, strict=True)}
        teacher.write_provenance(run, made, template=f"system messages of {known.source}", decoding=s.decoding)
        spent = teacher.spent() | teacher.spent_a_row(len(rows))
    aside = [(one, answer) for one, answer in zip(asked, said, strict=True) if answer.set_aside]
    write_json_lines(
        run.path / "set_aside.jsonl",
        ({"id": one.prompt.id, "message": one.message.number, "reason": answer.set_aside} for one, answer in aside),
    )
    write_records(run.path / "demonstrations.jsonl", rows)
    return {
        "num_prompts": len(prompts),
        "asked": len(asked),
        "kept": len(rows),
        "set_aside_by_reason": dict(Counter(answer.set_aside for _, answer in aside).most_common()),
        "collections": dict(Counter(one.collection for one in asked).most_common()),
        "system_messages": dict(sorted(Counter(one.message.number for one in asked).items())),
        **spent,
    }


def with_system_message(prompt: Prompt, known: SystemMessages, s: ExplanationSettings) -> Asked:
    """Raises ValueError for a prompt that has a system message of its own."""
    if prompt.prompt[0].role == "system":
        raise ValueError(
            f"prompt {prompt.id} ({prompt.source}) has a system message already; put it into the user's turn, or leave "
            f"the prompt out"
        )
    collection = collection_of(prompt, s.collection)
    return Asked(prompt, collection, known.draw(prompt, collection, s.seed))


def as_demonstration(asked: Asked, said: Said, teacher: str) -> Conversation:
    return Conversation(
        messages=(*asked.messages, Message(role="assistant", content=said.text)),
        source=f"explained by {teacher}",
        licence=asked.prompt.licence,
        tags=tuple(
            dict.fromkeys((*asked.prompt.tags, asked.collection, TAG, f"system-message-{asked.message.number}"))
        ),
    )
