"""The best answers of all rounds so far, scored anew by the newest reward model, the best of them kept.

Up to its third version LLaMA-2 fine-tuned on the answers of the last round only and forgot what earlier ones had
taught, such as rhyming; then it took the top samples of all earlier rounds (arXiv:2307.09288, section 3.2.3). `sft` on
several files of `best` pools them as they are. This stage puts them on one scale first: scores of different rounds'
reward models cannot be compared. Fine-tuning a smaller model on the result is distillation from the larger one: `sft`
with the smaller as `model`, for what is exchanged is text.

    camelid pool --best round-1/best.jsonl round-2/best.jsonl --reward_model REWARD --set top_share=0.5
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines
from camelid.models.model_settings import ModelSettings
from camelid.models.rewards import Rewards
from camelid.models.too_long import Lengths, Limit, Reader
from camelid.runs import Run, Settings
from camelid.train.common import input_files
from camelid.types import Conversation, Prompt, read_records, write_records


class PoolSettings(Settings):
    """The pool of all rounds' best answers."""

    model: ModelSettings = ModelSettings()
    """How the reward models are held in memory."""
    chat_format: str = "model"
    """Chat format of the reward models."""
    top_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the answers that is kept: those with the highest scores."""
    best_a_prompt: int = Field(default=0, ge=0)
    """Keep so many answers to a prompt, the highest ones; 0 for all. They are counted before `top_share`."""
    rows_a_chunk: int = Field(default=256, ge=1)
    """Answers scored between two writes to disk: what a kill can cost."""


def pool_rounds(run: Run) -> dict[str, Any]:
    """Stage: `best` (files of conversations, a round each), `reward_model`, optional `safety_reward_model` ->
    pool.jsonl, scores.jsonl."""
    s: PoolSettings = run.settings
    rounds = [read_records(file, Conversation) for file in input_files(run.inputs["best"])]
    different: dict[str, tuple[int, Conversation]] = {}
    for number, of_round in enumerate(rounds, 1):
        for row in of_round:
            different.setdefault(row.id, (number, row))  # the same answer in two rounds counts once
    rows, too_long = _fitting(run, list(different.values()))
    file = run.path / "scores.jsonl"
    done = keep_whole_chunks(file, s.rows_a_chunk, len(rows))
    if done < len(rows):
        safety = run.inputs.get("safety_reward_model")
        rewards = Rewards.load(run.inputs["reward_model"], safety, s.model, s.chat_format)
        with run.progress("answers", len(rows), done) as tick:
            for start in range(done, len(rows), s.rows_a_chunk):
                chunk = rows[start : start + s.rows_a_chunk]
                asked = [Prompt(prompt=row.messages[:-1], tags=row.tags) for _, row in chunk]
                scores = rewards.score(asked, [row.messages[-1].content for _, row in chunk], tick).tolist()
                append_json_lines(
                    file,
                    [
                        {"id": row.id, "round": number, "score": score}
                        for (number, row), score in zip(chunk, scores, strict=True)
                    ],
                )
    scores = [json.loads(line)["score"] for line in read_whole_lines(file)]
    kept = top_rows([row for _, row in rows], scores, s.best_a_prompt, s.top_share)
    write_records(run.path / "pool.jsonl", [rows[i][1] for i in kept])
    counts = Counter(rows[i][0] for i in kept)
    return {
        "num_answers": sum(map(len, rounds)),
        "num_kept": len(kept),
        "kept_by_round": {str(number): counts[number] for number in range(1, len(rounds) + 1)},
        "mean_score": sum(scores) / len(scores),
        "mean_score_kept": sum(scores[i] for i in kept) / len(kept),
    } | too_long


Rows = list[tuple[int, Conversation]]
"""Conversations with the round that each is of."""


def _fitting(run: Run, rows: Rows) -> tuple[Rows, dict[str, int]]:
    """Those that the reward model can read whole, and counts of the others."""
    s: PoolSettings = run.settings
    models = [run.inputs[name] for name in ("reward_model", "safety_reward_model") if name in run.inputs]
    readers = [Reader.of(model, s.chat_format) for model in models]
    context = min(reader.context for reader in readers)
    why = f"the reward model's context of {context:,} tokens"
    lengths = Lengths("answers", "set_aside", Limit(context, why, "shorten them"))
    kept = []
    for number, row in rows:
        tokens = max(len(reader.chat.render(row.messages).ids) for reader in readers)
        if tokens <= lengths.limit.tokens:
            kept.append((number, row))
        else:
            lengths.too_long(f"answer {row.id} of round {number}", tokens, lambda: None)
    if not kept:
        raise ValueError("no answers to pool: the files of `best` are empty or hold none that fits")
    return kept, lengths.finish(run, len(rows))


def top_rows(rows: Sequence[Conversation], scores: Sequence[float], a_prompt: int, share: float) -> list[int]:
    """Places of the rows to keep, in order: at most `a_prompt` a prompt (0: all), then the top `share` of those, at
    least one. Of equal scores the earlier row goes first."""
    order = sorted(range(len(rows)), key=lambda i: -scores[i])
    seen: Counter[Any] = Counter()
    left = []
    for i in order:
        prompt = rows[i].messages[:-1]
        seen[prompt] += 1
        if not a_prompt or seen[prompt] <= a_prompt:
            left.append(i)
    return sorted(left[: max(round(share * len(left)), 1)])
