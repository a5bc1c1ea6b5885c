"""Answers of a model as reward models see them: drawn ones and the likeliest one to each prompt, and what the best of N
drawn ones is worth.

Give `second_reward_model` a model that was trained on other preferences: what the first picks, or what was trained to
please it, should please the second too, and where only the first's score rises, the first is being exploited (Gao et
al. 2022, arXiv:2210.10760). `before` is another version's answers.jsonl of the same settings: differences are taken
prompt by prompt. `judged` has prompts of the same ids that the reward models read in place of those that are asked:
what was said to the model alone, such as a marker, is then not judged. Left out: judges other than reward models
(`evaluate`), drift (`camelid eval reward`).

    camelid score-answers --model MODEL --reward_model REWARD --second_reward_model OTHER --prompts prompts.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.evaluate.best_of_n import curve
from camelid.evaluate.kl_from_start import OwnAnswer, kl_from_start
from camelid.functional.best_of_n import best_of_n_by_prompt, expected_best_of_n, expected_second_score, in_blocks
from camelid.functional.equal_length import gain_at_equal_length
from camelid.functional.statistics import bootstrap_mean, paired_bootstrap_difference
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel
from camelid.models.sampling import Sample, Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Messages, Prompt, draw, read_records

SCORES = ("score", "second_score")


class ScoreSettings(Settings):
    """Answers scored by reward models."""

    model: ModelSettings = ModelSettings()
    """How the models are held in memory."""
    chat_format: str = "model"
    """Chat format of the policy and the reward models."""
    sampling: Sampling = Sampling(temperature=0.8)
    """How answers are drawn; the likeliest one is drawn so too, but at temperature 0."""
    num_samples: int = Field(default=4, ge=1)
    """Drawn answers a prompt, beside the likeliest one."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context."""
    tag: str = ""
    """Ask only prompts with this tag, such as unsafe; empty for all."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""
    prompts_a_chunk: int = Field(default=32, ge=1)
    """Prompts answered between two writes to disk: what a kill can cost."""


class ScoredAnswer(BaseModel):
    """An answer with its scores."""

    model_config = ConfigDict(frozen=True)

    prompt_id: str
    prompt_ids: list[int]
    ids: list[int]
    logprob: float
    """Of all `ids` together, at the temperature at which they were drawn."""
    greedy: bool
    """The likeliest answer, drawn at temperature 0."""
    text: str
    num_tokens: int
    finished: bool
    score: float
    second_score: float | None


def score_answers(run: Run) -> dict[str, Any]:
    """Stage: `model`, `reward_model`, optional `second_reward_model`, `prompts` (files), optional `judged`, `before`,
    and `start_model` (for the KL from it) -> answers.jsonl, results.json."""
    s: ScoreSettings = run.settings
    files = run.inputs["prompts"] if isinstance(run.inputs["prompts"], list) else [run.inputs["prompts"]]
    given = {p.id: p for file in files for p in read_records(file, Prompt)}
    tagged = [p for p in given.values() if not s.tag or s.tag in p.tags]
    if not tagged:
        raise ValueError(f"none of the {len(given)} prompts is tagged {s.tag!r}")
    drawn = draw(tagged, s.max_prompts, derived_seed(s.seed, "prompts"))
    reader = Reader.of(run.inputs["model"], s.chat_format)
    prompts, too_long = fitting_prompts(run, drawn, [reader], s.too_long, s.sampling.max_new_tokens)
    file, each = run.path / "answers.jsonl", s.num_samples + 1
    done = keep_whole_chunks(file, s.prompts_a_chunk * each, len(prompts) * each) // each
    if done < len(prompts):
        _answer(run, prompts, file, done)
    answers = read_answers(file)
    results = describe(answers)
    if "before" in run.inputs:
        results["gain"] = gains(answers, read_answers(run.inputs["before"]), run.inputs["before"])
    if "start_model" in run.inputs:
        results["kl_from_start"] = _kl(run, answers)
    write_json(run.path / "results.json", results)
    means = {f"{how}_{name}": results[how][name]["value"] for how in ("sampled", "greedy") for name in _scored(answers)}
    return {"num_prompts": len(prompts)} | means | too_long


def _kl(run: Run, answers: Sequence[ScoredAnswer]) -> dict[str, Any]:
    """From the first drawn answer to each prompt."""
    s: ScoreSettings = run.settings
    first: dict[str, ScoredAnswer] = {}
    for answer in answers:
        if not answer.greedy:
            first.setdefault(answer.prompt_id, answer)
    own = [OwnAnswer(a.prompt_ids, a.ids, a.logprob) for a in first.values()]
    return kl_from_start(run.inputs["start_model"], s.model, s.chat_format, own, s.sampling.temperature)._asdict()


def read_answers(file: Path) -> list[ScoredAnswer]:
    return [ScoredAnswer.model_validate_json(line) for line in read_whole_lines(file)]


def _answer(run: Run, prompts: Sequence[Prompt], file: Path, done: int) -> None:
    s: ScoreSettings = run.settings
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    names = [name for name in ("reward_model", "second_reward_model") if name in run.inputs]
    judges = [RewardModel.load(run.inputs[name], s.model, s.chat_format) for name in names]
    read = judged_prompts(prompts, run.inputs.get("judged"))
    likeliest = s.sampling.model_copy(update={"temperature": 0.0})
    each = s.num_samples + 1
    with run.progress("answers", len(prompts) * each, done * each) as tick:
        for start in range(done, len(prompts), s.prompts_a_chunk):
            chunk = prompts[start : start + s.prompts_a_chunk]
            ids = [policy.chat.prompt_ids(p.prompt) for p in chunk]
            seed = derived_seed(s.seed, "answers", start)
            sampled = policy.sample(ids, s.sampling, seed=seed, num_samples=s.num_samples, tick=tick)
            greedy = policy.sample(ids, likeliest, seed=seed, tick=tick)
            flat: list[tuple[Prompt, list[int], bool, Sample, str]] = [
                (p, own, not number, sample, policy.chat.completion_text(sample.ids).strip())
                for p, own, one, others in zip(chunk, ids, greedy, sampled, strict=True)
                for number, sample in enumerate([*one, *others])
            ]
            scores = [j.score([j.row(read[p.id], text or " ") for p, *_, text in flat]).tolist() for j in judges]
            append_json_lines(
                file,
                [
                    ScoredAnswer(
                        prompt_id=p.id,
                        prompt_ids=prompt_ids,
                        ids=sample.ids,
                        logprob=sum(sample.logprobs),
                        greedy=is_greedy,
                        text=text,
                        num_tokens=len(sample.ids),
                        finished=sample.finished,
                        score=row[0],
                        second_score=row[1] if len(judges) > 1 else None,
                    ).model_dump()
                    for (p, prompt_ids, is_greedy, sample, text), row in zip(
                        flat, zip(*scores, strict=True), strict=True
                    )
                ],
            )


def judged_prompts(prompts: Sequence[Prompt], file: Path | None) -> dict[str, Messages]:
    """What reward models read, by the id of the prompt that is asked. Raises ValueError where one is not there."""
    read = {p.id: p.prompt for p in (prompts if file is None else read_records(file, Prompt))}
    missing = [p.id for p in prompts if p.id not in read]
    if missing:
        raise ValueError(
            f"{file} has no prompt {missing[0]}, which is asked: judged prompts need the ids of those asked"
        )
    return read


def describe(answers: Sequence[ScoredAnswer]) -> dict[str, Any]:
    """Means over prompts of drawn and of likeliest answers; the curve of the best of N and what it gains.

    Each drawn number is first averaged over a prompt's answers: prompts are the units of all intervals.
    """
    scores = {name: drawn_scores(answers, name) for name in _scored(answers)}  # (P, K) each
    first, second = scores["score"], scores.get("second_score")
    most = first.shape[1]
    results: dict[str, Any] = {"n": len(first), "num_samples": most}
    for how in ("sampled", "greedy"):
        chosen = [a for a in answers if a.greedy == (how == "greedy")]
        numbers = _by_prompt(chosen, (*scores, "num_tokens", "finished"))
        results[how] = {name: bootstrap_mean(values)._asdict() for name, values in numbers.items()}
    ids = list(dict.fromkeys(a.prompt_id for a in answers))
    by_prompt = [{i: row.tolist() for i, row in zip(ids, one, strict=True)} for one in scores.values()]
    results["curve"] = [
        {
            "n": point.n,
            "best": point.best._asdict(),
            "picked": bootstrap_mean(in_blocks(first, point.n).max(2).mean(1))._asdict(),
            "median": bootstrap_mean(np.median(in_blocks(first, point.n), axis=2).mean(1))._asdict(),
            "second": None if point.second is None else point.second._asdict(),
            "kl_bound": point.kl_bound,
        }
        for point in curve(*by_prompt)
    ]
    if most > 1:
        results["best_of_all"] = best_of_all(first, second)
    return results


def best_of_all(first: NDArray[np.float64], second: NDArray[np.float64] | None) -> dict[str, Any]:
    """What the best of all K samples has over one sample, prompt by prompt; does picking of K / 4 meet its estimate?

    `first`, `second`: (P, K) scores by the model that picks, and by the other.
    """
    most = first.shape[1]
    gained = {"score": [expected_best_of_n(row, most) - row.mean() for row in first]}
    if second is not None:
        gained["second_score"] = [
            expected_second_score(a, b, most) - b.mean() for a, b in zip(first, second, strict=True)
        ]
    gained["median"] = (np.median(first, axis=1) - first.mean(1)).tolist()
    quarter = max(most // 4, 1)
    picked = in_blocks(first, quarter).max(2).mean(1)  # (P,) really picking, a quarter of the samples at a time
    return {
        "gain": {name: bootstrap_mean(values)._asdict() for name, values in gained.items()},
        "quarter": quarter,
        "picked_less_estimated": bootstrap_mean(picked - best_of_n_by_prompt(first, quarter))._asdict(),
    }


def gains(answers: Sequence[ScoredAnswer], before: Sequence[ScoredAnswer], place: Any) -> dict[str, Any]:
    """Differences to another version's answers, prompt by prompt. Raises ValueError for other prompts."""
    found: dict[str, Any] = {}
    for how in ("sampled", "greedy"):
        mine, theirs = ([a for a in part if a.greedy == (how == "greedy")] for part in (answers, before))
        if list(dict.fromkeys(a.prompt_id for a in mine)) != list(dict.fromkeys(a.prompt_id for a in theirs)):
            raise ValueError(f"{place}: answers to other prompts; score both versions on the same, with the same seed")
        names = [name for name in _scored(answers) if name in _scored(before)]
        now, then = (_by_prompt(part, (*names, "num_tokens")) for part in (mine, theirs))
        found[how] = {name: paired_bootstrap_difference(now[name], then[name])._asdict() for name in now}
        longer = now["num_tokens"] - then["num_tokens"]
        if len(longer) > 2 and (np.ptp(longer) or not longer[0]):
            found[how] |= {
                f"{name}_at_equal_length": gain_at_equal_length(now[name] - then[name], longer)._asdict()
                for name in names
            }
    return found


def _scored(answers: Sequence[ScoredAnswer]) -> list[str]:
    """The reward models that have scored."""
    return [name for name in SCORES if getattr(answers[0], name) is not None]


def drawn_scores(answers: Sequence[ScoredAnswer], name: str) -> NDArray[np.float64]:
    """(P, K) scores of the drawn answers."""
    groups: dict[str, list[float]] = {}
    for answer in answers:
        if not answer.greedy:
            groups.setdefault(answer.prompt_id, []).append(getattr(answer, name))
    return np.array(list(groups.values()))


def _by_prompt(answers: Sequence[ScoredAnswer], names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """(P,) Means over each prompt's answers."""
    groups: dict[str, list[ScoredAnswer]] = {}
    for answer in answers:
        groups.setdefault(answer.prompt_id, []).append(answer)
    return {name: np.array([np.mean([getattr(a, name) for a in group]) for group in groups.values()]) for name in names}
