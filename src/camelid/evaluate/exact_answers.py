"""How many questions a model answers as their prompts say is right, whether it reasons first or not.

What counts as the answer is what follows the last "answer is" of the reply, to the end of its line, or else the whole
reply; numbers are compared as numbers, everything else as SQuAD does (`functional.exact_match`). Held-out questions of
`camelid rationales` can be asked; benchmarks have their own ways (`evaluate-task`). `before` is another model's folder
of this stage over the same questions: differences are taken question by question.

    camelid exact-answers --model MODEL --prompts held_out.jsonl
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.functional.exact_match import matches_any
from camelid.functional.final_number import NUMBER, as_number, last_number
from camelid.functional.statistics import bootstrap_mean, paired_bootstrap_difference, proportion
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Prompt, draw, read_records

ANSWERS = "answers.jsonl"
SAID = re.compile(r"answer is:?[ \t]*(.+)", re.IGNORECASE)


class ExactSettings(Settings):
    """Exact answers."""

    model: ModelSettings = ModelSettings()
    """How the model is held in memory."""
    chat_format: str = "model"
    """Chat format."""
    sampling: Sampling = Sampling(temperature=0.0, max_new_tokens=128)
    """How it answers."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""
    prompts_a_chunk: int = Field(default=64, ge=1)
    """Prompts answered between two writes to disk: what a kill can cost."""


class Answered(BaseModel):
    """A reply and what became of it."""

    model_config = ConfigDict(frozen=True)

    prompt_id: str
    source: str
    wanted: str
    text: str
    num_tokens: int
    finished: bool

    @property
    def is_right(self) -> bool:
        return is_right(self.text, self.wanted)


def exact_answers(run: Run) -> dict[str, Any]:
    """Stage: `model`, `prompts` (a file, each with its answer), optional `before` -> answers.jsonl, results.json."""
    s: ExactSettings = run.settings
    given = {p.id: p for p in read_records(run.inputs["prompts"], Prompt)}
    without = next((p for p in given.values() if not p.answer.strip()), None)
    if without:
        raise ValueError(f"{run.inputs['prompts']}: prompt {without.id} has no answer to compare with")
    drawn = draw(list(given.values()), s.max_prompts, derived_seed(s.seed, "prompts"))
    reader = Reader.of(run.inputs["model"], s.chat_format)
    prompts, too_long = fitting_prompts(run, drawn, [reader], s.too_long, s.sampling.max_new_tokens)
    _answer(run, prompts)
    answers = [Answered.model_validate_json(line) for line in read_whole_lines(run.path / ANSWERS)]
    results = describe(answers)
    if "before" in run.inputs:
        results["change"] = change(answers, run.inputs["before"])
    write_json(run.path / "results.json", results)
    return {"num_prompts": len(answers), "right": results["right"]["value"]} | too_long


def is_right(text: str, wanted: str) -> bool:
    said = SAID.findall(text)
    answer = (said[-1] if said else text).strip()
    if NUMBER.fullmatch(wanted.strip()):
        return last_number(answer) == as_number(wanted.strip())
    return matches_any(answer, [wanted])


def describe(answers: Sequence[Answered]) -> dict[str, Any]:
    """Shares that are right, overall and by source, tokens, and how many replies came to their end."""
    sources = dict.fromkeys(answer.source for answer in answers)
    own = {source: [answer for answer in answers if answer.source == source] for source in sources}
    return {
        "n": len(answers),
        "right": _right(answers),
        "right_by_source": {source: _right(part) for source, part in own.items()},
        "tokens": bootstrap_mean([answer.num_tokens for answer in answers])._asdict(),
        "finished": proportion(sum(answer.finished for answer in answers), len(answers))._asdict(),
    }


def change(answers: Sequence[Answered], before: Path) -> dict[str, Any]:
    """The share that is right less another model's. Raises ValueError where it was asked other questions."""
    then = [Answered.model_validate_json(line) for line in read_whole_lines(before / ANSWERS)]
    if [answer.prompt_id for answer in then] != [answer.prompt_id for answer in answers]:
        raise ValueError(f"{before}: answers to other questions; ask both models the same, with the same seed")
    now, old = ([float(answer.is_right) for answer in part] for part in (answers, then))
    return {"right": paired_bootstrap_difference(now, old)._asdict()}


def _right(answers: Sequence[Answered]) -> dict[str, Any]:
    return proportion(sum(answer.is_right for answer in answers), len(answers))._asdict()


def _answer(run: Run, prompts: Sequence[Prompt]) -> None:
    s: ExactSettings = run.settings
    file = run.path / ANSWERS
    done = keep_whole_chunks(file, s.prompts_a_chunk, len(prompts))
    if done == len(prompts):
        return
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    with run.progress("answers", len(prompts), done) as tick:
        for start in range(done, len(prompts), s.prompts_a_chunk):
            chunk = prompts[start : start + s.prompts_a_chunk]
            ids = [policy.chat.prompt_ids(p.prompt) for p in chunk]
            drawn = policy.sample(ids, s.sampling, seed=derived_seed(s.seed, "answers", start), tick=tick)
            rows = [
                Answered(
                    prompt_id=p.id,
                    source=p.source,
                    wanted=p.answer,
                    text=policy.chat.completion_text(samples[0].ids).strip(),
                    num_tokens=len(samples[0].ids),
                    finished=samples[0].finished,
                ).model_dump()
                for p, samples in zip(chunk, drawn, strict=True)
            ]
            append_json_lines(file, rows)
