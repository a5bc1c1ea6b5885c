"""What rule models, rerank and probing will cost; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camelid.costs import Cost
from camelid.evaluate.rules.judgements import READERS
from camelid.expected import Left, Reads, Rows
from camelid.models.rule_notes import NOTES, RuleNotes
from camelid.rules import choose_rules, read_rules
from camelid.runs import Input

RULE_TOKENS = 47
"""Of a turn that asks about one of our rules, in the mean: 38 to 54 (`expected.tokens_of`)."""
INSTRUCTION_TOKENS = 93
"""Of what a prober is told, in the mean: 81 to 105."""

LABELLED = ("no-harmful-help", "no-needless-refusal", "no-falsehood")
"""Rules that have labels, where those that are judged are not known yet."""


def make_rule_judgements(s: Any, reads: Reads, cost: Cost) -> Left:
    """Files that are there are read; of a stage's pairs both answers are taken to be labelled."""
    paths = [(name, path) for name in READERS if name in reads for path in reads.sources(name)]
    made = [judgement for name, path in paths if isinstance(path, Path) for judgement in READERS[name](path, s)]
    cost.seconds += 0.2 + len(made) / 10_000
    pairs = [reads.known.rows(source) for _, source in paths if not isinstance(source, Path)]
    expected = [rows._replace(number=2 * rows.first(s.max_rows).number) for rows in pairs]
    return {"judgements.jsonl": Rows.join([Rows.of(made), *expected])}


def train_rules(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every judgement is taken to have a prompt of its own, and the rules to be as long as ours."""
    shape, rows = reads.shape("model").as_reward_model(s.num_layers), reads.rows("judgements")
    share = 1.0 if s.part == "all" else 0.5
    length = min(rows.tokens + RULE_TOKENS, s.max_tokens)
    read = length if s.conditional else min(rows.tokens, s.max_tokens)
    held_out = min(s.held_out, rows.number * share)
    rest = rows.number * share - held_out
    if s.examples_per_rule is not None:
        rest = min(rest, s.examples_per_rule * len(s.few_shot_rules or LABELLED))
    trained = rest * s.epochs
    cost.load_for_training(shape, s.model)
    at = {"length": read, "step_tokens": s.batch_size * read, "checkpoint_every": s.checkpoint_every}
    cost.train(shape, s.model, trained * read, **at)
    cost.score(shape, held_out * read, at_once=s.model.micro_batch_tokens)
    return {"model": shape}


def measure_rerank(s: Any, reads: Reads, cost: Cost) -> Left:
    """An answer goes once through each model that scores, and the rules after it."""
    policy, reward, judge = (reads.shape(name) for name in ("model", "reward_model", "judge_model"))
    prompts = reads.rows("prompts").first(s.max_prompts)
    answers, length = prompts.number * s.num_samples, prompts.prompt_tokens + s.sampling.max_new_tokens
    for shape in (policy, reward, judge):
        cost.load(shape)
    calls = prompts.number / min(s.prompts_a_chunk, prompts.number)
    cost.sample(policy, s.sampling, prompts.number, prompts.prompt_tokens, copies=s.num_samples, calls=calls)
    at_once = s.model.micro_batch_tokens
    cost.score(reward, answers * length, at_once=at_once)
    cost.score(judge, answers * (length + _rules(s, reads, "judge_model") * RULE_TOKENS), at_once=at_once)
    if "rule_model" in reads:
        rule_model = reads.shape("rule_model")
        cost.load(rule_model)
        cost.score(rule_model, answers * (length + _rules(s, reads, "rule_model") * RULE_TOKENS), at_once=at_once)
    return {}


def probe_rules(s: Any, reads: Reads, cost: Cost) -> Left:
    """No probe is taken to repeat another. A server's time is not known here and counted as none."""
    target, judge = reads.shape("model"), reads.shape("rule_model")
    probes = _rules(s, reads, "rule_model") * s.probes_per_rule
    calls = probes / min(s.probes_a_chunk, probes)
    if s.prober == "model":
        prober = reads.shape("prober_model") if "prober_model" in reads else target
        cost.load(prober)
        cost.sample(prober, s.probing, probes, INSTRUCTION_TOKENS, calls=calls)
        cost.unload()
    cost.load(target)
    cost.load(judge)
    asked = s.remote.max_tokens if s.prober == "server" else s.probing.max_new_tokens
    cost.sample(target, s.sampling, probes, asked, calls=calls)
    tokens = probes * (asked + s.sampling.max_new_tokens + RULE_TOKENS)
    cost.score(judge, tokens, at_once=s.model.micro_batch_tokens)
    return {"successes.jsonl": Rows(probes, asked, s.sampling.max_new_tokens)}


def _rules(s: Any, reads: Reads, name: str) -> int:
    """How many rules will be asked about; as many as ours, where the model is not there yet."""
    source: Input = reads.sources(name)[0]
    folder = source if isinstance(source, Path) else None
    known = RuleNotes.read(folder).rules if folder and (folder / NOTES).exists() else tuple(read_rules().values())
    return len(choose_rules(known, s.rules))


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.evaluate.rules.judgements.make_rule_judgements": make_rule_judgements,
    "camelid.train.rules.train_rules": train_rules,
    "camelid.evaluate.rules.rerank.measure_rerank": measure_rerank,
    "camelid.evaluate.rules.probe.probe_rules": probe_rules,
}
"""By module and name of the stage's function."""
