"""The choice of a sampling temperature, the pool of all rounds, and smaller models that learn from a larger one's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from transformers import AutoTokenizer

from camelid.functional.best_of_n import best_of_n_by_prompt, expected_best_of_n
from camelid.models.chat import load_chat_format
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.sampling import Sampling
from camelid.models.too_long import Lengths, row_limit
from camelid.runs import Stage, execute, read_manifest
from camelid.train.pool import PoolSettings, pool_rounds, top_rows
from camelid.train.rejection import BestSettings, sample_best
from camelid.train.scored_samples import read_groups
from camelid.train.sft import SftSettings, demonstration_rows, train_sft
from camelid.train.temperature import TemperatureSettings, choose_temperature, highest
from camelid.types import Conversation, Message, Prompt, read_records, write_records
from stage_resume import resumed
from tiny import user, write_tiny_llama

FLOAT = ModelSettings(precision="float32", lora_rank=2)
ENDS = Sampling(max_new_tokens=24, stop=tuple("etaoin"))  # a random model does not end its turns; letters do it


def test_the_best_of_n_of_each_prompt_is_that_of_its_own_scores():
    scores = np.random.default_rng(0).normal(size=(5, 7))
    for n in (1, 3, 7):
        assert best_of_n_by_prompt(scores, n) == pytest.approx([expected_best_of_n(row, n) for row in scores])


def test_the_highest_mean_is_chosen_and_of_equal_ones_the_lowest_temperature():
    assert highest({1.4: np.array([1.0, 3.0]), 0.6: np.array([0.0, 1.0])}) == 1.4
    assert highest({1.4: np.array([1.0, 3.0]), 1.2: np.array([3.0, 1.0]), 0.6: np.array([2.0, 1.9])}) == 1.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"best_of": 9}, "num_samples = 8 cannot estimate the best of 9"),
        ({"temperatures": (1.0, 1.0)}, "names one twice"),
        ({"temperatures": (0.0,)}, "greater than 0"),
    ],
)
def test_wrong_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        TemperatureSettings(**changes)


@pytest.fixture(scope="module")
def files(tied_llama, tmp_path_factory):
    """Inputs of what samples and scores."""
    folder = tmp_path_factory.mktemp("inputs")
    model = RewardModel.create(tied_llama, FLOAT, OptimizerSettings(), num_layers=1, seed=0)
    model.save(folder / "reward", "")
    model.model.score.weight.data.neg_()
    model.save(folder / "opposite", "")
    write_records(folder / "prompts.jsonl", [Prompt(prompt=user(f"Question {n}?")) for n in range(7)])
    return {"model": tied_llama, "reward_model": folder / "reward", "prompts": folder / "prompts.jsonl"}


@pytest.fixture(scope="module")
def chosen(files, tmp_path_factory):
    settings = TemperatureSettings(
        model=FLOAT,
        sampling=Sampling(max_new_tokens=6, stop=("e",)),
        temperatures=(1.5, 0.3, 0.9),
        best_of=3,
        num_samples=4,
        prompts_a_chunk=3,
    )
    stage = Stage("temperature", choose_temperature, settings, files)
    return stage, execute([stage], tmp_path_factory.mktemp("temperature"))["temperature"]


def test_each_temperature_has_its_curve_and_the_highest_is_chosen(chosen):
    _, path = chosen
    choice = json.loads((path / "temperature.json").read_text())
    assert [point["temperature"] for point in choice["temperatures"]] == [0.3, 0.9, 1.5]
    best = {}
    for point in choice["temperatures"]:
        groups = read_groups(path / f"samples-{point['temperature']:g}.jsonl", 4)
        best[point["temperature"]] = [expected_best_of_n([s.score for s in group], 3) for group in groups]
        assert [p["n"] for p in point["curve"]] == [1, 2, 4]
        assert point["curve"][2]["mean"] == pytest.approx(np.mean([max(s.score for s in group) for group in groups]))
        assert point["finished"] == np.mean([s.finished for group in groups for s in group])
        assert point["best"]["n"] == 7
    means = {t: np.mean(values) for t, values in best.items()}
    assert choice["temperature"] == max(means, key=means.get)
    for point in choice["temperatures"]:
        gap = means[point["temperature"]] - means[choice["temperature"]]
        assert point["gap_to_chosen"]["value"] == pytest.approx(gap)
    results = json.loads((path / "results.json").read_text())
    assert results["best_of_3"]["temperature_0.9"]["value"] == pytest.approx(means[0.9])
    assert list(results["best_of_3_less_at_0.9"]) == ["temperature_0.3", "temperature_1.5"]
    gap = results["best_of_3_less_at_0.9"]["temperature_1.5"]
    assert gap["value"] == pytest.approx(means[1.5] - means[0.9])
    assert gap["standard_error"] == pytest.approx(np.std(np.subtract(best[1.5], best[0.9]), ddof=1) / np.sqrt(7))
    groups = read_groups(path / "samples-1.5.jsonl", 4)
    assert results["points"][2]["mean"]["value"] == pytest.approx(np.mean([s.score for g in groups for s in g]))


@pytest.mark.parametrize("temperature", ["0.3", "1.5"])
def test_a_stopped_choice_ends_as_if_nothing_had_happened(chosen, tmp_path, temperature):
    stage, path = chosen
    resumed(stage, path, f"samples-{temperature}.jsonl", 14, tmp_path)


def test_what_was_cut_may_have_a_score_of_its_own(files, chosen, tmp_path):
    stage, path = chosen
    settings = stage.settings.model_copy(update={"unfinished_score": -50.0})
    punished = execute([Stage("temperature", choose_temperature, settings, files)], tmp_path)["temperature"]
    groups = read_groups(path / "samples-0.9.jsonl", 4)
    scores = [[s.score if s.finished else -50.0 for s in group] for group in groups]
    points = json.loads((punished / "temperature.json").read_text())["temperatures"]
    assert any(not s.finished for group in groups for s in group)
    assert points[1]["best"]["value"] == pytest.approx(best_of_n_by_prompt(scores, 3).mean())


def test_best_takes_the_chosen_temperature(files, tmp_path):
    def best(settings, **more):
        return execute([Stage("best", sample_best, settings, files | more)], tmp_path / "runs")["best"]

    settings = BestSettings(model=FLOAT, sampling=ENDS, num_samples=3)
    (tmp_path / "temperature.json").write_text(json.dumps({"temperature": 0.4, "best_of": 3}))
    given = best(settings, temperature=tmp_path / "temperature.json")
    fixed = best(settings.model_copy(update={"sampling": ENDS.model_copy(update={"temperature": 0.4})}))
    assert read_manifest(given)["outputs"] == read_manifest(fixed)["outputs"]
    assert json.loads((given / "curve.json").read_text())["temperature"] == 0.4
    assert read_manifest(best(settings))["outputs"] != read_manifest(fixed)["outputs"]
    with pytest.raises(ValueError, match=r"0.4 was chosen for the best of 3, and num_samples = 4; make them equal"):
        best(settings.model_copy(update={"num_samples": 4}), temperature=tmp_path / "temperature.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no temperature; give the temperature.json"):
        best(settings, temperature=tmp_path / "other.json")


# --- the pool ---


def answer(question: str, text: str, *tags: str) -> Conversation:
    return Conversation(messages=(*user(question), Message(role="assistant", content=text)), tags=tags)


def test_the_top_of_the_pool():
    rows = [answer(question, text) for question, text in ("aA", "aB", "bC", "aD", "cE", "cF")]
    scores = [1.0, 3.0, 0.0, 2.0, 5.0, 5.0]
    assert top_rows(rows, scores, 0, 1.0) == [0, 1, 2, 3, 4, 5]
    assert top_rows(rows, scores, 0, 0.5) == [1, 4, 5]
    assert top_rows(rows, scores, 1, 1.0) == [1, 2, 4]  # of equal scores the earlier
    assert top_rows(rows, scores, 2, 0.4) == [4, 5]  # two of five
    assert top_rows(rows, scores, 1, 0.01) == [4]  # at least one


def test_all_rounds_are_scored_by_the_newest_model(files, tmp_path):
    rounds = [
        [answer(f"Question {n}?", text, *tags) for n, (text, tags) in enumerate(given)]
        for given in (
            [("Yes.", ()), ("No!", ("unsafe",)), ("Well then.", ())],
            [("It is so.", ()), ("No!", ("unsafe",)), ("long " * 120, ()), ("Fine.", ("unsafe",))],
        )
    ]
    for number, rows in enumerate(rounds):
        write_records(tmp_path / f"{number}.jsonl", rows)
    opposite = files["reward_model"].parent / "opposite"
    inputs = {
        "best": [tmp_path / "0.jsonl", tmp_path / "1.jsonl"],
        "reward_model": files["reward_model"],
        "safety_reward_model": opposite,
    }
    stage = Stage("pool", pool_rounds, PoolSettings(model=FLOAT, top_share=0.5, rows_a_chunk=2), inputs)
    path = execute([stage], tmp_path / "runs")["pool"]
    whole = [*rounds[0], rounds[1][0], rounds[1][3]]  # one stands in both rounds, one is too long
    helpful, safe = (RewardModel.load(folder, FLOAT) for folder in (files["reward_model"], opposite))
    models = [safe if "unsafe" in row.tags else helpful for row in whole]
    scores = [
        model.score([model.row(row.messages[:-1], row.messages[-1].content)]).item()
        for model, row in zip(models, whole, strict=True)
    ]
    found = [json.loads(line) for line in (path / "scores.jsonl").read_text().splitlines()]
    assert [(row["id"], row["round"]) for row in found] == [
        *((row.id, 1) for row in whole[:3]),
        *((row.id, 2) for row in whole[3:]),
    ]
    assert [row["score"] for row in found] == pytest.approx(scores, abs=1e-5)
    top = sorted(sorted(range(5), key=lambda i: -scores[i])[:2])
    assert read_records(path / "pool.jsonl", Conversation) == [whole[i] for i in top]
    metrics = read_manifest(path)["metrics"]
    assert (metrics["num_answers"], metrics["num_kept"], metrics["set_aside"]) == (7, 2, 1)
    assert metrics["kept_by_round"] == {"1": sum(i < 3 for i in top), "2": sum(i >= 3 for i in top)}
    resumed(stage, path, "scores.jsonl", 3, tmp_path / "again")


# --- smaller models ---


def test_a_smaller_model_of_another_tokenizer_learns_the_larger_ones_answers(files, tmp_path):
    """What `best` leaves is text, so the smaller model reads it in its own tokens: its vocabulary is turned round."""
    small = write_tiny_llama(tmp_path / "small", num_hidden_layers=1, seed=1)
    tokenizer = json.loads((small / "tokenizer.json").read_text())
    special = {token["id"] for token in tokenizer["added_tokens"]}
    words = [word for word, id in tokenizer["model"]["vocab"].items() if id not in special]
    ids = [tokenizer["model"]["vocab"][word] for word in words]
    tokenizer["model"]["vocab"] |= dict(zip(words, reversed(ids), strict=True))
    (small / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = BestSettings(model=FLOAT, sampling=ENDS, num_samples=2)
    large = Stage("best", sample_best, settings, files)
    best = execute([large], tmp_path / "runs")["best"] / "best.jsonl"
    rows = read_records(best, Conversation)
    theirs, mine = (AutoTokenizer.from_pretrained(folder) for folder in (files["model"], small))
    assert theirs.encode("Paris") != mine.encode("Paris")

    lengths = Lengths("demonstrations", "set_aside", row_limit(1024, 256))
    made = demonstration_rows(load_chat_format(mine), rows, SftSettings(), lengths)
    texts = [mine.decode(np.array(row.ids)[row.loss_mask]) for _, row in made]
    assert texts == [f"{row.messages[-1].content}<|im_end|>" for row in rows]
    training = SftSettings(
        model=ModelSettings(precision="float32", lora_rank=0), learning_rate=3e-3, epochs=12, held_out=1, batch_size=6
    )
    stage = Stage("sft", train_sft, training, {"model": small, "demonstrations": best})
    path = execute([stage], tmp_path / "runs")["sft"]
    losses = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    losses = [step["loss"] for step in losses if "loss" in step]
    assert losses[-1] < 0.8 * losses[0]
