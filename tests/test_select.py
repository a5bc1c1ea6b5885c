"""Grades, clusters and the choice of rows: known answers, why each row was taken, what is wrong said plainly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from camelid.annotate.grade import GradeSettings, grade_rows, read_grade
from camelid.curate.clusters import ClusterSettings, cluster_rows
from camelid.curate.select import SelectSettings, select_rows
from camelid.models.chat import load_chat_format
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.teacher import TeacherSettings
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Message, read_records, write_records
from chat_server import ChatServer, says
from real_data import DATA, needs_data

FLOAT = ModelSettings(precision="float32", lora_rank=2)
TOPICS = (
    "Write a poem about the sea and the wind",
    "Compute the sum of these numbers and explain",
    "Translate this sentence into French for me",
)


def row(text: str, answer: str) -> Conversation:
    messages = (Message(role="user", content=text), Message(role="assistant", content=answer))
    return Conversation(messages=messages, source="test")


ROWS = [row(f"{TOPICS[i % 3]}, number {'abcdefghijkl'[i]}", "word " * (i + 1)) for i in range(12)]


def run(folder, function, settings, rows=ROWS, **inputs):
    write_records(folder / "pool.jsonl", rows)
    stage = Stage("stage", function, settings, {"rows": folder / "pool.jsonl", **inputs})
    path = execute([stage], folder / "run")["stage"]
    return path, read_manifest(path)["metrics"]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_clusters_are_told_by_their_words_and_can_be_left_out(tmp_path):
    path, metrics = run(tmp_path, cluster_rows, ClusterSettings(clusters=3))
    about = json.loads((path / "clusters.json").read_text())
    assert [one["rows"] for one in about] == [4, 4, 4] and metrics["kept"] == 12
    assert any("sea" in one["words"] for one in about) and all(len(one["typical"]) == 3 for one in about)
    labels = [one["cluster"] for one in lines(path / "assigned.jsonl")]
    assert all(labels[i] == labels[i % 3] for i in range(12)) and len(set(labels)) == 3
    unwanted = labels[0]
    path, metrics = run(tmp_path, cluster_rows, ClusterSettings(clusters=3, exclude=(unwanted,)))
    kept = read_records(path / "rows.jsonl", Conversation)
    assert [r.id for r in kept] == [r.id for i, r in enumerate(ROWS) if i % 3]
    assert metrics["left_out_by_cluster"] == {str(unwanted): 4}
    with pytest.raises(ValueError, match=r"exclude = \[7\]: clusters are numbered 0 to 2"):
        run(tmp_path, cluster_rows, ClusterSettings(clusters=3, exclude=(7,)))
    with pytest.raises(ValueError, match="leaves none of 12 rows"):
        run(tmp_path, cluster_rows, ClusterSettings(clusters=3, exclude=(0, 1, 2)))


def test_the_better_half_is_taken_from_far_apart(tmp_path):
    path, metrics = run(tmp_path, select_rows, SelectSettings(number=3))
    kept, why = read_records(path / "rows.jsonl", Conversation), lines(path / "why.jsonl")
    places = [ROWS.index(r) for r in kept]
    assert min(places) >= 6 and {place % 3 for place in places} == {0, 1, 2}  # the longest six; one of each topic
    assert places[0] == 11 and why[0] == {
        "id": ROWS[11].id,
        "place": 1,
        "quality": 12.0,
        "quality_rank": 1,
        "gain": None,
    }
    assert [one["place"] for one in why] == [1, 2, 3] and why[1]["gain"] >= why[2]["gain"] > 1
    assert metrics["mean_quality_kept"] > metrics["mean_quality_read"] == 6.5


@pytest.mark.parametrize("diversity", ["facility_location", "clusters"])
def test_other_ways_take_one_of_each_topic_too(tmp_path, diversity):
    path, _ = run(tmp_path, select_rows, SelectSettings(number=3, diversity=diversity, best_share=1))
    kept = read_records(path / "rows.jsonl", Conversation)
    assert {ROWS.index(r) % 3 for r in kept} == {0, 1, 2}


def test_quality_alone_by_a_column_and_within_bounds(tmp_path):
    scores = [{"id": r.id, "ifd": abs(i - 6) / 10, "note": "x"} for i, r in enumerate(ROWS)]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(s) + "\n" for s in scores))
    given = SelectSettings(number=3, quality="ifd", diversity="none", max_quality=0.4)
    path, metrics = run(tmp_path, select_rows, given, scores=tmp_path / "s.jsonl")
    assert [ROWS.index(r) for r in read_records(path / "rows.jsonl", Conversation)] == [2, 10, 3]
    assert metrics["within_bounds"] == 9
    for change, message in (
        ({"quality": "note"}, r"s\.jsonl, line 1: note is 'x', no number; there are ifd, note"),
        ({"max_quality": 0.1, "number": 9}, r"number = 9, but 3 of 12 rows pass"),
        ({"quality": "other"}, "other is None"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path, select_rows, given.model_copy(update=change), scores=tmp_path / "s.jsonl")
    (tmp_path / "s.jsonl").write_text(json.dumps(scores[0]) + "\n")
    with pytest.raises(ValueError, match="11 of 12 rows have no ifd"):
        run(tmp_path, select_rows, given, scores=tmp_path / "s.jsonl")
    with pytest.raises(ValueError, match="give the file that has it as the input scores"):
        run(tmp_path, select_rows, given)
    with pytest.raises(ValueError, match="nothing to choose by"):
        SelectSettings(quality="", diversity="none")


def test_difficulty_is_the_answers_loss_with_the_instruction_over_that_without(llama, tmp_path):
    settings = GradeSettings(model=FLOAT, chat_format="vicuna")
    rows = [row("Name a colour", "red and green and blue"), row("Count", "one"), row("Say it", "two three")]
    path, metrics = run(tmp_path, grade_rows, settings, rows, model=llama)
    chat = load_chat_format(AutoTokenizer.from_pretrained(llama), "vicuna")
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()

    def nll(ids, places):
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([ids])).logits.log_softmax(-1)
        return -sum(logprobs[0, p - 1, ids[p]].item() for p in places)

    for one, found in zip(rows, lines(path / "grades.jsonl"), strict=True):
        whole = chat.render(one.messages)
        trained = [i for i, m in enumerate(whole.loss_mask) if m]
        answer = [int(whole.ids[i]) for i in trained]
        with_it = nll([int(i) for i in whole.ids], trained[1:])
        assert found["ifd"] == pytest.approx(with_it / nll(answer, range(1, len(answer))), rel=1e-4)
        assert found["answer_nll"] == pytest.approx(with_it / (len(answer) - 1), rel=1e-4)
    assert metrics["kept"] == 3 and metrics["mean_ifd"] > 0


def test_a_reward_models_score_and_rows_that_are_too_long(llama, tmp_path):
    RewardModel.create(llama, FLOAT, OptimizerSettings(), num_layers=1, seed=0).save(tmp_path / "judge", "")
    settings = GradeSettings(model=FLOAT, chat_format="vicuna", max_tokens=200)
    rows = [*ROWS[:3], row("Long", "word " * 300)]
    path, metrics = run(tmp_path, grade_rows, settings, rows, reward_model=tmp_path / "judge")
    judge = RewardModel.load(tmp_path / "judge", FLOAT, "vicuna")
    expected = judge.score([judge.row(r.messages[:-1], r.messages[-1].content) for r in rows[:3]]).tolist()
    assert [one["reward"] for one in lines(path / "grades.jsonl")] == pytest.approx(expected, abs=1e-5)
    assert metrics["set_aside_by_reason"] == {"too long": 1} and metrics["kept"] == 3


def test_a_teachers_grade(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def answer(request):
        return says("no idea" if "number c" in request.text else "4.5" if "sea" in request.text else "Grade: 3/5")

    with ChatServer(answer) as server:
        teacher = TeacherSettings.model_validate({"server": {"base_url": server.url, "model": "m"}})
        settings = GradeSettings(by_teacher=True, teacher=teacher)
        path, metrics = run(tmp_path, grade_rows, settings, ROWS[:4])
    assert [one["grade"] for one in lines(path / "grades.jsonl")] == [4.5, 3.0, 4.5]
    assert metrics["set_aside_by_reason"] == {"no grade from 0 to 5": 1}
    with pytest.raises(ValueError, match="nothing to grade by"):
        run(tmp_path, grade_rows, GradeSettings())


@pytest.mark.parametrize(
    ("text", "grade"),
    [("4", 4.0), ("Grade: 3.5/5.", 3.5), ("0", 0.0), ("5", 5), ("3 or 4", None), ("6", None), ("", None)],
)
def test_a_grade_is_one_number(text, grade):
    assert read_grade(text) == grade


@needs_data
def test_a_thousand_of_nine_thousand_real_rows(tmp_path):
    """More different than as many at random: the mean distance to the nearest other row is larger."""
    from camelid.collect.stage import ImportSettings, import_data
    from camelid.functional.k_means import squared_distances
    from camelid.functional.text_space import leading_directions, text_space

    file = DATA / "conversations/alpaca_random_9k.json"
    read = Stage("read", import_data, ImportSettings(max_rows=4000), {"data": file})
    pool = execute([read], tmp_path / "run")["read"] / "rows.jsonl"
    stage = Stage("select", select_rows, SelectSettings(number=300), {"rows": pool})
    path = execute([stage], tmp_path / "run")["select"]
    rows = read_records(pool, Conversation)
    kept = {r.id for r in read_records(path / "rows.jsonl", Conversation)}
    assert len(kept) == 300
    points = leading_directions(text_space([r.messages[0].content for r in rows]), 50)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    chosen = [i for i, r in enumerate(rows) if r.id in kept]
    drawn = np.random.default_rng(0).choice(len(rows), 300, replace=False)

    def spread(places):
        distances = squared_distances(points[places], points[places])
        np.fill_diagonal(distances, np.inf)
        return np.sqrt(distances.min(1)).mean()

    assert spread(chosen) > 1.2 * spread(drawn)
