"""Self-distillation: what the teacher is shown, which verdicts count, which answer is learnt; the same after a kill."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from camelid.collect.self_distillation import SelfDistillationSettings, self_distillation, shown_answers
from camelid.functional.listed import ordered_numbers
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Prompt, Ranking, read_records, write_records
from chat_server import ChatServer, says
from stage_resume import resumed
from tiny import user

# A random model does not end its turns; common letters do it, some tokens after the start.
ENDS = Sampling(max_new_tokens=24, stop=tuple("etaoin"))


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("2 > 1 > 3", [2, 1, 3]),
        (" 3>2>1.\n", [3, 2, 1]),
        ("1 > 2", None),
        ("1 > 2 > 2", None),
        ("1 > 2 > 4", None),
        ("1 > 2 = 3", None),
        ("Answer 2 > 1 > 3", None),
        ("2 > 1 > 3, since 2 is true", None),
        ("2, 1, 3", None),
        ("", None),
    ],
)
def test_only_an_order_of_all_is_a_verdict(text, order):
    assert ordered_numbers(text, 3) == order


def test_answers_are_shown_once_each_in_an_order_of_their_own():
    prompts = [Prompt(prompt=user(f"{i}?")) for i in range(20)]
    shown = [shown_answers(p, ["a", "b", "", "a", "c"], seed=0) for p in prompts]
    assert all(sorted(one.answers) == ["a", "b", "c"] for one in shown)
    assert len({tuple(one.answers) for one in shown}) > 3
    assert shown == [shown_answers(p, ["a", "b", "", "a", "c"], seed=0) for p in prompts]
    text = shown[0].question[0].content
    assert "0?" in text and "X > Y > Z." in text and "all 3 answers" in text
    assert re.findall(r"Answer (\d):\n\n(\w)", text) == [(str(n), a) for n, a in enumerate(shown[0].answers, 1)]


def by_length(request):
    """The longest answer first; no order of what begins with a 7."""
    if "\n7?" in request.text:
        return says("They are all good.")
    answers = re.findall(r"^Answer (\d+):\n\n(.*?)\n\n(?=Answer \d|Reply)", request.text, re.DOTALL | re.MULTILINE)
    return says(" > ".join(sorted((n for n, _ in answers), key=lambda n: -len(dict(answers)[n]))))


def stage_for(root, model, url, **settings):
    write_records(root / "prompts.jsonl", [Prompt(prompt=user(f"{i}? Tell me."), tags=("t",)) for i in range(10)])
    teacher = {"server": {"base_url": url, "model": "m-1", "backoff_seconds": 0, "concurrency": 1}}
    base = {"teacher": teacher, "sampling": ENDS.model_dump(), "num_samples": 4, "prompts_a_chunk": 4}
    values = SelfDistillationSettings.model_validate(
        {**base, "model": {"precision": "float32", "lora_rank": 2}, **settings}
    )
    return Stage("sdf", self_distillation, values, {"model": model, "prompts": root / "prompts.jsonl"})


def test_the_best_answer_is_learnt_and_a_killed_stage_leaves_the_same(tmp_path, tied_llama):
    with ChatServer(by_length) as server:
        stage = stage_for(tmp_path, tied_llama, server.url)
        path = execute([stage], tmp_path / "runs")["sdf"]
        asked = len(server.requests)
        rows = read_records(path / "demonstrations.jsonl", Conversation)
        rankings = read_records(path / "rankings.jsonl", Ranking)
        metrics = read_manifest(path)["metrics"]
        answers = {r["id"]: r for r in map(json.loads, (path / "answers.jsonl").open())}
        aside = [json.loads(line) for line in (path / "set_aside.jsonl").open()]
        (tmp_path / "again").mkdir()
        for file in path.parent.glob("teacher-m-1.sqlite*"):
            shutil.copy(file, tmp_path / "again")
        resumed(stage, path, "answers.jsonl", 5, tmp_path / "again")
        assert len(server.requests) == asked  # the journal answers
    assert len(rows) == len(rankings) == metrics["kept"] and len(rows) + len(aside) == 10
    assert metrics["kept"] >= 5
    seventh = next(p.id for p in read_records(tmp_path / "prompts.jsonl", Prompt) if p.prompt[0].content[0] == "7")
    (why,) = (row["reason"] for row in aside if row["id"] == seventh)
    assert re.fullmatch(r"no order of [234] answers", why)
    for row, ranking in zip(rows, rankings, strict=True):
        longest = max(len(text) for text in ranking.completions)
        assert row.messages[:-1] == ranking.prompt and len(row.messages[-1].content) == longest
        assert ranking.completions[ranking.ranks.index(1)] == row.messages[-1].content
        (drawn,) = (a for a in answers.values() if set(ranking.completions) <= set(a["answers"]))
        whole = [a for a, finished in zip(drawn["answers"], drawn["finished"], strict=True) if finished and a]
        assert set(ranking.completions) == set(whole)
        assert row.tags == ("t", "self-distilled") and ranking.annotator == "m-1"
    assert sum(metrics["best_by_place"].values()) == len(rows)


def test_one_answer_is_nothing_to_choose_from(tmp_path, tied_llama):
    with ChatServer(by_length) as server:
        greedy = {**ENDS.model_dump(), "temperature": 0.0}
        path = execute([stage_for(tmp_path, tied_llama, server.url, sampling=greedy)], tmp_path / "runs")["sdf"]
        assert server.requests == []
    assert read_manifest(path)["metrics"]["set_aside_by_reason"] == {"nothing to choose from": 10}
