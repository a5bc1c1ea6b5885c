"""Safety context distillation: answers given under a safety preprompt become demonstrations without it.

After LLaMA-2 (arXiv:2307.09288, section 4.2.4): adversarial prompts only, since on harmless ones it teaches to refuse;
the preprompt is made of adjectives or is an answer template for the prompt's category of risk; and a distilled answer
is kept only where the safety reward model scores it higher than the plain one, for a good answer can become a vague
one. The reward model reads both answers without the preprompt.

    camelid context-distillation --model MODEL --safety_reward_model REWARD --prompts prompts.jsonl
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from camelid.collect.preprompts import adjective_preprompt, category_preprompt
from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.functional.statistics import bootstrap_mean, paired_bootstrap_difference
from camelid.models.constraints import with_text
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.rewards import UNSAFE, is_unsafe
from camelid.models.sampling import Sample, Sampling
from camelid.models.too_long import Reader, fitting_prompts
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Message, Messages, Prompt, draw, read_records, write_records


class DistillationSettings(Settings):
    """Safety context distillation."""

    model: ModelSettings = ModelSettings()
    """How the models are held in memory."""
    chat_format: str = "model"
    """Chat format of the policy and the reward model."""
    sampling: Sampling = Sampling(temperature=0.7, max_new_tokens=128)
    """How answers are drawn, plain and under the preprompt."""
    too_long: Literal["set_aside", "stop"] = "set_aside"
    """What becomes of prompts that, with their preprompt, leave no room for `max_new_tokens` in the model's context."""
    preprompt: Literal["adjectives", "categories"] = "adjectives"
    """Templates with adjectives such as "wise", or answer templates by the category of risk that a prompt's tags name;
    a prompt whose tags name none gets adjectives."""
    answer_templates: dict[str, str] = Field(default={})
    """Further answer templates, by tag, such as {"phishing": "Warn of ..."}; they come before ours."""
    preprompt_in: Literal["system", "first_turn"] = "system"
    """Where the preprompt is said: as the system message, or before the first user turn, for formats without one."""
    keep: Literal["better", "all"] = "better"
    """better: a distilled answer only where it scores higher than the plain one; all: without that gate, to compare."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many of the adversarial prompts, drawn at random; 0 for all."""
    prompts_a_chunk: int = Field(default=64, ge=1)
    """Prompts answered between two writes to disk: what a kill can cost."""


class Distilled(BaseModel):
    """Both answers to a prompt, with their scores."""

    model_config = ConfigDict(frozen=True)

    prompt: Prompt
    preprompt: str
    plain: str
    plain_score: float
    distilled: str
    distilled_score: float
    dropped: str
    """Why the distilled answer is no demonstration; empty where it is one."""

    @property
    def chosen_score(self) -> float:
        """Of the answer that the gate lets through: the distilled one, or else the plain one stays."""
        return self.plain_score if self.dropped else self.distilled_score


def context_distillation(run: Run) -> dict[str, Any]:
    """Stage: `model`, `safety_reward_model`, `prompts` -> demonstrations.jsonl, answers.jsonl, results.json."""
    s: DistillationSettings = run.settings
    read = {p.id: p for p in read_records(run.inputs["prompts"], Prompt)}
    adversarial = draw([p for p in read.values() if is_unsafe(p)], s.max_prompts, derived_seed(s.seed, "prompts"))
    if not adversarial:
        raise ValueError(
            f"none of the {len(read)} prompts in {run.inputs['prompts']} is tagged {UNSAFE!r}: tag the adversarial ones"
        )
    preprompts = {p.id: preprompt_for(p, s) for p in adversarial}
    told = [p.model_copy(update={"prompt": with_text(p.prompt, preprompts[p.id], s.preprompt_in)}) for p in adversarial]
    reader = Reader.of(run.inputs["model"], s.chat_format)
    told, too_long = fitting_prompts(run, told, [reader], s.too_long, s.sampling.max_new_tokens)
    file = run.path / "answers.jsonl"
    done = keep_whole_chunks(file, s.prompts_a_chunk, len(told))
    if done < len(told):
        policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
        judge = RewardModel.load(run.inputs["safety_reward_model"], s.model, s.chat_format)
        with run.progress("answers", 2 * len(told), 2 * done) as tick:
            for start in range(done, len(told), s.prompts_a_chunk):
                chunk = told[start : start + s.prompts_a_chunk]
                prompts = [read[p.id] for p in chunk]
                plain, distilled = (
                    _answer(policy, judge, asked, prompts, s, derived_seed(s.seed, which, start), tick)
                    for which, asked in (("plain", prompts), ("distilled", chunk))
                )
                answered = [
                    _row(prompt, preprompts[prompt.id], one, other, s)
                    for prompt, one, other in zip(prompts, plain, distilled, strict=True)
                ]
                append_json_lines(file, [row.model_dump() for row in answered])
    rows = [Distilled.model_validate_json(line) for line in read_whole_lines(file)]
    demonstrations = [as_demonstration(row) for row in rows if not row.dropped]
    write_records(run.path / "demonstrations.jsonl", demonstrations)
    results = describe(rows)
    write_json(run.path / "results.json", results)
    means = {name: value["value"] for name, value in results.items() if isinstance(value, dict) and "value" in value}
    counts = {"num_prompts": len(rows), "not_adversarial": len(read) - sum(map(is_unsafe, read.values()))}
    return counts | {"kept": len(demonstrations), "dropped": results["dropped"]} | means | too_long


def preprompt_for(prompt: Prompt, s: DistillationSettings) -> str:
    """Drawn from a stream of the prompt's own, whatever other prompts there are."""
    by_category = category_preprompt(prompt.tags, s.answer_templates) if s.preprompt == "categories" else ""
    return by_category or adjective_preprompt(random.Random(derived_seed(s.seed, "preprompt", prompt.id)))


Scored = tuple[Sample, str, float]


def _answer(
    policy: Policy,
    judge: RewardModel,
    asked: Sequence[Prompt],
    scored_as: Sequence[Prompt],
    s: DistillationSettings,
    seed: int,
    tick: Any,
) -> list[Scored]:
    """An answer to each of `asked`, scored as one to `scored_as`."""
    drawn = policy.sample([policy.chat.prompt_ids(p.prompt) for p in asked], s.sampling, seed=seed, tick=tick)
    texts = [policy.chat.completion_text(samples[0].ids).strip() for samples in drawn]
    scores = judge.score([judge.row(p.prompt, text or " ") for p, text in zip(scored_as, texts, strict=True)])
    return [(samples[0], text, score) for samples, text, score in zip(drawn, texts, scores.tolist(), strict=True)]


def _row(prompt: Prompt, preprompt: str, plain: Scored, distilled: Scored, s: DistillationSettings) -> Distilled:
    sample, text, score = distilled
    return Distilled(
        prompt=prompt,
        preprompt=preprompt,
        plain=plain[1],
        plain_score=plain[2],
        distilled=text,
        distilled_score=score,
        dropped=why_dropped(sample.finished, text, score > plain[2], s.keep),
    )


def why_dropped(finished: bool, text: str, better: bool, keep: str) -> str:
    """Why a distilled answer is no demonstration; empty where it is one."""
    if not text:
        return "empty"
    if not finished:
        return "cut before its end"
    return "" if better or keep == "all" else "not better than the plain answer"


def as_demonstration(row: Distilled) -> Conversation:
    """The prompt without the preprompt, and the answer that was given under it."""
    messages: Messages = (*row.prompt.prompt, Message(role="assistant", content=row.distilled))
    tags = (*row.prompt.tags, "context-distilled")
    return Conversation(messages=messages, source="context distillation", licence=row.prompt.licence, tags=tags)


def describe(rows: Sequence[Distilled]) -> dict[str, Any]:
    """Mean scores of the plain answers, of those under the preprompt, and of what the gate lets through (each prompt's
    distilled answer where it is kept, else its plain one), with their differences, prompt by prompt."""
    scores = {
        "plain_score": [row.plain_score for row in rows],
        "distilled_score": [row.distilled_score for row in rows],
        "gated_score": [row.chosen_score for row in rows],
    }
    plain = scores["plain_score"]
    gains = {
        name.replace("_score", "_gain"): paired_bootstrap_difference(mine, plain)
        for name, mine in scores.items()
        if mine is not plain
    }
    estimates = {name: bootstrap_mean(mine) for name, mine in scores.items()} | gains
    return {
        "n": len(rows),
        "dropped": dict(Counter(row.dropped for row in rows if row.dropped).most_common()),
    } | {name: estimate._asdict() for name, estimate in estimates.items()}
