"""Hold preferences back: parts for the scripted annotator and for the judge, which reward models never train on."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from pydantic import Field

from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Kind, Message, Preference, read_records, write_records


class HoldBackSettings(Settings):
    """Splitting preferences."""

    annotator_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of the preferences that train the scripted annotator."""
    judge_share: float = Field(default=0.25, gt=0, lt=1)
    """Share that trains the judge of the evaluation."""
    max_rows: int = Field(default=0, ge=0)
    """Use only so many preferences in all; 0 for all."""
    demonstrate: tuple[Kind, ...] = ()
    """Kinds of which the training part's chosen answers are also left as demonstrations, in chosen.jsonl; of rated
    pairs only the clearly better answers, since of two bad ones the less bad is still no example."""


def hold_back(run: Run) -> dict[str, Any]:
    """Stage: `preferences` -> train.jsonl, annotator.jsonl, judge.jsonl, each prompt in one; chosen.jsonl."""
    s: HoldBackSettings = run.settings
    rows = read_records(run.inputs["preferences"], Preference)
    if not rows:
        raise ValueError(f"{run.inputs['preferences']} holds no preference to hold back")
    by_prompt: dict[Any, list[Preference]] = defaultdict(list)
    for row in rows:
        by_prompt[row.prompt].append(row)
    groups: dict[str, list[list[Preference]]] = defaultdict(list)
    for same_prompt in by_prompt.values():
        groups[same_prompt[0].kind].append(same_prompt)  # a prompt that has both kinds still stands in one part
    parts: dict[str, list[Preference]] = {"train": [], "annotator": [], "judge": []}
    for kind, prompts in sorted(groups.items()):
        random.Random(derived_seed(s.seed, "hold back", kind)).shuffle(prompts)
        prompts = prompts[: round(s.max_rows * len(prompts) / len(by_prompt)) if s.max_rows else None]
        judge = round(len(prompts) * s.judge_share)
        annotator = round(len(prompts) * s.annotator_share)
        for name, part in (
            ("judge", prompts[:judge]),
            ("annotator", prompts[judge : judge + annotator]),
            ("train", prompts[judge + annotator :]),
        ):
            parts[name] += [row for same_prompt in part for row in same_prompt]
    for name, preferences in parts.items():
        write_records(run.path / f"{name}.jsonl", preferences)
    clear = [p for p in parts["train"] if p.rating in (None, "significantly better", "better")]
    chosen = {(p.prompt, p.chosen): p for p in clear if p.kind in s.demonstrate}
    demonstrations = [
        Conversation(
            messages=(*p.prompt, Message(role="assistant", content=p.chosen)),
            source=p.source,
            licence=p.licence,
            tags=p.tags,
        )
        for p in chosen.values()
    ]
    write_records(run.path / "chosen.jsonl", demonstrations)
    longer = sum(len(row.chosen) > len(row.rejected) for row in rows) / len(rows)
    return {f"num_{name}": len(part) for name, part in parts.items()} | {
        "num_demonstrations": len(demonstrations),
        "chosen_is_longer": longer,
    }
