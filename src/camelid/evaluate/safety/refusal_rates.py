"""How often a model refuses: requests for harm, harmless ones, and harmless ones that only sound dangerous; and what
its safety has cost in helpfulness, as likelihood of held-out demonstrations.

Refusals are told by the rule of `refusals.py`. A model that refuses everything is safe by this measure, so read the
rates side by side: LLaMA-2 found false refusals to be rare on helpful prompts and common on borderline ones as safety
data grew (arXiv:2307.09288, section 4.2.3). Prompts are ours, XSTest's or Bianchi's (`prompts.py`); XSTest's safe
prompts are borderline ones. Left out: whether an answer that does not refuse does harm (`camelid eval safety --judge`).

    camelid evaluate-safety --model MODEL --prompts xstest_prompts.csv --demonstrations held_out.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.evaluate.demonstration_nll import demonstration_rows, likelihoods
from camelid.evaluate.safety.prompts import prompts_of
from camelid.evaluate.safety.rates import rates
from camelid.evaluate.safety.refusals import is_refusal
from camelid.evaluate.safety.replies import HARMLESS, Reply
from camelid.functional.perplexity import nats_a_unit
from camelid.functional.statistics import paired_bootstrap_difference, proportion
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.models.too_long import Lengths, Reader, TooLong, fitting_prompts, row_limit
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Message, Prompt, draw, read_records

BORDERLINE, HELPFUL = "borderline", "helpful"
NATS = "nats.json"


class Nats(NamedTuple):
    """Of each demonstration."""

    nats: list[float]
    tokens: list[int]


class RefusalSettings(Settings):
    """Refusals of unsafe, helpful and borderline prompts, and likelihood of demonstrations."""

    model: ModelSettings = ModelSettings()
    """How the model is held in memory."""
    chat_format: str = "model"
    """Chat format of the model."""
    sampling: Sampling = Sampling(temperature=0.7, max_new_tokens=48)
    """How answers are drawn. Refusals are made in the first sentences: little need be written."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context."""
    max_tokens: int = Field(default=1024, ge=8)
    """Longer demonstrations are set aside; the model's context, where that is shorter."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""
    prompts_a_chunk: int = Field(default=128, ge=1)
    """Prompts answered between two writes to disk: what a kill can cost."""


class Answered(BaseModel):
    """A prompt with its answer; a file of these is read by `camelid eval safety` too."""

    model_config = ConfigDict(frozen=True)

    prompt: tuple[Message, ...]
    text: str
    finished: bool
    tags: tuple[str, ...]
    """The kind of prompt, and its categories."""


def evaluate_safety(run: Run) -> dict[str, Any]:
    """Stage: `model`, `prompts` (files), optional `demonstrations` (files) -> answers.jsonl, nats.json, results.json.

    Optional `before`: the folder of another model's evaluation on the same, to which the changes are given too.
    """
    s: RefusalSettings = run.settings
    prompts = draw(_prompts(_files(run.inputs["prompts"])), s.max_prompts, derived_seed(s.seed, "prompts"))
    reader = Reader.of(run.inputs["model"], s.chat_format)
    prompts, too_long = fitting_prompts(run, prompts, [reader], s.too_long, s.sampling.max_new_tokens)
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    file = run.path / "answers.jsonl"
    done = keep_whole_chunks(file, s.prompts_a_chunk, len(prompts))
    with run.progress("answers", len(prompts), done) as tick:
        for start in range(done, len(prompts), s.prompts_a_chunk):
            chunk = prompts[start : start + s.prompts_a_chunk]
            ids = [policy.chat.prompt_ids(p.prompt) for p in chunk]
            drawn = policy.sample(ids, s.sampling, seed=derived_seed(s.seed, "answers", start), tick=tick)
            answered = [
                Answered(
                    prompt=p.prompt,
                    text=policy.chat.completion_text(samples[0].ids).strip(),
                    finished=samples[0].finished,
                    tags=p.tags,
                )
                for p, samples in zip(chunk, drawn, strict=True)
            ]
            append_json_lines(file, [row.model_dump() for row in answered])
    answers = [Answered.model_validate_json(line) for line in read_whole_lines(file)]
    results = describe(answers)
    if "demonstrations" in run.inputs:
        conversations = [c for path in _files(run.inputs["demonstrations"]) for c in read_records(path, Conversation)]
        lengths = Lengths("demonstrations", "set_aside", row_limit(s.max_tokens, reader.context))
        rows = demonstration_rows(policy, conversations, lengths)
        too_long |= {f"demonstrations_{name}": n for name, n in lengths.finish(run, len(conversations)).items()}
        nats = Nats(*likelihoods(policy, rows))
        write_json(run.path / NATS, nats._asdict())
        results["demonstration_nll"] = nats_a_unit(*nats)._asdict()
    if "before" in run.inputs:
        results["change"] = changes(run.path, run.inputs["before"])
    write_json(run.path / "results.json", results)
    shares = {f"refused_{kind}": estimate["value"] for kind, estimate in results["refused"].items()}
    nll = {name: estimate["value"] for name, estimate in results.items() if name == "demonstration_nll"}
    return {"num_prompts": len(answers)} | shares | nll | too_long


def _files(given: Path | list[Path]) -> list[Path]:
    return given if isinstance(given, list) else [given]


def _prompts(files: Sequence[Path]) -> list[Prompt]:
    """The prompts of all files, each once; the first tag is its kind (unsafe, helpful, borderline, mixed)."""
    found: dict[str, Prompt] = {}
    for file in files:
        for messages, asked in prompts_of(file):
            kind = BORDERLINE if asked.borderline else HELPFUL if asked.kind == HARMLESS else asked.kind
            prompt = Prompt(prompt=messages, source=file.name, tags=(kind, *asked.categories))
            found.setdefault(prompt.id, prompt)
    return list(found.values())


def describe(answers: Sequence[Answered]) -> dict[str, Any]:
    """Shares refused, by kind of prompt and by category, with Wilson's intervals."""
    replies = [Reply(a.prompt[-1].content, a.prompt, a.text, a.tags[0], a.tags[1:]) for a in answers]
    found = rates(replies)
    return {
        "n": len(answers),
        "refused": {rate.kind: rate.refused._asdict() for rate in found if not rate.category},
        "refused_by_category": {f"{r.kind}.{r.category}": r.refused._asdict() for r in found if r.category},
        "finished": proportion(sum(a.finished for a in answers), len(answers))._asdict(),
    }


def changes(folder: Path, before: Path) -> dict[str, Any]:
    """Shares refused and nats a token less those of another evaluation, prompt by prompt and row by row.

    Raises ValueError where the prompts or the demonstrations are not the same.
    """
    mine, theirs = (
        [Answered.model_validate_json(line) for line in read_whole_lines(path / "answers.jsonl")]
        for path in (folder, before)
    )
    if [a.prompt for a in mine] != [a.prompt for a in theirs]:
        raise ValueError(f"{before}: answers to other prompts; evaluate both models on the same, with the same seed")
    refused = {
        kind: [(is_refusal(a.text), is_refusal(b.text)) for a, b in zip(mine, theirs, strict=True) if a.tags[0] == kind]
        for kind in dict.fromkeys(a.tags[0] for a in mine)
    }
    found: dict[str, Any] = {
        "refused": {
            kind: paired_bootstrap_difference(*zip(*pairs, strict=True))._asdict() for kind, pairs in refused.items()
        }
    }
    files = [path / NATS for path in (folder, before)]
    if all(file.exists() for file in files):
        now, then = (Nats(**json.loads(file.read_text())) for file in files)
        if now.tokens != then.tokens:
            raise ValueError(f"{before}: other demonstrations; evaluate both models on the same")
        less = [a - b for a, b in zip(now.nats, then.nats, strict=True)]
        found["demonstration_nll"] = nats_a_unit(less, now.tokens)._asdict()
    return found
