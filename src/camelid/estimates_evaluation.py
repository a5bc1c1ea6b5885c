"""What measuring a model will cost; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camelid.costs import Cost, Drawing
from camelid.evaluate.tasks.asking import asked, chosen_questions
from camelid.evaluate.tasks.registry import find_task
from camelid.expected import Left, Reads, Rows, tokens_of
from camelid.models.requests import Generate, Likelihood, rows_at_once
from camelid.models.shape import Shape

PAGE_SECONDS = 5.0
"""Bootstraps, two figures and a page."""


def sample(cost: Cost, shape: Shape, sampling: Any, prompts: Rows, *, copies: int = 1, calls: float = 1) -> None:
    """Completions of each of the prompts."""
    cost.sample(shape, sampling, prompts.number, prompts.prompt_tokens, copies=copies, calls=calls)


def evaluate_version(s: Any, reads: Reads, cost: Cost) -> Left:
    shape, judge, prompts = reads.shape("model"), reads.shape("judge"), reads.rows("prompts")
    new = s.sampling.max_new_tokens
    cost.load(shape)
    cost.load(judge)
    calls = prompts.number / min(s.prompts_a_chunk, prompts.number)
    sample(cost, shape, s.sampling, prompts, calls=calls)
    cost.score(judge, prompts.number * (prompts.prompt_tokens + new), at_once=s.model.micro_batch_tokens)
    if "start_model" in reads and s.kl_prompts:
        rows = min(s.kl_prompts, prompts.number)
        start = reads.shape("start_model")
        cost.unload()
        cost.load(start)
        cost.score(start, rows * (prompts.prompt_tokens + new), with_head=rows * new)
    return {"answers.jsonl": prompts._replace(answer_tokens=float(new))}


def measure_path(s: Any, reads: Reads, cost: Cost) -> Left:
    """Two reward models share the answers out; each is counted on all."""
    rows = reads.rows("answers")
    for name in ("reward_model", "safety_reward_model"):
        if name in reads:
            shape = reads.shape(name)
            cost.load(shape)
            cost.score(shape, rows.number * rows.tokens, at_once=s.model.micro_batch_tokens)
    cost.seconds += PAGE_SECONDS
    return {}


def choose_checkpoint(s: Any, reads: Reads, cost: Cost) -> Left:
    """All checkpoints are taken to be as large as the first."""
    shape, prompts, reward = (
        reads.shape("models"),
        reads.rows("prompts").first(s.max_prompts),
        reads.shape("reward_model"),
    )
    number, new = len(reads.sources("models")), s.sampling.max_new_tokens
    cost.load(reward)
    for _ in range(number):
        cost.load(shape)
        sample(cost, shape, s.sampling, prompts)
        cost.score(reward, prompts.number * (prompts.prompt_tokens + new), at_once=s.model.micro_batch_tokens)
        if "demonstrations" in reads:
            told = reads.rows("demonstrations")
            cost.score(shape, told.number * told.tokens, with_head=told.number * told.answer_tokens)
        cost.unload()
    return {"model": shape}


def evaluate_task(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every question once and every choice once; the examples once a chunk where they are the same for all.

    Written answers are counted as long as they may be, each behind its own examples.
    """
    shape, path = reads.shape("model"), reads.sources("data")[0]
    cost.load(shape)
    if isinstance(path, Path):
        task = find_task(s.task)
        chosen, shots = chosen_questions(task, path, shots=s.shots, limit=s.limit, header=s.header, seed=s.seed)
        prefixes = {shots.prefix(question) for question in chosen}
        text = "".join(r[0] for q in chosen for r in q.requests[:1]) + "".join(prefixes)
        choices = "".join(r[1] for q in chosen for r in q.requests if isinstance(r, Likelihood))
        written = [
            r for q in chosen for r in asked(q, shots, max_new_tokens=s.max_new_tokens) if isinstance(r, Generate)
        ]
        for limit in sorted({r.max_new_tokens for r in written}):
            prompts = [r.prompt for r in written if r.max_new_tokens == limit]
            mean = sum(map(tokens_of, prompts)) / len(prompts)
            drawing = Drawing(limit, rows_at_once(mean, limit))
            cost.sample(shape, drawing, len(prompts), mean, copies=s.samples)
        if not written:
            cost.score(shape, tokens_of(text + choices), with_head=tokens_of(choices or text))
    return {}


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.evaluate.version.evaluate_version": evaluate_version,
    "camelid.evaluate.path.measure_path": measure_path,
    "camelid.evaluate.checkpoint_choice.choose_checkpoint": choose_checkpoint,
    "camelid.evaluate.tasks.stage.evaluate_task": evaluate_task,
}
"""By module and name of the stage's function."""
