"""Rows and prompts that are too long: set aside with a count, cut at turns, or a reason to stop, in every stage."""

from __future__ import annotations

import json

import pytest

from camelid.annotate.pairs import PairSettings, sample_pairs
from camelid.models.chat import load_chat_format
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.models.too_long import Lengths, Reader, row_limit, without_oldest
from camelid.train.dpo import DpoSettings, train_dpo
from camelid.train.kto import KtoSettings, train_kto
from camelid.train.pairs import pair_rows
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.rejection import BestSettings, sample_best
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, demonstration_rows, train_sft
from camelid.types import Comparison, Conversation, Message, Preference, Prompt, write_records
from preference_rows import LORA, PREFERENCES, run_stage, write
from tiny import byte_level_tokenizer, user

FLOAT = ModelSettings(precision="float32", lora_rank=2)
LONG = "What is the capital of France? " * 60


def turns(*texts: str, system: str = "") -> tuple[Message, ...]:
    roles = ("user", "assistant")
    said = tuple(Message(role=roles[i % 2], content=text) for i, text in enumerate(texts))
    return (Message(role="system", content=system), *said) if system else said


def chatml():
    return load_chat_format(byte_level_tokenizer(), "chatml")


def lengths(choice, tokens: int) -> Lengths:
    return Lengths("rows", choice, row_limit(tokens, 4096))


# --- what is cut ---


def test_the_oldest_turns_go_with_their_answers_and_the_system_message_stays():
    prompt = turns("a", "b", "c", "d", "e", system="s")
    assert [[m.content for m in left] for left in without_oldest(prompt)] == [list("sabcde"), list("scde"), list("se")]
    whole = turns("a", "b", "c", "d")  # the answer stays with what it answers
    assert [[m.content for m in left] for left in without_oldest(whole)] == [list("abcd"), list("cd")]
    assert list(without_oldest(user("a"))) == [user("a")]


def test_a_demonstration_loses_its_end_or_else_its_oldest_turns():
    chat = chatml()
    early = Conversation(messages=turns("Hello there!", "Hi. " * 40))
    late = Conversation(messages=turns(LONG, "Hi.", "Hello there!", "Fine, thank you.", system="Be brief."))
    hopeless = Conversation(id="h", source="me", messages=turns(LONG, "Hi."))
    short = Conversation(messages=turns("Hi.", "Hello."))
    counted = lengths("cut", 60)
    rows = dict(demonstration_rows(chat, [early, late, hopeless, short], SftSettings(train_on="last"), counted))
    assert rows[early].ids.tolist() == chat.render(early.messages).ids[:60]
    assert rows[late].ids == chat.render(turns("Hello there!", "Fine, thank you.", system="Be brief.")).ids
    assert rows[short].ids.tolist() == chat.render(short.messages).ids
    assert (counted.cut, [row["name"] for row in counted.aside]) == (2, ["demonstration h (me)"])
    assert counted.aside[0]["reason"] == "too long, even cut, for max_tokens = 60"


def test_both_rows_of_a_pair_keep_the_same_prompt():
    chat = chatml()
    talk = Preference(prompt=turns(LONG, "Hi.", "Hello there!"), chosen="Fine.", rejected="Hi. " * 12)
    one_turn = Preference(prompt=user("Hello there!"), chosen="Fine.", rejected="Hi. " * 60)
    counted = lengths("cut", 80)
    [(_, pair), (_, cut)] = pair_rows(chat, [talk, one_turn], counted)
    prompt = chat.prompt_ids(user("Hello there!"))
    assert all(list(row.ids[: len(prompt)]) == prompt for row in (*pair, *cut))
    assert pair[1].ids[-2] in chat.stop_ids and pair[1].loss_mask[-2]  # whole, with its end of turn
    assert [len(row.ids) for row in cut] == [len(prompt) + len(chat.codec.content("Fine.", fresh=False)) + 2, 80]
    assert counted.cut == 2


# --- the three choices, in a stage ---


def demonstrations(path, number_long: int, number_short: int):
    rows = [Conversation(id=f"long-{i}", source="me", messages=turns(LONG, "Hi.")) for i in range(number_long)]
    rows += [Conversation(messages=turns(f"Capital {i}?", "Paris.")) for i in range(number_short)]
    write_records(path, rows)
    return path


def sft(tmp_path, model, number_long=2, number_short=4, **changes):
    file = demonstrations(tmp_path / f"{number_long}.jsonl", number_long, number_short)
    settings = SftSettings(model=FLOAT, epochs=1, max_tokens=64, **changes)
    return run_stage(train_sft, settings, tmp_path / "runs", model=model, demonstrations=file)


def test_long_rows_are_set_aside_with_a_count_a_list_and_a_line(tied_llama, tmp_path, capsys):
    path, metrics, _ = sft(tmp_path, tied_llama, held_out=1)
    assert (metrics["set_aside"], metrics["cut"], metrics["num_demonstrations"]) == (2, 0, 3)
    listed = [json.loads(line) for line in (path / "set_aside_demonstrations.jsonl").read_text().splitlines()]
    assert [row["name"] for row in listed] == ["demonstration long-0 (me)", "demonstration long-1 (me)"]
    assert listed[0]["tokens"] > 64 and listed[0]["reason"] == "longer than max_tokens = 64"
    assert "of 6 demonstrations, 2 set aside: longer than max_tokens = 64" in capsys.readouterr().err
    assert "| set_aside | 2 |" in (path / "model" / "README.md").read_text()


def test_nothing_is_said_where_everything_fits(tied_llama, tmp_path, capsys):
    path, metrics, _ = sft(tmp_path, tied_llama, number_long=0)
    assert (metrics["set_aside"], metrics["cut"]) == (0, 0)
    assert not list(path.glob("set_aside*")) and "set aside" not in capsys.readouterr().err


def test_stopping_names_the_row_and_the_ways_out(tied_llama, tmp_path):
    with pytest.raises(
        ValueError, match=r"demonstration long-0 \(me\) has \d+ tokens, more than max_tokens = 64: raise"
    ):
        sft(tmp_path, tied_llama, too_long="stop")


def test_losing_more_than_half_is_an_error_with_the_numbers(tied_llama, tmp_path):
    sft(tmp_path, tied_llama, number_long=4, number_short=4)
    with pytest.raises(
        ValueError, match=r"5 of 9 demonstrations are too long .* raise max_tokens, or choose too_long=c"
    ):
        sft(tmp_path, tied_llama, number_long=5, number_short=4)


def test_the_models_context_is_a_limit_too(tied_llama, tmp_path, capsys):
    file = demonstrations(tmp_path / "rows.jsonl", 1, 3)
    assert len(chatml().render(turns(LONG, "Hi.")).ids) > 256
    _, metrics, _ = run_stage(
        train_sft, SftSettings(model=FLOAT, epochs=1), tmp_path / "runs", model=tied_llama, demonstrations=file
    )
    assert metrics["set_aside"] == 1
    assert "longer than the model's context of 256 tokens" in capsys.readouterr().err


# --- every other stage ---


@pytest.fixture
def pairs(tmp_path):
    long = Preference(id="long", prompt=user(LONG), chosen="It is Paris.", rejected="No!", rating="better")
    return write(tmp_path / "pairs.jsonl", [*PREFERENCES[:9], long])


@pytest.mark.parametrize(
    ("function", "settings"),
    [(train_reward, RewardSettings), (train_dpo, DpoSettings), (train_kto, KtoSettings)],
)
def test_stages_on_preferences_pass_over_a_long_one(tied_llama, tmp_path, pairs, function, settings):
    changes = {"model": LORA, "max_tokens": 64, "batch_size": 8, "held_out": 2}
    _, metrics, _ = run_stage(function, settings(**changes), tmp_path / "runs", model=tied_llama, preferences=pairs)
    # KTO counts answers: either side of the long pair, unless the pair is held out.
    assert metrics["set_aside"] in ((1, 2) if function is train_kto else (1,))
    with pytest.raises(ValueError, match=r"preference long \(\) has \d+ tokens, more than max_tokens = 64"):
        stop = settings(**changes, too_long="stop")
        run_stage(function, stop, tmp_path / "runs", model=tied_llama, preferences=pairs)


def test_kto_cuts_turns_for_mismatched_answers_too(tied_llama, tmp_path):
    talk = Preference(prompt=turns(LONG, "Hi.", "Hello there!"), chosen="Fine.", rejected="No!", rating="better")
    file = write(tmp_path / "pairs.jsonl", [*PREFERENCES[:4], talk])
    settings = KtoSettings(model=LORA, max_tokens=64, batch_size=8, held_out=0, too_long="cut")
    _, metrics, _ = run_stage(train_kto, settings, tmp_path / "runs", model=tied_llama, preferences=file)
    assert (metrics["cut"], metrics["set_aside"], metrics["num_desirable"]) == (2, 0, 5)


def test_samples_of_a_reward_model_are_counted_apart(tied_llama, tmp_path, pairs):
    rows = [Comparison(prompt=user(text), first="Hi.", second="No.") for text in ("Hello there!", "Hello!", LONG)]
    write_records(tmp_path / "samples.jsonl", rows)
    given = {"model": tied_llama, "preferences": pairs, "samples": tmp_path / "samples.jsonl"}
    _, metrics, _ = run_stage(
        train_reward, RewardSettings(model=LORA, max_tokens=64, held_out=0), tmp_path / "r", **given
    )
    assert (metrics["set_aside"], metrics["samples_set_aside"], metrics["samples_cut"]) == (1, 1, 0)


@pytest.fixture
def prompts(tmp_path):
    given = [user("Hello there!"), turns(LONG, "Hi.", "Name two colours."), user(LONG), user("Be brief.")]
    write_records(tmp_path / "prompts.jsonl", [Prompt(id=f"p{i}", prompt=prompt) for i, prompt in enumerate(given)])
    return tmp_path / "prompts.jsonl"


@pytest.fixture
def reward_model(tied_llama, tmp_path):
    file = write(tmp_path / "few.jsonl", PREFERENCES[:4])
    settings = RewardSettings(model=LORA, held_out=0)
    return run_stage(train_reward, settings, tmp_path / "rm", model=tied_llama, preferences=file)[0] / "model"


@pytest.mark.parametrize(("choice", "answered", "aside", "cut"), [("set_aside", 2, 2, 0), ("cut", 3, 1, 1)])
def test_best_of_n_passes_over_long_prompts(tied_llama, tmp_path, prompts, reward_model, choice, answered, aside, cut):
    settings = BestSettings(model=FLOAT, num_samples=2, sampling=Sampling(max_new_tokens=4), too_long=choice)
    given = {"model": tied_llama, "reward_model": reward_model, "prompts": prompts}
    path, metrics, _ = run(sample_best, settings, tmp_path, **given)
    assert (metrics["num_prompts"], metrics["set_aside"], metrics["cut"]) == (answered, aside, cut)
    drawn = [json.loads(line)["prompt_id"] for line in (path / "samples.jsonl").read_text().splitlines()]
    assert sorted(set(drawn)) == ["p0", *(["p1"] if cut else []), "p3"]


def test_pairs_and_ppo_pass_over_long_prompts(tied_llama, tmp_path, prompts, reward_model, capsys):
    few = Sampling(max_new_tokens=4)
    settings = PairSettings(model=FLOAT, sampling=few, other_sampling=Sampling(max_new_tokens=6), too_long="cut")
    given = {"model": tied_llama, "other_model": tied_llama, "prompts": prompts}
    _, metrics, _ = run(sample_pairs, settings, tmp_path, **given)
    assert (metrics["num_prompts"], metrics["set_aside"], metrics["cut"]) == (3, 1, 1)
    assert "the context of 256 tokens less max_new_tokens = 6" in capsys.readouterr().err

    changes = {"model": LORA, "num_iterations": 1, "batch_size": 4, "mini_batch_size": 4, "sampling": few}
    given = {"model": tied_llama, "reward_model": reward_model, "prompts": prompts}
    _, metrics, _ = run(train_ppo, PpoSettings(**changes), tmp_path, **given)
    assert (metrics["set_aside"], metrics["cut"]) == (2, 0)
    with pytest.raises(
        ValueError, match=r"prompt p1 \(\) has \d+ tokens, more than the context of 256 .*: lower max_new"
    ):
        run(train_ppo, PpoSettings(**changes, too_long="stop"), tmp_path, **given)
    with pytest.raises(ValueError, match=r"max_new_tokens = 256 fills the model's context of 256"):
        run(train_ppo, PpoSettings(**changes | {"sampling": Sampling(max_new_tokens=256)}), tmp_path, **given)


def run(function, settings, tmp_path, **inputs):
    """As `run_stage`, for stages that log nothing too."""
    from camelid.runs import Stage, execute, read_manifest

    path = execute([Stage("stage", function, settings, inputs)], tmp_path / "runs")["stage"]
    return path, (read_manifest(path) or {})["metrics"], []


def test_a_reader_is_known_without_loading_weights(tied_llama):
    reader = Reader.of(tied_llama, "model")
    assert reader.context == 256 and reader.chat.prompt_ids(user("Hi."))
