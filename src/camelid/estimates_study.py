"""What the stages of studies will cost; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camelid.cost_figures import DISTILLED_LOGIT_BYTES
from camelid.costs import Cost
from camelid.expected import BYTES_A_TOKEN, Left, Reads, Rows
from camelid.runs import Output

DATA_SECONDS = 0.2
"""Reading, checking and writing some hundred rows."""
PAGE_SECONDS = 8.0
"""Bootstraps of some tens of cells, figures and page."""
TAGGED_SHARE = 0.37
"""Of the prompts, where only those with one tag are asked: the starter set's unsafe ones."""
QUESTION_TOKENS, CHOICE_TOKENS = 30, 6
"""A question of ARC-easy and its right choice."""
ITEM_TOKENS = {"arc_easy": 46, "piqa": 60, "boolq": 151, "lambada": 82}
OTHER_ITEM_TOKENS, HEAD_TOKENS = 100, 17
"""An item of a benchmark with all its choices, and how many of its tokens are scored."""
JUDGED_TOKENS = 40, 120
"""An instruction of AlpacaEval and an answer to it."""
RECORDED = 805
"""Judgements of AlpacaEval in a file."""


def hold_out(s: Any, reads: Reads, cost: Cost) -> Left:
    """No repeats are taken to be dropped."""
    cost.seconds += DATA_SECONDS
    rows = reads.rows("conversations")
    held = rows.first(s.held_out)
    train = rows._replace(number=rows.number - held.number)
    return {"train.jsonl": train, "prompts.jsonl": held._replace(answer_tokens=0.0), "reference.jsonl": held}


def import_judgements(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += DATA_SECONDS * len(reads.sources("judgements"))
    train = Rows(s.max_rows or RECORDED * len(reads.sources("judgements")), *JUDGED_TOKENS)
    return {"train.jsonl": train, "test.jsonl": Rows(s.max_test_rows, *JUDGED_TOKENS)}


def own_task_rows(s: Any, reads: Reads, cost: Cost) -> Left:
    """A question a line of the benchmark's file."""
    cost.seconds += DATA_SECONDS
    number = sum(len(Path(str(file)).read_bytes().splitlines()) for file in reads.sources("benchmark"))
    rows = Rows(max(number - s.num_asked, 0), QUESTION_TOKENS, CHOICE_TOKENS)
    return {"rows.jsonl": rows, "asked.jsonl": rows._replace(number=s.num_asked, answer_tokens=0.0)}


def ask_facts(s: Any, reads: Reads, cost: Cost) -> Left:
    """The tokens of a question by task are those measured on the files; what choices share is counted once."""
    shape = reads.shape("model")
    cost.load(shape)
    tokens = sum(number * ITEM_TOKENS.get(task, OTHER_ITEM_TOKENS) for task, number in s.items.items())
    heads = sum(number * HEAD_TOKENS for number in s.items.values())
    cost.score(shape, tokens, with_head=heads, at_once=s.model.micro_batch_tokens)
    return {}


def check_judge(s: Any, reads: Reads, cost: Cost) -> Left:
    judge, pairs, reference = reads.shape("reward_model"), reads.rows("preferences"), reads.rows("reference")
    cost.load(judge)
    tokens = 2 * pairs.number * pairs.tokens + reference.number * reference.tokens
    cost.score(judge, tokens, at_once=s.model.micro_batch_tokens)
    return {}


def train_distill(s: Any, reads: Reads, cost: Cost) -> Left:
    """Rows are taken to be as long as they may be. The teacher looks at every row that trains."""
    model = reads.shape("model")
    teacher = reads.shape("teacher_model") if "teacher_model" in reads else model
    student = model._replace(layers=min(s.keep_layers, model.layers))
    given = reads.sources("text") if "text" in reads else []
    rows = sum(_text_rows(reads, source, s.max_tokens) for source in given) if given else reads.rows("text").number
    tokens = max(min(rows, s.max_rows or rows) - s.held_out, 0) * s.epochs * s.max_tokens
    cost.load_for_training(student, s.model)
    cost.load(teacher)
    cost.train(
        student,
        s.model,
        tokens,
        with_head=tokens,
        length=s.max_tokens,
        step_tokens=s.batch_size * s.max_tokens,
        logit_bytes=DISTILLED_LOGIT_BYTES,
    )
    cost.score(teacher, tokens, with_head=tokens, at_once=s.model.micro_batch_tokens)
    cost.score(student, 4 * s.held_out * s.max_tokens, with_head=4 * s.held_out * s.max_tokens)
    if s.on_policy:
        read, trained = reads.rows("text"), tokens / s.max_tokens
        cost.sample(student, s.sampling, trained * s.on_policy, read.prompt_tokens, calls=trained / s.batch_size)
    return {"model": student}


def split_fold(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += DATA_SECONDS
    rows = reads.rows("preferences").first(s.max_rows)
    test = rows._replace(number=rows.number / s.folds)
    return {"train.jsonl": rows._replace(number=rows.number - test.number), "test.jsonl": test}


def evaluate_reward_model(s: Any, reads: Reads, cost: Cost) -> Left:
    judge, pairs = reads.shape("reward_model"), reads.rows("preferences")
    cost.load(judge)
    cost.score(judge, 2 * pairs.number * pairs.tokens, at_once=s.micro_batch_tokens)
    return {}


def score_answers(s: Any, reads: Reads, cost: Cost) -> Left:
    shape, asked, new = reads.shape("model"), reads.rows("prompts"), s.sampling.max_new_tokens
    prompts = asked._replace(number=asked.number * (TAGGED_SHARE if s.tag else 1)).first(s.max_prompts)
    cost.load(shape)
    calls = max(prompts.number / s.prompts_a_chunk, 1)
    for copies in (s.num_samples, 1):
        cost.sample(shape, s.sampling, prompts.number, prompts.prompt_tokens, copies=copies, calls=calls)
    tokens = prompts.number * (s.num_samples + 1) * (prompts.prompt_tokens + new)
    for name in ("reward_model", "second_reward_model"):
        if name in reads:
            judge = reads.shape(name)
            cost.load(judge)
            cost.score(judge, tokens, at_once=s.model.micro_batch_tokens)
    if "start_model" in reads:
        start = reads.shape("start_model")
        cost.load(start)
        cost.score(start, prompts.number * (prompts.prompt_tokens + new), with_head=prompts.number * new)
    return {}


def turn_nll(s: Any, reads: Reads, cost: Cost) -> Left:
    shape, rows = reads.shape("model"), reads.rows("demonstrations").first(s.max_rows)
    cost.load(shape)
    with_head = rows.number * rows.answer_tokens
    cost.score(shape, rows.number * rows.tokens, with_head=with_head, at_once=s.model.micro_batch_tokens)
    return {}


def exact_answers(s: Any, reads: Reads, cost: Cost) -> Left:
    shape, prompts = reads.shape("model"), reads.rows("prompts").first(s.max_prompts)
    cost.load(shape)
    calls = max(prompts.number / s.prompts_a_chunk, 1)
    cost.sample(shape, s.sampling, prompts.number, prompts.prompt_tokens, calls=calls)
    return {}


def nothing_much(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += DATA_SECONDS
    return {}


def write_study(s: Any, reads: Reads, cost: Cost) -> Left:
    cost.seconds += PAGE_SECONDS
    return {}


def _text_rows(reads: Reads, source: Any, max_tokens: int) -> float:
    """Rows of conversations, or of documents (known by the first line) cut into rows."""
    if isinstance(source, Output) or not source.read_text(encoding="utf-8").startswith('{"text"'):
        return reads.known.rows(source).number
    return source.stat().st_size / BYTES_A_TOKEN / max_tokens


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.collect.hold_out.hold_out": hold_out,
    "camelid.collect.judgements.import_judgements": import_judgements,
    "camelid.evaluate.imitation.own_task.own_task_rows": own_task_rows,
    "camelid.evaluate.imitation.ask.ask_facts": ask_facts,
    "camelid.evaluate.imitation.judge_check.check_judge": check_judge,
    "camelid.evaluate.imitation.study.write_study": write_study,
    "camelid.evaluate.studies.conclude.conclude": write_study,
    "camelid.evaluate.safety.rule_check.check_refusal_rule": nothing_much,
    "camelid.evaluate.score_answers.score_answers": score_answers,
    "camelid.evaluate.turn_nll.turn_nll": turn_nll,
    "camelid.evaluate.exact_answers.exact_answers": exact_answers,
    "camelid.evaluate.studies.took.took": nothing_much,
    "camelid.evaluate.reward_models.evaluate_reward_model": evaluate_reward_model,
    "camelid.curate.folds.split_fold": split_fold,
    "camelid.train.distill.train_distill": train_distill,
}
"""By module and name of the stage's function."""
