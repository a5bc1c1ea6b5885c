"""What is asked of teachers, and made of preferences and rationales; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camelid.costs import Cost
from camelid.expected import Left, Reads, Rows
from camelid.models.sampling import Sampling
from camelid.models.teacher import Decoding

DATA_SECONDS = 0.2
"""Reading, checking and writing some hundred rows."""
SYSTEM_TOKENS = 30
"""A system message that asks for an explanation."""
SCRIPT_TOKENS = 150
"""What a teacher is told before it talks with itself."""
LIST_TOKENS, SHOWN_TOKENS, SHOWN_KINDS_TOKENS = 600, 250, 700
"""Of a request: three whole tasks and what is wanted, eight instructions, tasks with their kinds or instances."""
KEPT_A_LIST, KEPT_A_REQUEST = 10.0, 4.0
"""New instructions of one reply that all filters let through, of 16 and 7: guesses, of which a run's metrics tell."""
EVOLVING_TOKENS = 150
"""Words around an instruction that is evolved."""
EVOLVED_TOKENS = 20
"""By which an instruction grows in a round, as it is told to."""
TARGETS = ("answer", "rationale", "explained")


def explanation_traces(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every explanation is taken to be as long as it may be, and none to be set aside."""
    cost.seconds += DATA_SECONDS
    prompts = reads.rows("prompts").first(s.max_prompts)
    asked = prompts._replace(number=s.share * prompts.number, prompt_tokens=prompts.prompt_tokens + SYSTEM_TOKENS)
    ask_teacher(s, reads, cost, asked, s.decoding)
    return {"demonstrations.jsonl": asked._replace(answer_tokens=float(s.decoding.max_tokens))}


def rationale_targets(s: Any, reads: Reads, cost: Cost) -> Left:
    """A file's rows, less those that are held out; as long in all targets as with their reasons."""
    cost.seconds += DATA_SECONDS
    files = [reads.known.rows(source).first(s.max_rows) for source in reads.sources("data")]
    rows = Rows.join([file._replace(number=max(file.number - s.held_out, 0)) for file in files])
    left: Left = {f"{target}.jsonl": rows for target in TARGETS}
    return left | {"held_out.jsonl": rows._replace(answer_tokens=0.0)}


def hindsight(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += DATA_SECONDS
    pairs = reads.rows("preferences")
    left: Left = {"demonstrations.jsonl": pairs._replace(number=pairs.number * (1 + (s.answers == "both")), answers=1)}
    if "prompts" in reads:
        left |= {f"{kind}_prompts.jsonl": reads.rows("prompts") for kind in ("good", "bad")}
    return left


def self_chat(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every script is taken to be half as long as it may be, a third of it in its last answer."""
    cost.seconds += DATA_SECONDS
    seeds = reads.rows("seeds").first(s.max_seeds)
    asked = seeds._replace(number=s.chats * seeds.number, prompt_tokens=seeds.prompt_tokens + SCRIPT_TOKENS)
    ask_teacher(s, reads, cost, asked, s.decoding)
    length = s.decoding.max_tokens / 2
    return {"demonstrations.jsonl": Rows(asked.number, length * 2 / 3, length / 3)}


def self_instruct(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every reply is taken to be as long as it may be; a task has one instance. Seeds are read, not counted."""
    cost.seconds += DATA_SECONDS
    number = float(s.num_instructions)
    if s.variant == "alpaca":
        ask_teacher(s, reads, cost, Rows(number / KEPT_A_LIST, LIST_TOKENS), s.alpaca.listing)
        answer = s.alpaca.listing.max_tokens / (2 * KEPT_A_LIST)
        return {"demonstrations.jsonl": Rows(number, answer, answer)}
    ask_teacher(s, reads, cost, Rows(number / KEPT_A_REQUEST, SHOWN_TOKENS), s.davinci.instructions)
    ask_teacher(s, reads, cost, Rows(number, SHOWN_KINDS_TOKENS), s.davinci.kinds)
    ask_teacher(s, reads, cost, Rows(number, SHOWN_KINDS_TOKENS), s.davinci.examples)
    length = s.davinci.examples.max_tokens / 2
    return {"demonstrations.jsonl": Rows(number, length, length)}


def evol_instruct(s: Any, reads: Reads, cost: Cost) -> Left:
    """No evolution is taken to fail."""
    cost.seconds += DATA_SECONDS
    prompts = reads.rows("prompts").first(s.max_prompts)
    number = s.rounds * prompts.number
    length = prompts.prompt_tokens + EVOLVED_TOKENS * s.rounds / 2
    asked = Rows(number, length + EVOLVING_TOKENS)
    ask_teacher(s, reads, cost, asked, s.evolving)
    ask_teacher(s, reads, cost, asked._replace(prompt_tokens=2 * length + EVOLVING_TOKENS), s.judging)
    answered = Rows(number, length + EVOLVED_TOKENS)
    ask_teacher(s, reads, cost, answered, s.answering)
    return {"demonstrations.jsonl": answered._replace(answer_tokens=float(s.answering.max_tokens))}


def self_distillation(s: Any, reads: Reads, cost: Cost) -> Left:
    """All answers are taken to differ, and every verdict to be an order."""
    shape, prompts = reads.shape("model"), reads.rows("prompts").first(s.max_prompts)
    new = s.sampling.max_new_tokens
    cost.load(shape)
    calls = max(prompts.number / s.prompts_a_chunk, 1)
    cost.sample(shape, s.sampling, prompts.number, prompts.prompt_tokens, copies=s.num_samples, calls=calls)
    cost.unload()
    seen = prompts._replace(prompt_tokens=prompts.prompt_tokens + s.num_samples * new)
    ask_teacher(s, reads, cost, seen, s.decoding)
    best = prompts._replace(answer_tokens=float(new), answers=1.0)
    return {"demonstrations.jsonl": best, "rankings.jsonl": best._replace(answers=float(s.num_samples))}


def ask_teacher(s: Any, reads: Reads, cost: Cost, asked: Rows, decoding: Decoding) -> None:
    """Each question once: of a teacher on this machine, of recorded answers, which cost nothing, or of a server."""
    if "teacher" in reads:
        shape = reads.shape("teacher")
        cost.load(shape)
        sampling = Sampling(max_new_tokens=decoding.max_tokens)
        cost.sample(shape, sampling, asked.number, asked.prompt_tokens)
        cost.unload()
    elif not s.teacher.replay:
        cost.ask(s.teacher.server, asked.number, asked.prompt_tokens, decoding.max_tokens)


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.collect.explanations.stage.explanation_traces": explanation_traces,
    "camelid.collect.explanations.rationales.rationale_targets": rationale_targets,
    "camelid.collect.self_instruct.stage.self_instruct": self_instruct,
    "camelid.collect.evol_instruct.stage.evol_instruct": evol_instruct,
    "camelid.collect.self_chat.self_chat": self_chat,
    "camelid.collect.self_distillation.self_distillation": self_distillation,
    "camelid.collect.hindsight.hindsight": hindsight,
}
"""By module and name of the stage's function."""
