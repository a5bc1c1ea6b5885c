"""Ghost Attention: demonstrations of keeping to an instruction that was given at the start of a dialogue only.

After LLaMA-2 (arXiv:2307.09288, section 3.3). An instruction is put before every user turn, the model answers turn by
turn, and then the instruction is taken out of all turns but the first. Only the last answer of a dialogue trains (the
tag `train-last`, which `sft` honours): the answers before it are context. When the dialogue is put together for
training, the instruction is written less verbosely half of the time.
The paper keeps the instruction "in all but the first turn" dropped, and speaks of a system message: in its chat format
these are the same text but for the tags around it, `keep_in` chooses. Departure: all answers are sampled, where the
paper may have left a data set's own answers in the turns before the last. A small model breaks most instructions even
while it is told them in every turn; `num_samples` and `keep=checked` pick out what a rule sees to be kept.

    camelid ghost-attention --model MODEL --conversations rows.jsonl
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.functional.listed import listed_items
from camelid.models.constraints import LISTS, Constraint, Kind, draw_constraints, keeps_all, with_text
from camelid.models.dialogues import Answer, UserTurns, hold_dialogues, messages_of, put_together, read_user_turns
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import Run, Settings, derived_seed
from camelid.types import TRAIN_LAST, Conversation, Message, write_records

ASKED: dict[Kind, str] = {
    "hobby": "Write a list of 30 different hobbies, one a line, without explanations.",
    "figure": "Write a list of 30 famous people of history, one name a line, without explanations.",
}
"""What the model is asked for its own lists; LLaMA-2 had its model write these two."""
LIST_COPIES, FEWEST_ITEMS = 4, 5
"""How often each list is asked for, and how many items all of them together must have."""
LIST_TOKENS = 300


class GhostSettings(Settings):
    """Ghost Attention."""

    model: ModelSettings = ModelSettings()
    """How the model is held in memory."""
    chat_format: str = "model"
    """Chat format of the model."""
    sampling: Sampling = Sampling(temperature=0.8, max_new_tokens=128)
    """How answers are drawn. An answer that is cut ends its dialogue."""
    num_dialogues: int = Field(default=200, ge=1)
    """Dialogues to hold; a larger number contains the smaller ones' dialogues."""
    min_turns: int = Field(default=2, ge=2)
    """Fewest user turns of a dialogue; one that ends sooner is dropped."""
    max_turns: int = Field(default=6, ge=2)
    """Most user turns of a dialogue; each has a random number between the two."""
    kinds: tuple[Kind, ...] = Field(default=("hobby", "language", "figure"), min_length=1)
    """Kinds of constraints: LLaMA-2's, or `ending` and `mention`, a word to end with or to use in every answer."""
    most_constraints: int = Field(default=3, ge=1)
    """Most constraints, of different kinds, that make one instruction."""
    short_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the instructions that are kept less verbose, as "Figure: Napoleon."; LLaMA-2 took one half."""
    keep_in: Literal["first_turn", "system"] = "first_turn"
    """Where the instruction is left: before the first user turn, or as the system message."""
    lists: Literal["ours", "model"] = "ours"
    """Hobbies and figures: our small lists, or, as in LLaMA-2, lists that the model writes, which then knows them."""
    num_samples: int = Field(default=1, ge=1)
    """Answers drawn a turn; the first that is whole and breaks no constraint, as far as its words tell, is taken."""
    keep: Literal["all", "checked"] = "all"
    """checked: a dialogue ends at its last answer that breaks no constraint, as far as its words tell (`ending`,
    `mention`); without such an answer it is dropped."""
    dialogues_a_chunk: int = Field(default=64, ge=1)
    """Dialogues held between two writes to disk: what a kill can cost."""

    @model_validator(mode="after")
    def _turns(self) -> GhostSettings:
        if self.min_turns > self.max_turns:
            raise ValueError(f"min_turns = {self.min_turns} is more than max_turns = {self.max_turns}")
        return self


class Dialogue(BaseModel):
    """A dialogue as it was held."""

    model_config = ConfigDict(frozen=True)

    constraints: list[Constraint]
    said: str
    """The instruction before every user turn."""
    kept: str
    """The instruction that is left in the row."""
    turns: list[str]
    answers: list[Answer]
    licence: str
    turns_used: int
    """Of the row; 0 where it is dropped."""
    dropped: str
    """Why; empty where it is not."""


def ghost_attention(run: Run) -> dict[str, Any]:
    """Stage: `model`, `conversations` or `prompts` (files) -> demonstrations.jsonl, dialogues.jsonl, lists.json.

    And told.jsonl: the same rows with the instruction left in every turn, as the model was told, to compare with.
    """
    s: GhostSettings = run.settings
    lengths = random.Random(derived_seed(s.seed, "lengths"))
    numbers = [lengths.randint(s.min_turns, s.max_turns) for _ in range(s.num_dialogues)]
    talks = put_together(read_user_turns(run.inputs), numbers, derived_seed(s.seed, "turns"))
    file = run.path / "dialogues.jsonl"
    done = keep_whole_chunks(file, s.dialogues_a_chunk, len(talks))
    if done < len(talks):
        policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
        lists = _lists(run, policy)
        with run.progress("turns", sum(numbers), sum(numbers[:done])) as tick:
            for start in range(done, len(talks), s.dialogues_a_chunk):
                chunk = talks[start : start + s.dialogues_a_chunk]
                append_json_lines(file, [d.model_dump() for d in _hold(policy, chunk, start, lists, s, tick)])
    dialogues = [Dialogue.model_validate_json(line) for line in read_whole_lines(file)]
    rows = [as_demonstration(dialogue, s) for dialogue in dialogues if not dialogue.dropped]
    write_records(run.path / "demonstrations.jsonl", rows)
    told = [as_demonstration(dialogue, s, told=True) for dialogue in dialogues if not dialogue.dropped]
    write_records(run.path / "told.jsonl", told)
    return {
        "num_dialogues": len(dialogues),
        "num_demonstrations": len(rows),
        "dropped": dict(Counter(d.dropped for d in dialogues if d.dropped).most_common()),
        "ended_early": sum(0 < d.turns_used < len(d.turns) for d in dialogues),
        "turns": dict(sorted(Counter(str(d.turns_used) for d in dialogues if d.turns_used).items())),
    }


def _lists(run: Run, policy: Policy) -> Mapping[Kind, Sequence[str]]:
    """What constraints are drawn from, by kind. The model's own lists are kept on disk, so that a resumed run has them.

    Raises ValueError where the model wrote no list.
    """
    s: GhostSettings = run.settings
    asked = [kind for kind in ASKED if kind in s.kinds and s.lists == "model"]
    file = run.path / "lists.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    sampling = s.sampling.model_copy(update={"max_new_tokens": LIST_TOKENS})
    prompts = [policy.chat.prompt_ids((Message(role="user", content=ASKED[kind]),)) for kind in asked]
    seed = derived_seed(s.seed, "lists")
    drawn = policy.sample(prompts, sampling, seed=seed, num_samples=LIST_COPIES) if prompts else []
    lists: dict[Kind, Sequence[str]] = {kind: LISTS[kind] for kind in s.kinds}
    for kind, samples in zip(asked, drawn, strict=True):
        # The last line of a list that was cut may be half an item.
        texts = [policy.chat.completion_text(x.ids) for x in samples]
        whole = [t if x.finished else t.rpartition("\n")[0] for t, x in zip(texts, samples, strict=True)]
        lists[kind] = listed_items("\n".join(whole))
        if len(lists[kind]) < FEWEST_ITEMS:
            raise ValueError(
                f"the model's list for {kind!r} has {len(lists[kind])} items, fewer than {FEWEST_ITEMS}; it wrote "
                f"{texts[0][:80]!r}. Set lists=ours"
            )
    write_json(file, lists)
    return lists


def _hold(
    policy: Policy, talks: Sequence[UserTurns], start: int, lists: Mapping[Kind, Sequence[str]], s: GhostSettings, tick
) -> list[Dialogue]:
    streams = [random.Random(derived_seed(s.seed, "constraints", start + i)) for i in range(len(talks))]
    drawn = [draw_constraints(lists, s.kinds, s.most_constraints, stream) for stream in streams]
    said = [" ".join(constraint.text for constraint in constraints) for constraints in drawn]
    answers = hold_dialogues(
        policy,
        [talk.texts for talk in talks],
        said,
        "every_turn",
        s.sampling,
        seed=derived_seed(s.seed, "dialogues", start),
        num_samples=s.num_samples,
        choose=lambda i, samples: best_answer(samples, drawn[i]),
        goes_on=lambda answer: answer.whole,
        tick=tick,
    )
    dialogues = []
    for talk, constraints, long, given, stream in zip(talks, drawn, said, answers, streams, strict=True):
        short = " ".join(constraint.short for constraint in constraints)
        used, dropped = what_is_left(given, constraints, s)
        dialogues.append(
            Dialogue(
                constraints=constraints,
                said=long,
                kept=short if stream.random() < s.short_share else long,
                turns=list(talk.texts),
                answers=given,
                licence=talk.licence,
                turns_used=used,
                dropped=dropped,
            )
        )
    return dialogues


def best_answer(samples: Sequence[Answer], constraints: Sequence[Constraint]) -> Answer:
    """The first that is whole and breaks no constraint; else the first that is whole; else the first."""
    return max(samples, key=lambda answer: (answer.whole, answer.whole and keeps_all(answer.text, constraints)))


def what_is_left(answers: Sequence[Answer], constraints: Sequence[Constraint], s: GhostSettings) -> tuple[int, str]:
    """How many turns of a dialogue make a row, and, where none do, why."""
    whole = [number for number, answer in enumerate(answers, 1) if answer.whole and number >= s.min_turns]
    kept = [n for n in whole if s.keep == "all" or keeps_all(answers[n - 1].text, constraints)]
    if kept:
        return kept[-1], ""
    if whole:
        return 0, "constraint not kept"
    return 0, "answer cut or empty" if any(not answer.whole for answer in answers) else "no room in the context"


def as_demonstration(dialogue: Dialogue, s: GhostSettings, *, told: bool = False) -> Conversation:
    """The row to train on: the instruction said once (`told`: in every turn), the last answer marked to train."""
    messages = messages_of(dialogue.turns[: dialogue.turns_used], dialogue.answers)
    kinds = dict.fromkeys(constraint.kind for constraint in dialogue.constraints)
    return Conversation(
        messages=with_text(messages, dialogue.said, "every_turn")
        if told
        else with_text(messages, dialogue.kept, s.keep_in),
        source="ghost attention",
        licence=dialogue.licence,
        tags=("ghost-attention", TRAIN_LAST, *kinds),
    )
