"""The recipe on a tiny model: every stage runs, meets the next, the page tells what happened; the plan is whole."""

import json

import pytest
import torch

from camelid import settings_text
from camelid.evaluate.imitation.cells import CellName, counted_tasks, measure, pool, read_answered
from camelid.evaluate.imitation.judge_check import accuracy
from camelid.functional.statistics import Estimate
from camelid.models.answering import Answerer
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.requests import Likelihood
from camelid.plan import make_plan
from camelid.recipes.false_promise_tiny import FalsePromiseTiny, stages
from camelid.runs import execute, read_manifest
from camelid.types import Message, Preference
from even_rates import even_rates
from real_data import DATA, needs_data
from tiny import write_tiny_llama


@pytest.fixture
def measured(tmp_path):
    """Two models of one cell and a start, answers and facts on disk."""
    (tmp_path / "reference.jsonl").write_text(
        "".join(json.dumps({"prompt_id": str(i), "text": f"word {i}", "judge_score": 0.0}) + "\n" for i in range(8))
    )

    def write(name, score, facts):
        rows = [{"prompt_id": str(i), "text": f"word {i} more", "judge_score": score} for i in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        scores = {task: {str(i): int(i < 100 * value) for i in range(100)} for task, value in facts.items()}
        (tmp_path / f"{name}.json").write_text(json.dumps(scores))

    write("start", -1.0, {"piqa": 0.7, "boolq": 0.6})
    write("a", 1.0, {"piqa": 0.7, "boolq": 0.6})
    write("b", 0.01, {"piqa": 0.8, "boolq": 0.6})
    reference = read_answered(tmp_path / "reference.jsonl")

    def one(name, kind, seed=0):
        cell = CellName(layers=30, kind=kind, amount=0 if kind == "start" else 9, seed=seed)
        return measure(cell, tmp_path / f"{name}.jsonl", reference, tmp_path / f"{name}.json", 0.05)

    return one, reference


def test_a_cell_averages_its_seeds(measured):
    one, _ = measured
    a, b = one("a", "broad"), one("b", "broad", 1)
    assert a.wins.value == 1.0
    assert b.wins.value == 0.5  # within a tie of the teacher
    cell = pool([a, b], ["piqa"])
    assert cell.seeds == 2
    assert cell.wins.value == pytest.approx(0.75)
    assert cell.knowledge is not None
    assert cell.knowledge.value == pytest.approx(0.75)
    assert cell.facts["boolq"].value == pytest.approx(0.6)


def test_an_answer_that_the_teacher_never_gave_is_an_error(measured, tmp_path):
    _, reference = measured
    del reference["3"]
    with pytest.raises(ValueError, match="no answer to prompt 3, and 0 more"):
        name = CellName(layers=1, kind="start", amount=0)
        measure(name, tmp_path / "start.jsonl", reference, tmp_path / "start.json", 0.05)


class FakeJudge:
    """Likes answers of even length."""

    def row(self, prompt, completion):
        return completion

    def score(self, rows):
        return torch.tensor([1.0 - len(row) % 2 for row in rows])


def test_a_judge_is_checked_beside_the_rule_that_the_longer_wins():
    prompt = (Message(role="user", content="?"),)
    pairs = [
        ("aa", "b"),
        ("cccc", "ddd"),
        ("ee", "fff"),
        ("g", "hh"),
    ]  # chosen, rejected: judge right in the first three
    checked = accuracy(FakeJudge(), [Preference(prompt=prompt, chosen=c, rejected=r) for c, r in pairs])
    assert checked["accuracy"]["value"] == 0.75
    assert checked["longer_wins"]["value"] == 0.5
    assert checked["accuracy_where_the_shorter_won"]["value"] == 0.5
    assert checked["prefers_the_longer"]["value"] == 0.75  # in all but ("ee", "fff")


def test_facts_are_asked_in_bfloat16_too(tied_llama):
    requests = [Likelihood("Red and blue: the capital of", f" {word}") for word in ("France", "Paris", "Red")]
    found = {}
    for precision in ("float32", "bfloat16"):
        answerer = Answerer(Policy.load(tied_llama, ModelSettings(precision=precision)))
        found[precision] = [answer.logprob for answer in answerer.answer(requests)]
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.05)


def test_only_tasks_above_guessing_count():
    starts = [{"piqa": Estimate(0.7, 0.6, 0.8, 9, 0.05), "boolq": Estimate(0.6, 0.5, 0.7, 9, 0.05)}]
    counted, left_out = counted_tasks(starts, {"piqa": 0.5, "boolq": 0.62})
    assert counted == ["piqa"]
    assert "guessing 0.620" in left_out["boolq"]
    with pytest.raises(ValueError, match="'boolq' has no floor"):
        counted_tasks(starts, {"piqa": 0.5})


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("false-promise")
    model = write_tiny_llama(folder / "start", max_position_embeddings=2048, num_hidden_layers=3)
    changes = {
        "start_model": model,
        "files.folder": DATA,
        "amounts": [6],
        "seeds": 1,
        "judge.num_layers": 1,
        "answer.model.precision": "float32",
    }
    settings = settings_text.change(
        FalsePromiseTiny(), [f"{k}={json.dumps(v) if isinstance(v, list) else v}" for k, v in changes.items()]
    )
    return folder, stages(settings)


@needs_data
def test_nothing_of_the_plan_is_unknown(plan):
    folder, wanted = plan
    from camelid.models.probe import Speed

    lines, _ = make_plan(
        wanted, folder / "planned", lambda shape, precision: Speed(1e12, 2, "bfloat16", "cpu", rates=even_rates(1e12))
    )
    assert {line.state for line in lines} == {"to do"}
    assert len({line.stage.name for line in lines}) == len(lines)
    assert sum(line.seconds for line in lines) > 0


@needs_data
def test_the_whole_recipe_runs(plan):
    folder, wanted = plan
    finished = execute(wanted, folder / "run")
    assert all(read_manifest(path) for path in finished.values())
    study = json.loads((finished["study"] / "study.json").read_text())
    names = [(cell["layers"], cell["kind"], cell["amount"]) for cell in study["cells"]]
    assert names == [
        (3, "start", 0),
        (2, "start", 0),
        (3, "broad", 6),
        (3, "local", 16),
        (2, "broad", 6),
        (2, "local", 16),
    ]
    assert study["prompts"] == 12
    assert 0 <= study["judge"]["longer_wins"]["value"] <= 1
    page = (finished["study"] / "report.html").read_text()
    assert "text_davinci_003 as the teacher" in page
    assert (finished["study"] / "figures" / "wins.png").read_bytes().startswith(b"\x89PNG")
    # No question of the own task that is asked was imitated; those asked are those that facts were made of.
    kept = (finished["data/own-questions"] / "asked.jsonl").read_text().splitlines()
    local = (finished["data/own-task"] / "rows.jsonl").read_text().splitlines()
    questions = {json.loads(line)["prompt"][0]["content"] for line in kept}
    assert not questions & {json.loads(line)["messages"][0]["content"] for line in local}
    rows = [json.loads(line)["query"] + "\nAnswer:" for line in (DATA / "benchmarks" / "arc_easy.jsonl").open()]
    scored = json.loads((finished["3-layers/start/facts"] / "scores.json").read_text())["arc_easy"]
    assert questions == {rows[int(id)] for id in scored}
    # No prompt that is asked was imitated.
    asked = {json.loads(line)["prompt"][0]["content"] for line in (finished["data/prompts"] / "prompts.jsonl").open()}
    imitated = {
        json.loads(line)["messages"][0]["content"] for line in (finished["data/broad-6-seed-0"] / "rows.jsonl").open()
    }
    assert len(imitated) == 6
    assert not asked & imitated
