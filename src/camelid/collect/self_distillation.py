"""Baize's self-distillation with feedback: of K answers that the model itself gives, the one that a teacher likes best.

After Xu et al. 2023 (arXiv:2304.01196, section 3.4): four answers to each prompt by the model that is to be trained on,
put in order by a stronger one, and the best becomes a demonstration. We ask for an order where they asked for scores of
1 to 100, show the answers in an order of our own drawing, and take no reply but an order of all of them: any other is
asked for again and then set aside. Answers that are cut off, empty or equal to another are not shown.

    camelid self-distillation --model MODEL --prompts prompts.jsonl --set teacher.server.model=NAME
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json_lines
from camelid.functional.listed import ordered_numbers
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.models.teacher import Decoding, Question, Said, Teacher, TeacherSettings, cut_or_empty
from camelid.models.too_long import Reader, fitting_prompts
from camelid.runs import Run, Settings, derived_seed
from camelid.types import (
    Conversation,
    Message,
    Messages,
    Prompt,
    Ranking,
    as_text,
    draw,
    kind_of,
    read_records,
    write_records,
)

ASKED = """Several assistants answered the same request. Put their answers in order, the best first. What counts is \
whether an answer helps, whether it is true, whether it keeps to the request, and whether it says as much as it should.

The request:

{request}

{answers}

Reply with one line and nothing else: the numbers of all {count} answers, the best first, with > between them, in the \
form {form}."""


class SelfDistillationSettings(Settings):
    """Self-distillation with feedback."""

    teacher: TeacherSettings = TeacherSettings()
    """Who puts the answers in order."""
    decoding: Decoding = Decoding(temperature=0.0, max_tokens=256)
    """How its verdicts are drawn."""
    model: ModelSettings = ModelSettings()
    """How the model that answers is held in memory."""
    chat_format: str = "model"
    """Its chat format."""
    sampling: Sampling = Sampling(max_new_tokens=128)
    """How it answers."""
    num_samples: int = Field(default=4, ge=2, le=26)
    """K, answers a prompt."""
    too_long: Literal["set_aside", "stop"] = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""
    prompts_a_chunk: int = Field(default=64, ge=1)
    """Prompts answered between two writes to disk: what a kill can cost."""


class Shown(NamedTuple):
    """A prompt with its different answers, in the order in which they are shown."""

    prompt: Prompt
    answers: list[str]

    @property
    def question(self) -> Messages:
        numbered = [f"Answer {number}:\n\n{text}" for number, text in enumerate(self.answers, 1)]
        form = " > ".join("XYZ"[: min(3, len(self.answers))]) + (" > ..." if len(self.answers) > 3 else "")
        content = ASKED.format(
            request=as_text(self.prompt.prompt), answers="\n\n".join(numbered), count=len(self.answers), form=form
        )
        return (Message(role="user", content=content),)


def self_distillation(run: Run) -> dict[str, Any]:
    """Stage: `model`, `prompts`, optional `teacher` (a model) -> demonstrations.jsonl, rankings.jsonl."""
    s: SelfDistillationSettings = run.settings
    there = {prompt.id: prompt for prompt in read_records(run.inputs["prompts"], Prompt)}
    drawn = draw(list(there.values()), s.max_prompts, derived_seed(s.seed, "prompts"))
    reader = Reader.of(run.inputs["model"], s.chat_format)
    prompts, too_long = fitting_prompts(run, drawn, [reader], s.too_long, s.sampling.max_new_tokens)
    shown = [shown_answers(*both, s.seed) for both in zip(prompts, _answers(run, prompts, s), strict=True)]
    with closing(Teacher.of(run, s.teacher)) as teacher:
        verdicts = _verdicts(run, teacher, shown, s)
        best, rankings, made = [], [], {}
        aside = [{"id": one.prompt.id, "reason": why} for one in shown if (why := _set_aside(one, verdicts))]
        for one in shown:
            if not _set_aside(one, verdicts):
                said = verdicts[one.prompt.id]
                ranking = _ranking(one, said, teacher.name)
                row = _demonstration(ranking)
                best.append(row)
                rankings.append(ranking)
                made[row.id] = said
        teacher.write_provenance(run, made, template="order of answers", decoding=s.decoding)
        spent = teacher.spent() | teacher.spent_a_row(len(best))
    write_json_lines(run.path / "set_aside.jsonl", aside)
    write_records(run.path / "rankings.jsonl", rankings)
    write_records(run.path / "demonstrations.jsonl", best)
    return {
        "num_prompts": len(prompts),
        "kept": len(best),
        "answers_a_prompt": sum(len(one.answers) for one in shown) / max(len(shown), 1),
        # By chance alone each place is first equally often: the teacher's liking for a place shows here.
        "best_by_place": dict(sorted(Counter(r.ranks.index(1) + 1 for r in rankings).items())),
        "set_aside_by_reason": dict(Counter(row["reason"] for row in aside).most_common()),
        **too_long,
        **spent,
    }


def _answers(run: Run, prompts: Sequence[Prompt], s: SelfDistillationSettings) -> list[list[str]]:
    """The whole answers of the model to each prompt; in answers.jsonl those that were cut off, too."""
    file = run.path / "answers.jsonl"
    done = keep_whole_chunks(file, s.prompts_a_chunk, len(prompts))
    if done < len(prompts):
        policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
        with run.progress("answers", len(prompts) * s.num_samples, done * s.num_samples) as tick:
            for start in range(done, len(prompts), s.prompts_a_chunk):
                chunk = prompts[start : start + s.prompts_a_chunk]
                ids = [policy.chat.prompt_ids(prompt.prompt) for prompt in chunk]
                seed = derived_seed(s.seed, "answers", start)
                drawn = policy.sample(ids, s.sampling, seed=seed, num_samples=s.num_samples, tick=tick)
                rows = [
                    {
                        "id": prompt.id,
                        "answers": [policy.chat.completion_text(sample.ids).strip() for sample in samples],
                        "finished": [sample.finished for sample in samples],
                    }
                    for prompt, samples in zip(chunk, drawn, strict=True)
                ]
                append_json_lines(file, rows)
    found = [json.loads(line) for line in read_whole_lines(file)]
    return [[a for a, whole in zip(row["answers"], row["finished"], strict=True) if whole] for row in found]


def shown_answers(prompt: Prompt, answers: Sequence[str], seed: int) -> Shown:
    """Each different answer once, none that is empty, in an order drawn by the seed and the prompt."""
    different = list(dict.fromkeys(answer for answer in answers if answer))
    random.Random(derived_seed(seed, "order", prompt.id)).shuffle(different)
    return Shown(prompt, different)


def _verdicts(run: Run, teacher: Teacher, shown: Sequence[Shown], s: SelfDistillationSettings) -> dict[str, Said]:
    """What the teacher said of each prompt with two answers or more."""
    verdicts: dict[str, Said] = {}
    with run.progress("orders", sum(len(one.answers) > 1 for one in shown)) as tick:
        for count in range(2, s.num_samples + 1):
            asked = [one for one in shown if len(one.answers) == count]
            questions = [Question(one.prompt.id, one.question) for one in asked]
            said = teacher.ask(questions, s.decoding, wrong=partial(_no_order, count), tick=tick) if asked else []
            verdicts |= {one.prompt.id: answer for one, answer in zip(asked, said, strict=True)}
    return verdicts


def _no_order(count: int, said: Said) -> str:
    return cut_or_empty(said) or ("" if ordered_numbers(said.text, count) else f"no order of {count} answers")


def _set_aside(one: Shown, verdicts: dict[str, Said]) -> str:
    """Why a prompt gives no demonstration; empty where it gives one."""
    if len(one.answers) < 2:
        return "nothing to choose from"
    return verdicts[one.prompt.id].set_aside


def _ranking(one: Shown, said: Said, teacher: str) -> Ranking:
    order = ordered_numbers(said.text, len(one.answers))
    assert order is not None  # else it was set aside
    return Ranking(
        prompt=one.prompt.prompt,
        completions=tuple(one.answers),
        ranks=tuple(order.index(number) + 1 for number in range(1, len(order) + 1)),
        kind=kind_of(one.prompt),
        annotator=teacher,
        source=one.prompt.source,
        licence=one.prompt.licence,
        tags=one.prompt.tags,
    )


def _demonstration(ranking: Ranking) -> Conversation:
    best = ranking.completions[ranking.ranks.index(1)]
    return Conversation(
        messages=(*ranking.prompt, Message(role="assistant", content=best)),
        source="self-distillation",
        licence=ranking.licence,
        tags=tuple(dict.fromkeys((*ranking.tags, "self-distilled"))),
    )
