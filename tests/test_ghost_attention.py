"""Ghost Attention: what the model is told while it answers, what is left in the rows, which tokens train; recall."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from camelid.collect.ghost_attention import GhostSettings, best_answer, ghost_attention, what_is_left
from camelid.collect.ghost_attention import _lists as written_lists
from camelid.evaluate.attribute_recall import Recalled, RecallSettings, attribute_recall, describe
from camelid.functional.statistics import proportion
from camelid.models.chat import load_chat_format
from camelid.models.constraints import (
    LISTS,
    MEASURED_WORDS,
    TRAINING_WORDS,
    Constraint,
    draw_constraints,
    keeps,
    keeps_all,
    with_text,
)
from camelid.models.dialogues import Answer, UserTurns, hold_dialogues, put_together
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sample, Sampling
from camelid.models.too_long import Lengths, row_limit
from camelid.runs import Stage, derived_seed, execute, read_manifest
from camelid.train.sft import SftSettings, demonstration_rows, train_sft
from camelid.types import TRAIN_LAST, Conversation, Message, Prompt, read_records, write_records
from preference_rows import run_stage
from stage_resume import resumed
from tiny import byte_level_tokenizer, user

FLOAT = ModelSettings(precision="float32", lora_rank=2)
# A random model does not end its turns; common letters do it, some tokens after the start.
ENDS = Sampling(max_new_tokens=24, stop=tuple("etaoin"))


def talk(*texts: str, system: str = "") -> tuple[Message, ...]:
    turns = tuple(Message(role="assistant" if i % 2 else "user", content=text) for i, text in enumerate(texts))
    return (Message(role="system", content=system), *turns) if system else turns


ROWS = [
    Conversation(messages=talk(f"Capital {n}?", "Paris.", f"And of {n}?", "Lima."), licence="MIT") for n in range(6)
]


# --- constraints ---


def test_constraints_are_of_different_kinds_and_in_both_wordings():
    drawn = [draw_constraints(LISTS, ("hobby", "figure"), 3, random.Random(seed)) for seed in range(40)]
    assert {len(constraints) for constraints in drawn} == {1, 2}  # two kinds make at most two
    assert all(len({c.kind for c in constraints}) == len(constraints) for constraints in drawn)
    assert {tuple(c.kind for c in constraints) for constraints in drawn} == {
        *(("hobby",), ("figure",), ("hobby", "figure"), ("figure", "hobby"))
    }
    napoleon = Constraint("figure", "Napoleon")
    assert (napoleon.text, napoleon.short) == ("From now on, always act as Napoleon.", "Figure: Napoleon.")


def test_only_words_can_be_checked_and_those_measured_are_never_trained_on():
    assert keeps("Yes. Amber!", Constraint("ending", "amber")) is True
    assert keeps("Amber, yes.", Constraint("ending", "amber")) is False
    assert keeps("Amber, yes.", Constraint("mention", "amber")) is True
    assert keeps("Oui.", Constraint("language", "French")) is None
    assert keeps("Gladly. End every answer with the word amber.", Constraint("ending", "amber")) is False
    assert keeps("WORD: AMBER. No.", Constraint("mention", "amber")) is False
    assert keeps("Use the word amber in every answer? Amber it is.", Constraint("mention", "amber")) is True
    assert keeps_all("Oui, amber.", [Constraint("language", "French"), Constraint("ending", "amber")])
    assert not keeps_all("Oui.", [Constraint("language", "French"), Constraint("ending", "amber")])
    assert not set(TRAINING_WORDS) & set(MEASURED_WORDS)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("first_turn", talk("Be.\n\na", "b", "c", system="s")),
        ("every_turn", talk("Be.\n\na", "b", "Be.\n\nc", system="s")),
        ("system", talk("a", "b", "c", system="Be.\n\ns")),
    ],
)
def test_where_a_text_is_put(place, expected):
    assert with_text(talk("a", "b", "c", system="s"), "Be.", place) == expected
    assert with_text(talk("a", "b", "c"), "", place) == talk("a", "b", "c")


def test_a_text_makes_a_system_message_where_there_is_none():
    assert with_text(talk("a"), "Be.", "system") == talk("a", system="Be.")


# --- dialogues ---


def test_dialogues_go_on_with_other_rows_and_use_each_before_one_is_used_again():
    rows = [UserTurns((f"{i}a", f"{i}b"), "MIT" if i else "CC0-1.0") for i in range(3)]
    made = put_together(rows, [3, 2, 1], seed=4)
    assert [len(dialogue.texts) for dialogue in made] == [3, 2, 1]
    first = [text[0] for text in made[0].texts]
    assert first == [first[0], first[0], first[2]] and first[2] != first[0]
    used = [*dict.fromkeys(first), made[1].texts[0][0]]
    assert sorted(used) == ["0", "1", "2"]
    assert put_together(rows, [3], seed=4) == made[:1]  # fewer dialogues are the first ones
    (whole,) = put_together(rows, [6], seed=0)
    assert sorted(whole.licence.split(" AND ")) == ["CC0-1.0", "MIT"]
    assert put_together([rows[0], UserTurns(("x",), "")], [3], seed=0)[0].licence == ""  # one is not stated
    with pytest.raises(ValueError, match="a dialogue of 7 turns: the 3 rows have only 6 user turns in all"):
        put_together(rows, [7], seed=0)


@dataclass
class Parrot:
    """A policy that answers by a rule and keeps what it was asked."""

    reply: Any
    context: int = 4096
    asked: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.tokenizer = byte_level_tokenizer()
        self.chat = load_chat_format(self.tokenizer, "chatml")
        self.model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=self.context))

    def sample(self, prompts, sampling, *, seed, num_samples=1):
        texts = [self.tokenizer.decode(ids) for ids in prompts]
        self.asked += texts
        return [[self.one(self.reply(text)) for _ in range(num_samples)] for text in texts]

    def one(self, reply: str) -> Sample:
        ids = [*self.tokenizer.encode(reply), *([self.chat.stop_ids[0]] if reply != "cut" else [])]
        return Sample(ids, [0.0] * len(ids), reply != "cut")


def test_every_turn_is_told_and_every_answer_is_seen_by_the_next():
    parrot = Parrot(lambda text: f"answer {text.count('<|im_start|>user')}")
    answers = hold_dialogues(parrot, [("a", "b"), ("c",)], ["Be.", "Do."], "every_turn", ENDS, seed=0)
    assert answers == [[Answer("answer 1", True), Answer("answer 2", True)], [Answer("answer 1", True)]]
    assert parrot.asked == [
        "<|im_start|>user\nBe.\n\na<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nDo.\n\nc<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nBe.\n\na<|im_end|>\n<|im_start|>assistant\nanswer 1<|im_end|>\n"
        "<|im_start|>user\nBe.\n\nb<|im_end|>\n<|im_start|>assistant\n",
    ]


def test_of_several_samples_the_first_that_is_whole_and_keeps_what_it_was_told_is_taken():
    told = [Constraint("mention", "amber")]
    cut, other, kept, later = Answer("amber", False), Answer("No.", True), Answer("Amber.", True), Answer("amber", True)
    assert best_answer([cut, other, kept, later], told) == kept
    assert best_answer([cut, other], told) == other
    assert best_answer([cut], told) == cut
    spoken = iter(["no", "amber", "still no", "never"])
    parrot = Parrot(lambda text: next(spoken))
    answers = hold_dialogues(
        parrot, [("a", "b")], [""], "system", ENDS, seed=0, num_samples=2, choose=lambda i, s: best_answer(s, told)
    )
    assert answers == [[Answer("amber", True), Answer("still no", True)]]


def test_a_dialogue_ends_where_it_may_not_or_cannot_go_on():
    def held(parrot, **more):
        return [
            len(a) for a in hold_dialogues(parrot, [("x",) * 4, ("y",) * 4], ["", ""], "system", ENDS, seed=0, **more)
        ]

    def reply(text):
        return "cut" if "x" in text and text.count("assistant") == 2 else "fine"

    assert held(Parrot(reply)) == [4, 4]
    assert held(Parrot(reply), goes_on=lambda answer: answer.whole) == [2, 4]
    second = len(Parrot(reply).chat.prompt_ids(talk("y", "fine", "y")))
    assert held(Parrot(reply, context=second + ENDS.max_new_tokens))[1] == 2
    assert held(Parrot(reply, context=second + ENDS.max_new_tokens - 1))[1] == 1


@pytest.mark.parametrize(
    ("answers", "keep", "left"),
    [
        ("a! b! c!", "all", (3, "")),
        ("a! b! c", "all", (2, "")),
        ("a! b", "all", (0, "answer cut or empty")),
        ("a!", "all", (0, "no room in the context")),
        ("a! amber! c!", "checked", (2, "")),
        ("amber! b! c!", "checked", (0, "constraint not kept")),  # a single turn is no dialogue
    ],
)
def test_a_dialogue_is_left_up_to_its_last_good_answer(answers, keep, left):
    given = [Answer(text.strip("!"), text.endswith("!")) for text in answers.split()]
    assert what_is_left(given, [Constraint("ending", "amber")], GhostSettings(keep=keep)) == left


# --- the stage ---


@pytest.fixture(scope="module")
def held(tied_llama, tmp_path_factory):
    """(stage, its folder)"""
    folder = tmp_path_factory.mktemp("ghost")
    write_records(folder / "rows.jsonl", ROWS)
    settings = GhostSettings(
        model=FLOAT,
        sampling=ENDS,
        num_dialogues=14,
        max_turns=3,
        kinds=("hobby", "language", "ending"),
        most_constraints=2,
        dialogues_a_chunk=4,
    )
    inputs = {"model": tied_llama, "conversations": folder / "rows.jsonl"}
    stage = Stage("ghost", ghost_attention, settings, inputs)
    return stage, execute([stage], folder / "runs")["ghost"]


def test_the_model_was_told_the_instruction_in_every_turn(held, tied_llama):
    _, path = held
    first = [json.loads(line) for line in (path / "dialogues.jsonl").read_text().splitlines()][:4]  # one chunk
    talks, said = [d["turns"] for d in first], [d["said"] for d in first]
    policy = Policy.load(tied_llama, FLOAT)

    def answers(place):
        seed = derived_seed(0, "dialogues", 0)
        return hold_dialogues(policy, talks, said, place, ENDS, seed=seed, goes_on=lambda answer: answer.whole)

    given = [[Answer(*answer) for answer in d["answers"]] for d in first]
    assert answers("every_turn") == given != answers("first_turn")


def test_rows_tell_the_instruction_once(held):
    _, path = held
    rows = read_records(path / "demonstrations.jsonl", Conversation)
    dialogues = [json.loads(line) for line in (path / "dialogues.jsonl").read_text().splitlines()]
    used = [d for d in dialogues if not d["dropped"]]
    assert len(dialogues) == 14 and len(rows) == len(used) > 6
    shortened = 0
    for row, dialogue in zip(rows, used, strict=True):
        first, *others = (m.content for m in row.messages)
        assert first == f"{dialogue['kept']}\n\n{dialogue['turns'][0]}"
        turns = dialogue["turns"][1 : dialogue["turns_used"]]
        given = [text for text, _ in dialogue["answers"][: dialogue["turns_used"]]]
        assert others[1::2] == turns and others[0::2] == given
        assert not any(dialogue["kept"] in text for text in others)
        constraints = [Constraint(*c) for c in dialogue["constraints"]]
        short = " ".join(c.short for c in constraints)
        assert dialogue["said"] == " ".join(c.text for c in constraints)
        assert dialogue["kept"] in (short, dialogue["said"])
        shortened += dialogue["kept"] == short
        assert row.tags == ("ghost-attention", TRAIN_LAST, *(c.kind for c in constraints))
        assert row.licence == "MIT"
    assert 0 < shortened < len(rows)
    told = read_records(path / "told.jsonl", Conversation)
    for row, dialogue, same in zip(told, used, rows, strict=True):
        texts = [m.content for m in row.messages]
        assert texts[0::2] == [f"{dialogue['said']}\n\n{turn}" for turn in dialogue["turns"][: dialogue["turns_used"]]]
        assert texts[1::2] == [m.content for m in same.messages][1::2]
        assert row.tags == same.tags
    metrics = read_manifest(path)["metrics"]
    assert metrics["num_demonstrations"] + sum(metrics["dropped"].values()) == 14
    assert sum(metrics["turns"].values()) == len(rows)


def test_a_stopped_stage_ends_as_if_nothing_had_happened(held, tmp_path):
    stage, path = held
    resumed(stage, path, "dialogues.jsonl", 6, tmp_path)


def test_prompts_do_and_the_instruction_may_be_a_system_message(tied_llama, tmp_path):
    write_records(tmp_path / "prompts.jsonl", [Prompt(prompt=user(f"Capital {n}?")) for n in range(6)])
    settings = GhostSettings(
        model=FLOAT, sampling=ENDS, num_dialogues=4, max_turns=2, keep_in="system", short_share=1.0, kinds=("figure",)
    )
    inputs = {"model": tied_llama, "prompts": tmp_path / "prompts.jsonl"}
    path = execute([Stage("ghost", ghost_attention, settings, inputs)], tmp_path / "runs")["ghost"]
    rows = read_records(path / "demonstrations.jsonl", Conversation)
    assert rows
    for row in rows:
        assert row.messages[0].role == "system" and row.messages[0].content.startswith("Figure: ")
        assert [m.content[:7] for m in row.messages[1::2]] == ["Capital", "Capital"]


def test_the_models_own_lists(tied_llama, tmp_path):
    def run_of(folder, **changes):
        folder.mkdir()
        return SimpleNamespace(path=folder, settings=GhostSettings(lists="model", **changes))

    names = ["Ada", "Ben", "Cleo", "Dan", "Eve"]
    written = "\n".join(f"{i}. {name}" for i, name in enumerate(names, 1))
    parrot = Parrot(lambda text: written if "people" in text else "1. Go\n2. Golf\n3. Judo\n4. Chess\n5. Yoga")
    lists = written_lists(run_of(tmp_path / "a"), parrot)
    assert lists["figure"] == names and lists["hobby"][0] == "Go" and lists["language"] == LISTS["language"]
    silent = Parrot(lambda text: "no")
    assert written_lists(run_of(tmp_path / "b", kinds=("language",)), silent) == {"language": LISTS["language"]}
    with pytest.raises(ValueError, match=r"the model's list for 'hobby' has 1 items, fewer than 5.*Set lists=ours"):
        written_lists(run_of(tmp_path / "c"), silent)
    again = SimpleNamespace(path=tmp_path / "a", settings=GhostSettings(lists="model"))
    assert written_lists(again, silent)["figure"] == names  # what a stopped run had


def test_wrong_numbers_of_turns():
    with pytest.raises(ValueError, match="min_turns = 7 is more than max_turns = 6"):
        GhostSettings(min_turns=7)


# --- which tokens train ---

PLAIN = Conversation(messages=talk("Hello!", "Hi.", "Name two colours.", "Red and blue."))
GHOST = Conversation(
    messages=talk("Be brief.\n\nHello!", "Hi.", "And now?", "It is so.", "Why?", "Fine."), tags=(TRAIN_LAST,)
)


def lengths(choice="set_aside", tokens=1024):
    return Lengths("demonstrations", choice, row_limit(tokens, 2048))


@pytest.mark.parametrize("name", ["chatml", "vicuna", "koala", "alpaca", "llama2"])
@pytest.mark.parametrize("train_on", ["assistant", "everything"])
def test_the_unmasked_tokens_of_a_marked_row_are_its_last_answer_and_the_end_of_turn(tied_llama, name, train_on):
    tokenizer = AutoTokenizer.from_pretrained(tied_llama)
    chat = load_chat_format(tokenizer, name)
    settings = SftSettings(train_on=train_on)
    (_, ghost), (_, plain), (_, again) = demonstration_rows(chat, [GHOST, PLAIN, GHOST], settings, lengths())
    end = tokenizer.decode([chat.stop_ids[0]])
    assert tokenizer.decode(np.array(ghost.ids)[ghost.loss_mask]).strip() in (f"Fine.{end}", f"Fine. {end}")
    assert (list(again.ids), list(again.loss_mask)) == (list(ghost.ids), list(ghost.loss_mask))
    ((_, alone),) = demonstration_rows(chat, [PLAIN], settings, lengths())
    assert (list(plain.ids), list(plain.loss_mask)) == (list(alone.ids), list(alone.loss_mask))
    both = chat.render(PLAIN.messages, train_on=train_on)
    assert (list(plain.ids), list(plain.loss_mask)) == (both.ids, both.loss_mask)
    assert sum(plain.loss_mask) > sum(chat.render(PLAIN.messages, train_on="last").loss_mask)


def test_the_mark_is_no_part_of_a_rows_id():
    assert Conversation(messages=GHOST.messages).id == GHOST.id


def test_a_marked_row_never_loses_its_first_turn(tied_llama):
    chat = load_chat_format(AutoTokenizer.from_pretrained(tied_llama), "chatml")
    whole = len(chat.render(GHOST.messages).ids)
    plain = Conversation(messages=GHOST.messages)
    for limit, kept in ((whole - 2, True), (whole - 20, False)):
        cutting = lengths("cut", limit)
        found = demonstration_rows(chat, [GHOST], SftSettings(), cutting)
        assert [len(row.ids) for _, row in found] == ([limit] if kept else [])
        assert (cutting.cut, len(cutting.aside)) == ((1, 0) if kept else (0, 1))
        assert len(demonstration_rows(chat, [plain], SftSettings(), lengths("cut", limit))) == 1


def test_fine_tuning_counts_the_last_answers_tokens_only(tied_llama, tmp_path):
    write_records(tmp_path / "rows.jsonl", [GHOST, PLAIN])
    settings = SftSettings(model=FLOAT, epochs=1, batch_size=2)
    _, _, steps = run_stage(
        train_sft, settings, tmp_path / "runs", model=tied_llama, demonstrations=tmp_path / "rows.jsonl"
    )
    chat = load_chat_format(AutoTokenizer.from_pretrained(tied_llama))
    last = sum(chat.render(GHOST.messages, train_on="last").loss_mask)
    assert steps[0]["count"] == last + sum(chat.render(PLAIN.messages).loss_mask)


# --- recall ---


def recalled(kind: str, *answers: str) -> Recalled:
    words = Constraint(kind, "lemon"), Constraint(kind, "tulip")
    given = [Answer(text, True) for text in answers]
    return Recalled(constraint=words[0], other=words[1], turns=["x"] * 4, answers=given)


def test_recall_by_turn_and_kind_with_its_floor():
    dialogues = [
        recalled("ending", "a", "Yes, lemon.", "b", "A tulip"),
        recalled("ending", "a", "No. Lemon", "b", "Lemon!"),
        recalled("mention", "a", "lemons", "b", "A lemon it is"),
        recalled("mention", "a", "My lemon tulip"),  # the context was full
    ]
    results = describe(dialogues, (2, 4))
    assert results["recall"] == {"turn_2": proportion(3, 4)._asdict(), "turn_4": proportion(2, 3)._asdict()}
    assert results["recall_by_kind"]["ending"]["turn_4"] == proportion(1, 2)._asdict()
    assert results["recall_by_kind"]["mention"]["turn_2"] == proportion(1, 2)._asdict()
    assert results["floor"] == {"turn_2": proportion(1, 4)._asdict(), "turn_4": proportion(1, 3)._asdict()}
    assert results["recall_curve"][1] == {"turn": 4, "recall": proportion(2, 3)._asdict()}
    assert "turn_9" not in describe(dialogues, (2, 9))["recall"]
    with pytest.raises(ValueError, match="no dialogue fits"):
        describe(dialogues, (9,))


def test_the_recall_stage_and_its_resume(tied_llama, tmp_path):
    write_records(tmp_path / "rows.jsonl", ROWS)
    settings = RecallSettings(
        model=FLOAT, sampling=ENDS, num_dialogues=5, turns=(1, 3), kinds=("ending", "mention"), dialogues_a_chunk=2
    )
    inputs = {"model": tied_llama, "conversations": tmp_path / "rows.jsonl"}
    stage = Stage("recall", attribute_recall, settings, inputs)
    path = execute([stage], tmp_path / "runs")["recall"]
    dialogues = [Recalled.model_validate_json(line) for line in (path / "dialogues.jsonl").read_text().splitlines()]
    assert [d.constraint.kind for d in dialogues] == ["ending", "mention"] * 2 + ["ending"]
    assert all(d.constraint.kind == d.other.kind and d.constraint != d.other for d in dialogues)
    assert {d.constraint.value for d in dialogues} <= set(MEASURED_WORDS)
    results = json.loads((path / "results.json").read_text())
    assert results["recall"]["turn_3"]["n"] == results["floor"]["turn_3"]["n"] == 5
    resumed(stage, path, "dialogues.jsonl", 3, tmp_path / "again")
    with pytest.raises(ValueError, match="turns are counted from 1"):
        execute([Stage("recall", attribute_recall, RecallSettings(turns=(0, 2)), inputs)], tmp_path / "runs")


def test_a_model_that_keeps_to_its_instruction_recalls_all_and_one_that_forgets_nothing():
    def obeys(text):
        said = [word for word in MEASURED_WORDS if f"word {word}" in text]
        return f"Gladly, {said[0]}" if said else "Gladly"

    forgets = Parrot(lambda text: obeys(text) if text.count("<|im_start|>user") == 1 else "Gladly")
    for parrot, expected in ((Parrot(obeys), 1.0), (forgets, 0.0)):
        demands = [Constraint("ending", "lemon"), Constraint("mention", "comet")]
        said = [c.text for c in demands]
        answers = hold_dialogues(parrot, [("a", "b", "c")] * 2, said, "first_turn", ENDS, seed=0)
        dialogues = [
            Recalled(constraint=c, other=c._replace(value="tulip"), turns=["a"] * 3, answers=a)
            for c, a in zip(demands, answers, strict=True)
        ]
        recall = describe(dialogues, (1, 3))
        assert recall["recall"]["turn_1"]["value"] == 1.0
        assert recall["recall"]["turn_3"]["value"] == expected
        assert recall["floor"]["turn_3"]["value"] == 0.0
