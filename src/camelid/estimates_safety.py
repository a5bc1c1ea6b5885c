"""What Ghost Attention, safety data and the choice of samples cost; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camelid.costs import Cost
from camelid.evaluate.safety.prompts import prompts_of
from camelid.expected import Left, Reads, Rows
from camelid.models.shape import Shape
from camelid.types import Prompt

DATA_SECONDS = 0.2
"""Reading, checking and writing some hundred rows."""
DEMAND_TOKENS, INSTRUCTION_TOKENS, PREPROMPT_TOKENS = 9, 20, 40
"""A word to end with or to use; an instruction of one to three constraints; a safety preprompt."""
UNSAFE_SHARE = 0.37
"""Of the prompts, where their tags are not known before the run: the starter set's."""


def ghost_attention(s: Any, reads: Reads, cost: Cost) -> Left:
    """No dialogue is taken to end early; each has its mean number of turns."""
    shape, turns = reads.shape("model"), (s.min_turns + s.max_turns) / 2
    asked = _user_turns(reads)
    cost.load(shape)
    instructions = (s.max_turns + 1) / 2 * INSTRUCTION_TOKENS  # before every turn that was said so far
    _dialogues(cost, shape, s, s.num_dialogues * turns / s.max_turns, s.max_turns, asked, instructions, s.num_samples)
    new = s.sampling.max_new_tokens
    dialogue = turns * asked + (turns - 1) * new
    return {
        "demonstrations.jsonl": Rows(s.num_dialogues, dialogue + INSTRUCTION_TOKENS, new),
        "told.jsonl": Rows(s.num_dialogues, dialogue + turns * INSTRUCTION_TOKENS, new),
    }


def demand_rows(s: Any, reads: Reads, cost: Cost) -> Left:
    """All answers of a dialogue train; those before its last are counted as context here."""
    cost.seconds += DATA_SECONDS
    rows, turns = reads.rows("conversations"), (1 + s.max_turns) / 2
    asked = rows.prompt_tokens + (1 - s.plain_share) * DEMAND_TOKENS
    return {"rows.jsonl": Rows(s.num_dialogues, turns * asked + (turns - 1) * rows.answer_tokens, rows.answer_tokens)}


def attribute_recall(s: Any, reads: Reads, cost: Cost) -> Left:
    shape = reads.shape("model")
    cost.load(shape)
    _dialogues(cost, shape, s, s.num_dialogues, max(s.turns), _user_turns(reads), INSTRUCTION_TOKENS)
    return {}


def _user_turns(reads: Reads) -> float:
    """Tokens of a user turn: those of a row's prompt, an overestimate where rows have several turns."""
    return reads.rows("conversations" if "conversations" in reads else "prompts").prompt_tokens


def _dialogues(
    cost: Cost, shape: Shape, s: Any, number: float, turns: int, asked: float, said: float, copies: int = 1
) -> None:
    """Every turn is one call for each chunk of dialogues, and reads the dialogue so far again: its mean length."""
    new = s.sampling.max_new_tokens
    so_far = (turns + 1) / 2 * asked + (turns - 1) / 2 * new + said
    calls = turns * max(number / s.dialogues_a_chunk, 1)
    cost.sample(shape, s.sampling, number * turns, so_far, copies=copies, calls=calls)


def context_distillation(s: Any, reads: Reads, cost: Cost) -> Left:
    """Two answers to each adversarial prompt. Every distilled answer is taken to be kept."""
    policy, judge, rows = reads.shape("model"), reads.shape("safety_reward_model"), reads.rows("prompts")
    prompts = rows._replace(number=rows.number * UNSAFE_SHARE).first(s.max_prompts)
    new = s.sampling.max_new_tokens
    cost.load(policy)
    cost.load(judge)
    calls = max(prompts.number / s.prompts_a_chunk, 1)
    for more in (0, PREPROMPT_TOKENS):
        cost.sample(policy, s.sampling, prompts.number, prompts.prompt_tokens + more, calls=calls)
    cost.score(judge, 2 * prompts.number * (prompts.prompt_tokens + new), at_once=s.model.micro_batch_tokens)
    return {"demonstrations.jsonl": prompts._replace(answer_tokens=new)}


def safety_share(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += DATA_SECONDS
    safety = reads.rows("safety")
    return {"rows.jsonl": Rows.join([reads.rows("helpful"), safety._replace(number=s.share * safety.number)])}


def choose_temperature(s: Any, reads: Reads, cost: Cost) -> Left:
    policy, reward = reads.shape("model"), reads.shape("reward_model")
    prompts, new = reads.rows("prompts").first(s.max_prompts), s.sampling.max_new_tokens
    cost.load(policy)
    cost.load(reward)
    calls = max(prompts.number / s.prompts_a_chunk, 1)
    for _ in s.temperatures:
        cost.sample(policy, s.sampling, prompts.number, prompts.prompt_tokens, copies=s.num_samples, calls=calls)
    samples = prompts.number * s.num_samples * len(s.temperatures)
    cost.score(reward, samples * (prompts.prompt_tokens + new), at_once=s.model.micro_batch_tokens)
    return {}


def pool_rounds(s: Any, reads: Reads, cost: Cost) -> Left:
    """All answers are taken to differ, as are their prompts."""
    reward, rows = reads.shape("reward_model"), reads.rows("best")
    cost.load(reward)
    cost.score(reward, rows.number * rows.tokens, at_once=s.model.micro_batch_tokens)
    return {"pool.jsonl": rows._replace(number=s.top_share * rows.number)}


def evaluate_safety(s: Any, reads: Reads, cost: Cost) -> Left:
    shape = reads.shape("model")
    given = reads.sources("prompts") if "prompts" in reads else []
    parts = [_asked(source) if isinstance(source, Path) else reads.known.rows(source) for source in given]
    prompts = (Rows.join(parts) if parts else reads.rows("prompts")).first(s.max_prompts)
    cost.load(shape)
    calls = max(prompts.number / s.prompts_a_chunk, 1)
    cost.sample(shape, s.sampling, prompts.number, prompts.prompt_tokens, calls=calls)
    if "demonstrations" in reads:
        rows = reads.rows("demonstrations")
        heads = rows.number * rows.answer_tokens
        cost.score(shape, rows.number * rows.tokens, with_head=heads, at_once=s.model.micro_batch_tokens)
    return {}


def _asked(file: Path) -> Rows:
    """Prompts in any of the formats that the stage reads."""
    return Rows.of([Prompt(prompt=messages) for messages, _ in prompts_of(file)])


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.collect.ghost_attention.ghost_attention": ghost_attention,
    "camelid.collect.demands.demand_rows": demand_rows,
    "camelid.collect.context_distillation.context_distillation": context_distillation,
    "camelid.curate.safety_share.safety_share": safety_share,
    "camelid.train.temperature.choose_temperature": choose_temperature,
    "camelid.train.pool.pool_rounds": pool_rounds,
    "camelid.evaluate.safety.refusal_rates.evaluate_safety": evaluate_safety,
    "camelid.evaluate.attribute_recall.attribute_recall": attribute_recall,
}
"""By module and name of the stage's function."""
