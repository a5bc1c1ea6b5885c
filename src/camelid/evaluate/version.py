"""Measure one version of the assistant: its answers, win rates, refusals, drift from the start.

The judge is a reward model that training never saw. Answers are cut at `max_new_tokens`, for every version alike.

    camelid evaluate --model MODEL --judge JUDGE --prompts prompts.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.evaluate.kl_from_start import OwnAnswer, kl_from_start
from camelid.evaluate.outcomes import outcome
from camelid.evaluate.safety.refusals import is_refusal
from camelid.functional.diversity import distinct_ngrams, repetition
from camelid.functional.length_control import length_controlled_win_rate
from camelid.functional.statistics import bootstrap_mean, proportion, win_rate
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.sampling import Sampling
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Message, Prompt, read_records

TAGS = ("helpful", "unsafe", "borderline")
"""What a prompt may be: an ordinary question, a request for harm, harmless though it sounds dangerous."""


class EvaluateSettings(Settings):
    """Evaluation of a version."""

    version: str = "version"
    """Name of the version in the report."""
    model: ModelSettings = ModelSettings()
    """How the models are held in memory."""
    chat_format: str = "model"
    """Chat format of the policy and the judge."""
    sampling: Sampling = Sampling(temperature=0.7)
    """How answers are drawn."""
    tie_within: float = Field(default=0.05, ge=0)
    """Judge scores (standard deviations) closer than this are a tie."""
    kl_prompts: int = Field(default=48, ge=0)
    """Prompts on which the KL from the start is measured; 0 leaves it out."""
    prompts_a_chunk: int = Field(default=240, ge=1)
    """Prompts answered between two writes to disk."""


class Answer(BaseModel):
    """One answer of one version, with what was measured on it."""

    model_config = ConfigDict(frozen=True)

    prompt_id: str
    prompt: tuple[Message, ...]
    source: str
    tags: tuple[str, ...]
    prompt_ids: list[int]
    ids: list[int]
    logprob: float
    """Of all `ids` together, at the sampling temperature (at 0, at temperature 1)."""
    text: str
    finished: bool
    refused: bool
    judge_score: float


def evaluate_version(run: Run) -> dict[str, Any]:
    """Stage: `model`, `judge`, `prompts` (files), optional `start`, `previous`, `start_model` -> results.json.

    `start` and `previous` are other versions' answers.jsonl to the same prompts.
    """
    s: EvaluateSettings = run.settings
    paths = run.inputs["prompts"] if isinstance(run.inputs["prompts"], list) else [run.inputs["prompts"]]
    prompts = [p for path in paths for p in read_records(path, Prompt)]
    done = keep_whole_chunks(run.path / "answers.jsonl", s.prompts_a_chunk, len(prompts))
    if done < len(prompts):
        _answer(run, prompts, done)
    answers = read_answers(run.path / "answers.jsonl")
    results = describe(answers, s)
    for name in ("start", "previous"):
        if name in run.inputs:
            results |= compare(answers, read_answers(run.inputs[name]), name, s)
    if "start_model" in run.inputs and s.kl_prompts:
        some = answers[:: max(len(answers) // s.kl_prompts, 1)]
        own = [OwnAnswer(a.prompt_ids, a.ids, a.logprob) for a in some]
        start, temperature = run.inputs["start_model"], s.sampling.temperature
        results["kl_from_start"] = kl_from_start(start, s.model, s.chat_format, own, temperature)._asdict()
    write_json(run.path / "results.json", results)
    return {name: value["value"] for name, value in results.items() if isinstance(value, dict) and "value" in value}


def read_answers(path: Path) -> list[Answer]:
    return [Answer.model_validate_json(line) for line in read_whole_lines(path)]


def _answer(run: Run, prompts: Sequence[Prompt], done: int) -> None:
    s: EvaluateSettings = run.settings
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    judge = RewardModel.load(run.inputs["judge"], s.model, s.chat_format)
    with run.progress("answers", 2 * len(prompts), 2 * done) as tick:
        for start in range(done, len(prompts), s.prompts_a_chunk):
            chunk = prompts[start : start + s.prompts_a_chunk]
            ids = [policy.chat.prompt_ids(p.prompt) for p in chunk]
            # The same streams for every version: common random numbers make the versions' differences less noisy.
            drawn = policy.sample(ids, s.sampling, seed=derived_seed(s.seed, "answers", start), tick=tick)
            texts = [policy.chat.completion_text(samples[0].ids).strip() for samples in drawn]
            scores = judge.score([judge.row(p.prompt, t or " ") for p, t in zip(chunk, texts, strict=True)], tick)
            rows = [
                Answer(
                    prompt_id=p.id,
                    prompt=p.prompt,
                    source=p.source,
                    tags=p.tags,
                    prompt_ids=prompt_ids,
                    ids=samples[0].ids,
                    logprob=sum(samples[0].logprobs),
                    text=text,
                    finished=samples[0].finished,
                    refused=is_refusal(text),
                    judge_score=score,
                ).model_dump()
                for p, prompt_ids, samples, text, score in zip(chunk, ids, drawn, texts, scores.tolist(), strict=True)
            ]
            append_json_lines(run.path / "answers.jsonl", rows)


def describe(answers: Sequence[Answer], s: EvaluateSettings) -> dict[str, Any]:
    """What can be said of a version by itself."""
    texts = [a.text for a in answers]
    sources = sorted({a.source for a in answers})
    return {
        "version": s.version,
        "n": len(answers),
        "refusals": refusals(answers),
        "refusals_by_source": {source: refusals([a for a in answers if a.source == source]) for source in sources},
        "judge_score": mean([a.judge_score for a in answers]),
        "judge_score_helpful": mean([a.judge_score for a in answers if "helpful" in a.tags]),
        "length_tokens": mean([len(a.ids) for a in answers]),
        "finished": proportion(sum(a.finished for a in answers), len(answers))._asdict(),
        "distinct_1": distinct_ngrams(texts, 1),
        "distinct_2": distinct_ngrams(texts, 2),
        "repetition": float(np.mean([repetition(text) for text in texts])),
    }


def refusals(answers: Sequence[Answer]) -> dict[str, Any]:
    """Share refused, by tag; a tag without prompts is left out."""
    by_tag = {tag: [a.refused for a in answers if tag in a.tags] for tag in TAGS}
    return {tag: proportion(sum(refused), len(refused))._asdict() for tag, refused in by_tag.items() if refused}


def compare(answers: Sequence[Answer], others: Sequence[Answer], name: str, s: EvaluateSettings) -> dict[str, Any]:
    """Win rate against another version's answers to the same prompts, raw and length-controlled."""
    theirs = {a.prompt_id: a for a in others}
    pairs = [(a, theirs[a.prompt_id]) for a in answers if a.prompt_id in theirs]
    if len(pairs) < len(answers):
        raise ValueError(
            f"{len(answers) - len(pairs)} prompts have no answer by {name!r}: evaluate both on the same prompts"
        )
    outcomes = [outcome(mine.judge_score - their.judge_score, s.tie_within) for mine, their in pairs]
    lengths = [len(mine.ids) - len(their.ids) for mine, their in pairs]
    results = {
        f"win_rate_vs_{name}": win_rate(outcomes)._asdict(),
        f"win_rate_vs_{name}_length_controlled": length_controlled_win_rate(outcomes, lengths)._asdict(),
        f"ties_vs_{name}": outcomes.count(0.5),
    }
    for tag in TAGS:
        chosen = [o for o, (mine, _) in zip(outcomes, pairs, strict=True) if tag in mine.tags]
        if chosen:
            results[f"win_rate_vs_{name}_{tag}"] = win_rate(chosen)._asdict()
    return results


def mean(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean with a 95% bootstrap interval, JSON-able; None of nothing."""
    return bootstrap_mean(values)._asdict() if values else None
