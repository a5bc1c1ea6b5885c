"""What each kind of stage will cost, from its settings and the rows that it reads; a small function a kind, in TABLE.

A function gets the stage's settings, what it reads, and the cost to add to; it returns what its outputs will look like,
so that the stages after it can be estimated before anything has run. Imports no torch and runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camelid import (
    estimates_curation,
    estimates_evaluation,
    estimates_groups,
    estimates_long,
    estimates_preferences,
    estimates_rules,
    estimates_safety,
    estimates_sieves,
    estimates_study,
    estimates_traces,
)
from camelid.annotate.verdicts import QUESTION, SHAPE
from camelid.collect.readers import read
from camelid.costs import Cost
from camelid.estimates_evaluation import sample
from camelid.expected import Left, Reads, Rows, tokens_of
from camelid.functional.mixing import mixture_sizes
from camelid.judges.case import ORDERS
from camelid.models.shape import Shape
from camelid.types import KINDS

DATA_SECONDS = 0.2
"""Reading, checking and writing some hundred rows."""
REPORT_SECONDS = 5.0
"""Figures and page."""


def import_data(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every row is taken to fit; what will be set aside is not known."""
    cost.seconds += DATA_SECONDS
    paths = [path for path in reads.sources("data") if isinstance(path, Path)]
    if len(paths) < len(reads.sources("data")):
        return {"rows.jsonl": reads.rows("data").first(s.max_rows)}
    files = [Rows.of(read(path, format=s.format, want=KINDS[s.kind]).rows) for path in paths]
    return {"rows.jsonl": Rows.join(files).first(s.max_rows)}


def hold_back(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += DATA_SECONDS
    rows = reads.rows("preferences").first(s.max_rows)
    shares = {"judge": s.judge_share, "annotator": s.annotator_share, "train": 1 - s.judge_share - s.annotator_share}
    parts: Left = {f"{name}.jsonl": rows._replace(number=rows.number * share) for name, share in shares.items()}
    # How many are of which kind, and rated how, is not known before the run: of the starter set half are of each kind,
    # and three quarters have a clearly better answer.
    chosen = rows._replace(number=rows.number * shares["train"] * len(s.demonstrate) / 2 * 0.75)
    return parts | {"chosen.jsonl": chosen}


def mix(s: Any, reads: Reads, cost: Cost) -> Left:
    """Of a source of one kind only, half of the rows are taken to be of it."""
    cost.seconds += DATA_SECONDS
    found = {name: reads.rows(name) for name in s.weights}
    there = {name: rows.number / (2 if name in s.only else 1) for name, rows in found.items()}
    sizes = mixture_sizes(there, s.weights, whole=s.whole, max_rows=s.max_rows)
    return {"mixed.jsonl": Rows.join([rows._replace(number=sizes[name]) for name, rows in found.items()])}


def train_sft(s: Any, reads: Reads, cost: Cost) -> Left:
    """Assistant turns before the last are counted as context, so the head's work is a little too low for long talks."""
    shape, rows = reads.shape("model"), reads.rows("demonstrations")
    trained, length = (rows.number - s.held_out) * s.epochs, min(rows.tokens, s.max_tokens)
    step, heads = s.batch_size * length, trained * rows.answer_tokens
    cost.load_for_training(shape, s.model)
    every = s.checkpoint_every
    at = {"length": length, "step_tokens": step, "checkpoint_every": every}
    cost.train(shape, s.model, trained * length, with_head=heads, **at)
    openings = (rows.number - s.held_out) * s.opening_epochs
    opening = rows.prompt_tokens + s.opening_tokens
    if s.opening_epochs:
        step, heads = 2 * s.batch_size * opening, openings * s.opening_tokens
        at = {"length": opening, "step_tokens": step, "checkpoint_every": every}
        cost.train(shape, s.model, openings * opening, with_head=heads, **at)
    if "pretraining" in reads:
        text = max(1.0, s.ptx.ratio * s.batch_size) * s.ptx.max_tokens * trained / s.batch_size
        cost.train(shape, s.model, text, with_head=text, length=s.ptx.max_tokens, step_tokens=s.ptx.max_tokens)
    if s.held_out:
        held_out = 2 * s.held_out
        at_once = s.model.micro_batch_tokens
        cost.score(shape, held_out * length, with_head=held_out * rows.answer_tokens, at_once=at_once)
    return {"model": shape}


def sample_best(s: Any, reads: Reads, cost: Cost) -> Left:
    """At most one answer a prompt is left."""
    policy, reward = reads.shape("model"), reads.shape("reward_model")
    prompts = reads.rows("prompts").first(s.max_prompts)
    cost.load(policy)
    cost.load(reward)
    calls = prompts.number / min(s.prompts_a_chunk, prompts.number)
    sample(cost, policy, s.sampling, prompts, copies=s.num_samples, calls=calls)
    best = prompts._replace(answer_tokens=s.sampling.max_new_tokens)
    cost.score(reward, best.number * s.num_samples * best.tokens, at_once=s.model.micro_batch_tokens)
    return {"best.jsonl": best}


def train_ppo(s: Any, reads: Reads, cost: Cost) -> Left:
    """A rollout goes through the reward models, the policy, the reference, and then `ppo_epochs` updates.

    Of two reward models each is counted on every rollout, and text of pretraining as full rows; programs and functions
    that score are counted as no time.
    """
    shape, prompts = reads.shape("model"), reads.rows("prompts")
    rewards = [reads.shape(name) for name in ("reward_model", "safety_reward_model") if name in reads]
    alarms = [reads.shape("alarm_model")] if "alarm_model" in reads else []
    if not rewards and "reward_model" in s.scoring.sources:
        rewards = [reads.shape("reward_model")]  # an error that names the input
    rollouts, new = s.num_iterations * min(s.batch_size, prompts.number), s.sampling.max_new_tokens
    length, at_once = prompts.prompt_tokens + new, s.model.micro_batch_tokens
    tokens = rollouts * length
    cost.load_for_training(shape, s.model)
    for reward in [*([] if s.share_trunk else rewards), *alarms]:
        cost.load(reward)
    if not s.model.lora_rank:
        cost.load(shape)  # without adapters to switch off, the reference is a copy
    sample(cost, shape, s.sampling, prompts._replace(number=rollouts), calls=s.num_iterations)
    for reward in [*rewards, *alarms]:
        cost.score(reward, tokens, at_once=at_once)
    _held_out_looks(s, reads, cost, rewards)
    # The policy's pass takes log-probabilities and entropies from logits of their own, the reference's only the former.
    cost.score(shape, 2 * tokens, with_head=3 * rollouts * new, at_once=at_once)
    step = {"length": length, "step_tokens": s.mini_batch_size * length}
    heads = s.ppo_epochs * rollouts * new
    cost.train(shape, s.model, s.ppo_epochs * tokens, with_head=heads, **step)
    if s.value_from == "reward_model":
        cost.load_for_training(rewards[0], s.model)
        cost.score(rewards[0], tokens, at_once=at_once)
        cost.train(rewards[0], s.model, s.ppo_epochs * tokens, **step)
    if "pretraining" in reads:
        text = s.ppo_epochs * rollouts * s.ptx.ratio * s.ptx.max_tokens
        cost.train(shape, s.model, text, with_head=text, **step)
    return {"model": shape}


def _held_out_looks(s: Any, reads: Reads, cost: Cost, rewards: list[Shape]) -> None:
    """Completions of PPO's held-out prompts, drawn and scored."""
    given = "held_out_prompts" in reads
    held_out = reads.rows("held_out_prompts") if given else reads.rows("prompts")._replace(number=s.held_out)
    if not held_out.number:
        return
    looks = 1 + -(-s.num_iterations // s.held_out_every)
    number, new = looks * held_out.number, s.sampling.max_new_tokens
    sample(cost, reads.shape("model"), s.sampling, held_out._replace(number=number), calls=looks)
    for reward in rewards:
        cost.score(reward, number * (held_out.prompt_tokens + new), at_once=s.model.micro_batch_tokens)


def sample_pairs(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every pair is taken to differ. The two models are loaded one after the other."""
    prompts = reads.rows("prompts").first(s.max_prompts)
    for name, sampling in (("model", s.sampling), ("other_model", s.other_sampling)):
        shape = reads.shape(name)
        cost.load(shape)
        sample(cost, shape, sampling, prompts)
        cost.unload()
    new = (s.sampling.max_new_tokens + s.other_sampling.max_new_tokens) / 2
    return {"comparisons.jsonl": prompts._replace(answer_tokens=new)}


def annotate_by_reward_model(s: Any, reads: Reads, cost: Cost) -> Left:
    rows, reward = reads.rows("comparisons"), reads.shape("reward_model")
    cost.load(reward)
    cost.score(reward, 2 * rows.number * rows.tokens, at_once=s.model.micro_batch_tokens)
    return {"preferences.jsonl": rows}


def rank_answers(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every answer is taken to differ from its prompt's others."""
    shape, reward, prompts = (
        reads.shape("model"),
        reads.shape("reward_model"),
        reads.rows("prompts").first(s.max_prompts),
    )
    new = s.sampling.max_new_tokens
    cost.load(shape)
    sample(cost, shape, s.sampling, prompts, copies=s.num_samples)
    cost.load(reward)
    tokens = s.num_samples * prompts.number * (prompts.prompt_tokens + new)
    cost.score(reward, tokens, at_once=s.model.micro_batch_tokens)
    return {"rankings.jsonl": prompts._replace(answer_tokens=float(new), answers=s.num_samples)}


def annotate_by_judge(s: Any, reads: Reads, cost: Cost) -> Left:
    """Each comparison in both orders."""
    rows = reads.rows("comparisons")
    shown = rows.prompt_tokens + 2 * rows.answer_tokens + tokens_of(QUESTION + SHAPE)
    cost.ask(s.remote, len(ORDERS) * rows.number, shown, s.remote.max_tokens)
    return {"preferences.jsonl": rows}


def write_run_report(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += REPORT_SECONDS
    return {}


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.collect.stage.import_data": import_data,
    "camelid.annotate.hold_back.hold_back": hold_back,
    "camelid.curate.mix.mix": mix,
    "camelid.annotate.pairs.sample_pairs": sample_pairs,
    "camelid.annotate.rankings.rank_answers": rank_answers,
    "camelid.annotate.scripted.annotate_by_reward_model": annotate_by_reward_model,
    "camelid.annotate.judge.annotate_by_judge": annotate_by_judge,
    "camelid.train.sft.train_sft": train_sft,
    "camelid.train.rejection.sample_best": sample_best,
    "camelid.train.ppo.train_ppo": train_ppo,
    "camelid.evaluate.report.stage.write_run_report": write_run_report,
    **estimates_curation.TABLE,
    **estimates_evaluation.TABLE,
    **estimates_groups.TABLE,
    **estimates_preferences.TABLE,
    **estimates_rules.TABLE,
    **estimates_sieves.TABLE,
    **estimates_study.TABLE,
    **estimates_traces.TABLE,
    **estimates_long.TABLE,
    **estimates_safety.TABLE,
}
"""By module and name of the stage's function, as manifests write it."""
