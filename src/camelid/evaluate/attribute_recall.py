"""Does a model still keep to what it was told at the start, many turns later? Recall of a forced attribute by turn.

LLaMA-2 reports 100% at turn 2, 10% at turn 4 and 0% at turns 6 and 20 without Ghost Attention, and 100% throughout with
it (arXiv:2307.09288, section 3.3), as people saw it. Here the attribute is a word that every answer has to end with, or
to mention, so that a rule decides; turns are the user's. The user's turns are the same for every model, its own answers
stand between them. Beside recall stands its floor: how often the same answers hold another dialogue's word.

    camelid attribute-recall --model MODEL --conversations rows.jsonl
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.functional.statistics import proportion
from camelid.models.constraints import MEASURED_WORDS, Constraint, Place, keeps
from camelid.models.dialogues import Answer, hold_dialogues, put_together, read_user_turns
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import Run, Settings, derived_seed


class RecallSettings(Settings):
    """Recall of a forced attribute."""

    model: ModelSettings = ModelSettings()
    """How the model is held in memory."""
    chat_format: str = "model"
    """Chat format of the model."""
    sampling: Sampling = Sampling(temperature=0.7, max_new_tokens=96)
    """How answers are drawn. One that is cut cannot end with its word: leave them room."""
    num_dialogues: int = Field(default=100, ge=1)
    """Dialogues to hold."""
    turns: tuple[int, ...] = Field(default=(2, 4, 6, 10), min_length=1)
    """User turns at which recall is measured, from 1; LLaMA-2's are 2, 4, 6 and 20."""
    kinds: tuple[Literal["ending", "mention"], ...] = Field(default=("ending", "mention"), min_length=1)
    """Demands, dealt out in turn: to end every answer with a word, to use a word in every answer."""
    said: Place = "first_turn"
    """Where the demand is said; every_turn says what the model can do where nothing has to be remembered."""
    dialogues_a_chunk: int = Field(default=64, ge=1)
    """Dialogues held between two writes to disk."""


class Recalled(BaseModel):
    """A dialogue with its demand."""

    model_config = ConfigDict(frozen=True)

    constraint: Constraint
    other: Constraint
    """The same demand with another word: what is kept of this one is chance."""
    turns: list[str]
    answers: list[Answer]


def attribute_recall(run: Run) -> dict[str, Any]:
    """Stage: `model`, `conversations` or `prompts` (files) -> dialogues.jsonl, results.json."""
    s: RecallSettings = run.settings
    if min(s.turns) < 1:
        raise ValueError(f"turns = {list(s.turns)}: turns are counted from 1")
    rows = read_user_turns(run.inputs)
    talks = put_together(rows, [max(s.turns)] * s.num_dialogues, derived_seed(s.seed, "turns"))
    file = run.path / "dialogues.jsonl"
    done = keep_whole_chunks(file, s.dialogues_a_chunk, len(talks))
    if done < len(talks):
        policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
        with run.progress("turns", max(s.turns) * len(talks), max(s.turns) * done) as tick:
            for start in range(done, len(talks), s.dialogues_a_chunk):
                chunk = [talk.texts for talk in talks[start : start + s.dialogues_a_chunk]]
                demands = [demand(start + i, s) for i in range(len(chunk))]
                answers = hold_dialogues(
                    policy,
                    chunk,
                    [constraint.text for constraint, _ in demands],
                    s.said,
                    s.sampling,
                    seed=derived_seed(s.seed, "dialogues", start),
                    tick=tick,
                )
                held = [
                    Recalled(constraint=constraint, other=other, turns=list(turns), answers=given)
                    for (constraint, other), turns, given in zip(demands, chunk, answers, strict=True)
                ]
                append_json_lines(file, [dialogue.model_dump() for dialogue in held])
    dialogues = [Recalled.model_validate_json(line) for line in read_whole_lines(file)]
    results = describe(dialogues, s.turns)
    write_json(run.path / "results.json", results)
    return {f"recall_{turn}": estimate["value"] for turn, estimate in results["recall"].items()}


def demand(number: int, s: RecallSettings) -> tuple[Constraint, Constraint]:
    """The demand of dialogue `number`, and the same with another word."""
    kind = s.kinds[number % len(s.kinds)]
    words = random.Random(derived_seed(s.seed, "word", number)).sample(MEASURED_WORDS, 2)
    return Constraint(kind, words[0]), Constraint(kind, words[1])


def describe(dialogues: Sequence[Recalled], turns: Sequence[int]) -> dict[str, Any]:
    """Recall by turn, over all demands and by kind; the floor; how many answers were whole.

    A dialogue that the context had no room for is not counted at the turns that it did not reach: see n.
    """
    reached = {turn: [d for d in dialogues if len(d.answers) >= turn] for turn in turns}
    if not any(reached.values()):
        raise ValueError("no dialogue fits into the model's context up to any of the turns; lower max_new_tokens")
    kinds = sorted({d.constraint.kind for d in dialogues})

    def by_turn(hit, kind: str = "") -> dict[str, Any]:
        chosen = {t: [d for d in ds if kind in ("", d.constraint.kind)] for t, ds in reached.items()}
        return {
            f"turn_{t}": proportion(sum(bool(hit(d, t)) for d in ds), len(ds))._asdict()
            for t, ds in chosen.items()
            if ds
        }

    def recalled(d: Recalled, turn: int) -> bool | None:
        return keeps(d.answers[turn - 1].text, d.constraint)

    recall = by_turn(recalled)
    return {
        "n": len(dialogues),
        "recall": recall,
        "recall_curve": [{"turn": t, "recall": recall[f"turn_{t}"]} for t in sorted(turns) if f"turn_{t}" in recall],
        "recall_by_kind": {kind: by_turn(recalled, kind) for kind in kinds},
        "floor": by_turn(lambda d, turn: keeps(d.answers[turn - 1].text, d.other)),
        "whole": by_turn(lambda d, turn: d.answers[turn - 1].whole),
    }
