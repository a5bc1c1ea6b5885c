"""A mixture of several sources by weight: preferences, demonstrations, prompts or rankings.

    camelid mix --helpful a.jsonl --rest b.jsonl c.jsonl --set kind=preferences \\
        --set weights='{"helpful": 1, "rest": 1}' --set whole=helpful

An input is a source, of one file or several; its name is its name in `weights`. A row that several sources hold belongs
to the first of them in `weights`: with `only`, one file can thus be a source of helpfulness and the rest another's.
LLaMA-2's reward models (arXiv:2307.09288, section 3.2.2): HELPFULNESS and SAFETY. Left out: taking a row more than once
(for that, epochs; or a tag's weight in SFT), shares of tokens.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from camelid.functional.mixing import mixture_sizes
from camelid.runs import Run, Settings, derived_seed
from camelid.types import KINDS, Kind, Record, content_hash, draw, kind_of, read_records, write_records


class MixSettings(Settings):
    """Mixing sources."""

    kind: Literal["conversations", "preferences", "prompts", "rankings"] = "conversations"
    """What the files hold."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Weight of each source: its share of the rows is its weight over the sum."""
    only: dict[str, Kind] = Field(default_factory=dict)
    """Sources of which only rows on helpfulness, or only those on safety, are taken. Verdicts say what they are on, of
    other rows the tags do (unsafe, borderline: safety)."""
    whole: str = ""
    """Source that is taken whole, the others in proportion to it; empty for the largest mixture that all sources
    allow."""
    max_rows: int = Field(default=0, ge=0)
    """At most so many rows; 0 sets no limit."""


def mix(run: Run) -> dict[str, Any]:
    """Stage: an input for each source (one file or several) -> mixed.jsonl, in an order drawn by the seed."""
    s: MixSettings = run.settings
    unknown = set(s.only) - set(s.weights)
    if unknown:
        raise ValueError(f"only = {s.only}: {', '.join(sorted(unknown))} has no weight")
    read = {name: _rows(run.inputs[name], s) for name in run.inputs}
    found, repeats = _parted({name: read[name] for name in s.weights if name in read} | read, s)
    sizes = mixture_sizes(
        {name: len(rows) for name, rows in found.items()}, s.weights, whole=s.whole, max_rows=s.max_rows
    )
    mixed: list[Record] = []
    for name, number in sizes.items():
        mixed += draw(found[name], number, derived_seed(s.seed, "mix", name)) if number else []
    random.Random(derived_seed(s.seed, "order")).shuffle(mixed)
    write_records(run.path / "mixed.jsonl", mixed)
    return {
        "num_mixed": len(mixed),
        "sources": {
            name: {"available": len(found[name]), "taken": number, "share": number / len(mixed)}
            for name, number in sizes.items()
        },
        "repeats_dropped": repeats,
        "kinds": {kind: sum(kind_of(row) == kind for row in mixed) for kind in ("helpfulness", "safety")},
    }


def _rows(files: Path | list[Path], s: MixSettings) -> list[Record]:
    return [
        row for file in (files if isinstance(files, list) else [files]) for row in read_records(file, KINDS[s.kind])
    ]


def _parted(read: dict[str, list[Record]], s: MixSettings) -> tuple[dict[str, list[Record]], int]:
    """The rows of each source, none in two of them or twice in one; how many were left out for that."""
    taken: set[str] = set()
    found: dict[str, list[Record]] = {}
    repeats = 0
    for name, rows in read.items():
        found[name] = []
        for row in rows:
            if kind_of(row) != s.only.get(name, kind_of(row)):
                continue
            content = content_hash(row.model_dump(exclude={"id", "source", "licence", "tags"}))
            if content in taken:
                repeats += 1
            else:
                taken.add(content)
                found[name].append(row)
    return found, repeats


HELPFULNESS = MixSettings(
    kind="preferences", weights={"helpful": 1, "rest": 1}, only={"helpful": "helpfulness"}, whole="helpful"
)
"""Of LLaMA-2's helpfulness model: all of `helpful`, and as many drawn uniformly from `rest` (safety and open data)."""
SAFETY = MixSettings(kind="preferences", weights={"safety": 9, "helpful": 1}, only={"safety": "safety"}, whole="safety")
"""Of LLaMA-2's safety model: all of `safety`, and helpful rows so that these are a tenth of the mixture."""
PRESETS = {"llama-2-helpfulness": HELPFULNESS, "llama-2-safety": SAFETY}
