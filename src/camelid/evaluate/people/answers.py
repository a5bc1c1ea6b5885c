"""Two models' answers to the same prompts, paired: what people (or a judge) compare.

Read: answers.jsonl as `camelid evaluate` leaves it, AlpacaEval's model outputs (instruction, output, generator), and
comparisons.jsonl of `camelid pairs`, where the pairs are made already. Imports no torch, so that whoever asks people
needs none.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from camelid.evaluate.people.rows import Row, columns, read_rows
from camelid.types import Comparison, Prompt, content_hash, read_records, reasons


@dataclass(frozen=True)
class Answers:
    """One model's answers."""

    model: str
    by_prompt: dict[str, tuple[Prompt, str]]
    """By the content of the prompt; a prompt that stands there twice is told apart by its turn."""


@dataclass(frozen=True)
class Paired:
    """What two files of answers have in common."""

    a: str
    b: str
    """Names of the two models."""
    pairs: list[Comparison]
    """Each with one answer of either, on any side."""
    identical: int
    """Prompts with the same answer twice: nothing to compare."""
    unmatched: int
    """Prompts that only one of the two has answered."""


def read_answers(path: str | os.PathLike[str], name: str = "") -> Answers:
    """Answers of a file. `name`: what to call the model, else its `generator`, else the folder or file."""
    path = Path(path)
    rows = read_rows(path)
    found = set(columns(rows))
    if not ({"prompt", "text"} <= found or {"instruction", "output"} <= found):
        raise ValueError(
            f"{path}: no answers; rows need prompt and text (answers.jsonl) or instruction and output (AlpacaEval). "
            f"There are {', '.join(sorted(found)[:12])}"
        )
    by_prompt: dict[str, tuple[Prompt, str]] = {}
    times: Counter[str] = Counter()
    for row in rows:
        prompt, text = _answer(path, row)
        content = content_hash([message.model_dump() for message in prompt.prompt])
        times[content] += 1
        by_prompt[f"{content}-{times[content]}"] = prompt, text
    generators = {str(row.values["generator"]) for row in rows if row.values.get("generator")}
    if not name and len(generators) > 1:
        raise ValueError(
            f"{path}: answers of {len(generators)} generators, {', '.join(sorted(generators)[:6])}; split it"
        )
    given = next(iter(generators), path.parent.name if path.stem == "answers" else path.stem)
    return Answers(name or given, by_prompt)


def pair_up(a: Answers, b: Answers) -> Paired:
    """Answers to the same prompts. Raises ValueError where both models have one name, or no prompt in common."""
    if a.model == b.model:
        raise ValueError(f"both files are answers of {a.model!r}; name them with --name-a and --name-b")
    shared = [key for key in a.by_prompt if key in b.by_prompt]
    if not shared:
        raise ValueError(f"{a.model} and {b.model} have no prompt in common; pair answers to the same prompts")
    pairs = [
        Comparison(
            prompt=prompt.prompt,
            first=text,
            second=b.by_prompt[key][1],
            first_model=a.model,
            second_model=b.model,
            source=prompt.source,
            licence=prompt.licence,
            tags=prompt.tags,
        )
        for key, (prompt, text) in a.by_prompt.items()
        if key in b.by_prompt
    ]
    return _different(a.model, b.model, pairs, len(a.by_prompt) + len(b.by_prompt) - 2 * len(shared))


def read_comparisons(path: str | os.PathLike[str]) -> Paired:
    """Pairs that are made already, all of the same two models."""
    rows = read_rows(path)
    if not {"first", "second", "first_model", "second_model"} <= set(columns(rows)):
        raise ValueError(
            f"{path}: no comparisons (first, second and their models); give a second model's answers as well"
        )
    pairs = read_records(path, Comparison)
    models = sorted({model for pair in pairs for model in (pair.first_model, pair.second_model)})
    if len(models) != 2 or any(pair.first_model == pair.second_model for pair in pairs):
        raise ValueError(f"{path}: comparisons of {', '.join(models)}; a study is about two models, both in every pair")
    return _different(models[0], models[1], pairs, 0)


def _different(a: str, b: str, pairs: list[Comparison], unmatched: int) -> Paired:
    different = [pair for pair in pairs if pair.first != pair.second]
    if not different:
        raise ValueError(f"{a} and {b} gave the same answer to all {len(pairs)} prompts")
    return Paired(a, b, different, len(pairs) - len(different), unmatched)


def _answer(path: Path, row: Row) -> tuple[Prompt, str]:
    values = row.values
    ours = "text" in values and "prompt" in values
    text = values.get("text") if ours else values.get("output")
    prompt = values.get("prompt") if ours else [{"role": "user", "content": values.get("instruction")}]
    if not isinstance(text, str):
        raise ValueError(f"{path}, row {row.number}: no answer in {'text' if ours else 'output'!r}")
    labels = {"source": values.get("source") or values.get("dataset") or path.name, "tags": values.get("tags") or ()}
    try:
        return Prompt.model_validate({"prompt": prompt, "licence": values.get("licence") or "", **labels}), text.strip()
    except ValidationError as error:
        raise ValueError(f"{path}, row {row.number}: no prompt: {reasons(error)}") from None
