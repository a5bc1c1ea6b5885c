"""Conditional training on preferences: the good answer is learnt under one marker, the bad one under another.

Koala's way (Geng et al. 2023, EasyLM's docs/koala.md), after chain of hindsight (Liu et al. 2023, arXiv:2302.02676):
both answers are imitated, and who is asked under the good marker has learnt from the bad ones what not to write. Koala
put its markers where the answer begins, "GPT:" or "An Unhelpful Answer:". Formats with roles have no such place, so a
marker is said in the system message or at the end of the last user turn; the preset `koala`, for the chat format of
that name, gives `USER: x GPT:y` and, our departure, `USER: x An Unhelpful Answer: GPT:y`. Earlier answers of a talk
were not judged and do not train.

    camelid hindsight --preferences pairs.jsonl --prompts held_out.jsonl --preset koala
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import model_validator

from camelid.models.constraints import with_text
from camelid.runs import Run, Settings, derived_seed
from camelid.types import TRAIN_LAST, Conversation, Message, Messages, Preference, Prompt, read_records, write_records


class HindsightSettings(Settings):
    """Conditional training on preferences."""

    good: str = "Give a helpful answer."
    """Marker of the better answer; empty: it has none."""
    bad: str = "Give an unhelpful answer."
    """Marker of the worse answer; empty: it has none."""
    place: Literal["system", "last_turn"] = "system"
    """Where markers are said: in the system message, before one that is there, or at the end of the last user turn."""
    join: str = "\n\n"
    """What stands between the last user turn and its marker."""
    answers: Literal["both", "good"] = "both"
    """good: only the better answers, for comparison."""
    shuffle_markers: bool = False
    """The control: of each pair, a coin says which answer gets which marker."""

    @model_validator(mode="after")
    def _markers_tell_apart(self) -> HindsightSettings:
        if self.good.strip() == self.bad.strip():
            raise ValueError(f"good and bad are both {self.good!r}: the markers must differ")
        if self.shuffle_markers and self.answers == "good":
            raise ValueError("shuffle_markers is the control of answers=both: it swaps the two markers of a pair")
        return self


def hindsight(run: Run) -> dict[str, Any]:
    """Stage: `preferences` -> demonstrations.jsonl; optional `prompts` -> good_prompts.jsonl, bad_prompts.jsonl."""
    s: HindsightSettings = run.settings
    preferences = read_records(run.inputs["preferences"], Preference)
    rows = [row for preference in preferences for row in conditioned(preference, s)]
    different = list({row.id: row for row in rows}.values())
    if not different:
        raise ValueError(f"{run.inputs['preferences']} has no preference")
    write_records(run.path / "demonstrations.jsonl", different)
    if "prompts" in run.inputs:
        prompts = read_records(run.inputs["prompts"], Prompt)
        for name, marker in (("good", s.good), ("bad", s.bad)):
            asked = (p.model_copy(update={"prompt": marked(p.prompt, marker, s)}) for p in prompts)
            write_records(run.path / f"{name}_prompts.jsonl", asked)  # with their ids, by which the two are paired
    return {
        "num_preferences": len(preferences),
        "rows": len(different),
        "repeats_dropped": len(rows) - len(different),
        **{tag: sum(tag in row.tags for row in different) for tag in ("good-answer", "bad-answer")},
        "good_answers_under_the_good_marker": sum({"good-answer", "good-marker"} <= set(r.tags) for r in different),
    }


def conditioned(preference: Preference, s: HindsightSettings) -> Iterator[Conversation]:
    """Each answer under its marker; what it is, and under which marker, stands in the tags."""
    coin = random.Random(derived_seed(s.seed, "markers", preference.id))
    swapped = s.shuffle_markers and coin.random() < 0.5
    for kind, answer in (("good", preference.chosen), ("bad", preference.rejected)):
        if kind == "bad" and s.answers == "good":
            continue
        marker = "good" if (kind == "good") != swapped else "bad"
        said = marked(preference.prompt, s.good if marker == "good" else s.bad, s)
        yield Conversation(
            messages=(*said, Message(role="assistant", content=answer)),
            source=preference.source,
            licence=preference.licence,
            tags=tuple(dict.fromkeys((*preference.tags, TRAIN_LAST, f"{kind}-answer", f"{marker}-marker"))),
        )


def marked(prompt: Messages, marker: str, s: HindsightSettings) -> Messages:
    """A prompt with its marker; an empty one changes nothing."""
    if s.place == "system" or not marker:
        return with_text(prompt, marker, "system")
    return (*prompt[:-1], Message(role="user", content=f"{prompt[-1].content}{s.join}{marker}"))


PRESETS = {"koala": HindsightSettings(good="", bad="An Unhelpful Answer:", place="last_turn", join=" ")}
"""For the chat format `koala`, which writes the good answer's marker itself."""
