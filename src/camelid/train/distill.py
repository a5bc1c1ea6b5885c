"""A smaller start model: layers cut from a model, then healed by distillation from the whole one, or from a larger one.

Text trains in full, whoever wrote it: conversations with all their turns, or plain documents (`text` a row). With
`on_policy` a share of the conversations is replaced at every step by what the student itself answers to their prompts,
so that it is corrected where it goes, not only where the text went.
Left out: pruning of width and heads, choosing layers by their effect, Jensen-Shannon mixtures of both KLs.

    camelid distill --model smollm2-135m --text rows.jsonl --set keep_layers=20
    camelid distill --model small --teacher-model large --text rows.jsonl --set keep_layers=30 --set on_policy=0.5
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from camelid.functional.distillation import Divergence
from camelid.models.batch import Row
from camelid.models.cutting import Cut
from camelid.models.distiller import Distiller
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import Run, derived_seed
from camelid.train.common import TrainSettings, batches, input_files, model_card, split
from camelid.types import Conversation, draw, read_records

LEAST_TOKENS = 8
"""What is left over of a document is passed over where it is shorter."""


class DistillSettings(TrainSettings):
    """Cutting and healing."""

    model: ModelSettings = ModelSettings(lora_rank=0)
    """How the models are held; the student's full weights train."""
    keep_layers: int = Field(default=20, ge=1)
    """Layers of the student."""
    cut: Cut = "ends"
    """Which layers stay: those at both ends, the first ones, or layers spread over the model. Before healing, SmolLM2
    cut to 25, 20, 15, 10 layers has 3.8, 7.1, 9.1, 13.0 nats a token with both ends and 4.5, 10.3, 13.1, 14.5 spread
    (3.2 whole; on 2,304 tokens of chats)."""
    temperature: float = Field(default=1.0, gt=0)
    """Both distributions are taken at this temperature in the KL."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of the KL to the teacher; the rest is cross-entropy with the text. With 0 the text needs no teacher."""
    divergence: Divergence = "forward"
    """KL(teacher || student), forward, covers all that the teacher says; the reverse says nothing that it would not."""
    on_policy: float = Field(default=0.0, ge=0, le=1)
    """Share of the conversations that are replaced by the student's own answers (lambda of Agarwal et al. 2023,
    arXiv:2306.13649, who draw it a batch; here it is drawn a row). These train to the teacher alone, whatever alpha."""
    sampling: Sampling = Sampling()
    """How the student's own answers are drawn."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak learning rate."""
    warmup_steps: int = Field(default=5, ge=0)
    """Steps over which the learning rate rises from 0."""
    batch_size: int = Field(default=16, ge=1)
    """Rows a step."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the rows."""
    max_rows: int = Field(default=0, ge=0)
    """Draw at most so many rows, by the seed; 0 takes all."""
    max_tokens: int = Field(default=256, ge=LEAST_TOKENS)
    """Conversations are cut at the end, documents are cut into rows of this length."""
    held_out: int = Field(default=16, ge=0)
    """Rows kept from training to measure KL and likelihood on, before and after."""


def train_distill(run: Run) -> dict[str, Any]:
    """Stage: `model`, `text` (files of conversations or of documents), optional `teacher_model` (another) -> model/."""
    s: DistillSettings = run.settings
    distiller = Distiller.create(
        run.inputs["model"],
        s.model,
        s.optimizer,
        keep=s.keep_layers,
        cut=s.cut,
        temperature=s.temperature,
        alpha=s.alpha,
        divergence=s.divergence,
        teacher_path=run.inputs.get("teacher_model"),
        seed=derived_seed(s.seed, "adapters"),
        chat_format=s.chat_format,
    )
    everything = [text for file in input_files(run.inputs["text"]) for text in texts(distiller.student, file, s)]
    train, held_out = split(draw(everything, s.max_rows, derived_seed(s.seed, "rows")), s.held_out, s.seed)
    if s.on_policy and not any(text.prompt for text in train):
        raise ValueError("on_policy wants conversations, whose prompts the student can answer; documents have none")

    steps = batches(len(train), s.batch_size, s.epochs, s.seed)
    parts = [drawn([train[i] for i in indices], s, step) for step, indices in enumerate(steps)]
    distiller.student.compile_for(sum(len(row.ids) for rows, _ in parts for row in rows))
    start = run.resume(distiller.student.load_state)
    if start == 0 and held_out:
        run.log(0, **_held_out(distiller, held_out))
    with run.progress("steps", len(steps), start) as tick:
        for step in range(start, len(steps)):
            rows, prompts = parts[step]
            own = distiller.write(prompts, s.sampling, seed=derived_seed(s.seed, "answers", step)) if prompts else []
            metrics = distiller.forward_backward(rows, own)
            rate = s.learning_rate_at(step, len(steps))
            norm = distiller.step(rate, metrics["count"])
            run.log(step + 1, **metrics, learning_rate=rate, gradient_norm=norm)
            if (step + 1) % s.checkpoint_every == 0:
                run.checkpoint(step + 1, distiller.student.save_state)
            tick(1)

    results: dict[str, Any] = {
        "layers": len(distiller.kept),
        "kept_layers": distiller.kept,
        "num_rows": len(train),
        "trained_tokens": sum(len(row.ids) for rows, _ in parts for row in rows),
        "own_answers": sum(len(prompts) for _, prompts in parts),
    }
    if held_out:
        measured = _held_out(distiller, held_out)
        run.log(len(steps), **measured)
        results |= measured | {
            "teacher_nll": distiller.teacher_nll([text.row for text in held_out]),
            "num_held_out": len(held_out),
        }
    card = model_card(run, f"Language model of {s.keep_layers} layers, cut and healed by distillation", results)
    distiller.student.save(run.path / "model", card)
    return results


class Text(NamedTuple):
    """A row of tokens that all train but the first; `prompt` where it is a conversation that the student can answer."""

    row: Row
    prompt: list[int] | None = None


def texts(policy: Policy, file: Path, s: DistillSettings) -> list[Text]:
    """The rows of a file. Raises ValueError where it holds neither kind of text."""
    with file.open(encoding="utf-8") as lines:
        first = json.loads(next(lines, "{}"))
    if "text" in first:
        with file.open(encoding="utf-8") as lines:
            documents = [json.loads(line)["text"] for line in lines if line.strip()]
        pieces = [
            ids[i : i + s.max_tokens] for ids in _encoded(policy, documents) for i in range(0, len(ids), s.max_tokens)
        ]
        return [Text(_row(ids)) for ids in pieces if len(ids) >= LEAST_TOKENS]
    if "messages" not in first:
        raise ValueError(f"{file}: rows need `messages` or `text`; convert others with `camelid data convert`")
    return [_conversation(policy, c, s) for c in read_records(file, Conversation)]


def drawn(rows: Sequence[Text], s: DistillSettings, step: int) -> tuple[list[Row], list[list[int]]]:
    """The rows that train as they are, and the prompts of those that the student answers instead, of one step."""
    stream = random.Random(derived_seed(s.seed, "on policy", step))
    own = [stream.random() < s.on_policy and text.prompt is not None for text in rows]
    prompts = [text.prompt for text, mine in zip(rows, own, strict=True) if mine and text.prompt]
    return [text.row for text, mine in zip(rows, own, strict=True) if not mine], prompts


def _conversation(policy: Policy, c: Conversation, s: DistillSettings) -> Text:
    """The prompt is all but the last turn, where so much fits into `max_tokens`."""
    row = _row(policy.chat.render(c.messages, train_on="everything", max_tokens=s.max_tokens).ids)
    prompt = policy.chat.prompt_ids(c.messages[:-1]) if s.on_policy else []
    return Text(row, prompt if 0 < len(prompt) < s.max_tokens else None)


def _encoded(policy: Policy, documents: list[str]) -> list[list[int]]:
    return [policy.tokenizer(document, add_special_tokens=False)["input_ids"] for document in documents]


def _row(ids: list[int]) -> Row:
    return Row(ids, [False] + [True] * (len(ids) - 1))


def _held_out(distiller: Distiller, texts: list[Text]) -> dict[str, float]:
    measured = distiller.measure([text.row for text in texts])
    return {f"held_out_{name}": value for name, value in measured.items()}
