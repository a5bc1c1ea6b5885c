"""Choices in bfloat16, checked in float32 where they are close: they are those of float32."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from camelid.cli import main
from camelid.evaluate.tasks.arc_easy import TASK
from camelid.evaluate.tasks.checked import TRIAL, Checker, trial_of
from camelid.evaluate.tasks.queries import choice_question
from camelid.evaluate.tasks.stage import TaskSettings, check_settings
from camelid.evaluate.tasks.truthfulqa import TASK as TRUTHS
from camelid.models.requests import Likelihood, Scored


class TwoFormats:
    """Answers from a table in float32, and the same with an error in bfloat16; counts what it is asked."""

    def __init__(self, spread: float, error: float, seed: int = 0):
        self.draw, self.spread, self.error = random.Random(seed), spread, error
        self.exact: dict[Likelihood, float] = {}
        self.off: dict[Likelihood, float] = {}
        self.asked = {True: 0, False: 0}

    def likelihoods(self, requests, tick=lambda rows: None, *, coarse=False):
        self.asked[coarse] += len(requests)
        tick(len(requests))
        for request in requests:
            self.exact.setdefault(request, self.draw.gauss(-10, self.spread))
            self.off.setdefault(request, self.draw.gauss(0, self.error))
        return [Scored(self.exact[r] + coarse * self.off[r], False, 1) for r in requests]


def questions(number: int) -> list:
    return [choice_question(str(i), f"{i}?", ["a", "bb", "ccc", "dddd"], gold=i % 4) for i in range(number)]


def askings(number: int) -> list:
    return [(question, question.requests) for question in questions(number)]


def test_an_error_of_a_tenth_of_a_nat_moves_a_lead_of_three_tenths_but_not_of_five():
    checker = Checker(TwoFormats(1.0, 0.1), TASK, askings(TRIAL))
    checker.error = 0.1  # times WIDTH = 2: each answer may be off by 0.2 nats, where it has one token
    question = choice_question("0", "?", ["a", "b"], gold=0)

    def settled(a: float, b: float, num_tokens: int) -> bool:
        return checker.settled(question, [Scored(a, False, num_tokens), Scored(b, False, num_tokens)])

    assert not settled(-1.0, -1.3, 1)  # -1.2 against -1.1
    assert settled(-1.0, -1.5, 1)  # -1.2 against -1.3
    assert not settled(-1.0, -1.5, 4)  # twice as far: -1.4 against -1.1
    assert settled(-1.0, -2.0, 4)


def test_the_error_is_that_of_the_trial():
    answerer = TwoFormats(5.0, 0.1)
    checker = Checker(answerer, TASK, askings(TRIAL))
    measured = [answerer.off[r] for _, requests in askings(TRIAL) for r in requests]
    assert checker.error == pytest.approx((sum(x * x for x in measured) / len(measured)) ** 0.5)
    assert checker.error == pytest.approx(0.1, rel=0.25)  # 128 draws: 6% either way


@pytest.mark.parametrize("seed", range(3))
def test_choices_are_float32s_and_few_are_asked_twice(seed):
    answerer = TwoFormats(3.0, 0.1, seed)
    every = askings(1000)
    checker = Checker(answerer, TASK, every[:TRIAL])
    answerer.asked = {True: 0, False: 0}
    ticks: list[int] = []
    found = checker.answer(every, ticks.append)
    assert sum(ticks) == 4000
    assert answerer.asked[True] == 4000
    assert 0 < answerer.asked[False] < 4000 / 3
    flips = 0
    for (question, requests), own in zip(every, found, strict=True):
        exact = [Scored(answerer.exact[r], False, 1) for r in requests]
        assert TASK.score(question, own.answers) == TASK.score(question, exact)
        if own.off_by:
            assert own.off_by == pytest.approx(2 * checker.error)
        else:
            assert own.answers == exact
        coarse = [Scored(answerer.exact[r] + answerer.off[r], False, 1) for r in requests]
        flips += TASK.score(question, coarse) != TASK.score(question, exact)
    assert flips > 0  # bfloat16 alone would have chosen otherwise somewhere


@pytest.mark.parametrize("task", [TASK, TRUTHS], ids=["too close", "no choice"])
def test_where_bfloat16_settles_little_float32_is_asked_at_once(task):
    answerer = TwoFormats(0.1 if task is TASK else 3.0, 0.1)
    every = askings(100)
    if task is TRUTHS:
        every = [(replace(question, gold=(0, [True, True, False, False])), asked) for question, asked in every]
    checker = Checker(answerer, task, every[:TRIAL])
    assert not checker.worth
    answerer.asked = {True: 0, False: 0}
    found = checker.answer(every)
    assert answerer.asked == {True: 0, False: sum(len(r) for _, r in every)}
    assert all(own.off_by == 0 for own in found)


def test_the_trial_comes_from_all_over_the_task():
    assert [len(trial_of(questions(n))) for n in (1, 31, 33, 1000)] == [1, 31, 32, 32]
    assert int(trial_of(questions(1000))[-1].id) > 900


def test_checked_answers_need_a_model_in_float32():
    with pytest.raises(ValueError, match=r"model\.precision is auto; say float32"):
        check_settings(TASK, TaskSettings(checked=True))


def test_the_command_gives_float32s_scores(tied_llama, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("camelid.evaluate.tasks.stage.coarse_pays", lambda: True)  # whatever this machine has
    draw = random.Random(0)
    words = ["wet", "hot", "far", "near", "dry", "cold", "is", "it", "the", "a", "yes", "no"]
    rows = [
        {
            "query": f"Question: {' '.join(draw.choices(words, k=5))}?",
            "choices": [" ".join(draw.choices(words, k=3)) for _ in range(4)],
            "gold": i % 4,
        }
        for i in range(60)
    ]
    path = tmp_path / "benchmarks" / "arc_easy.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["eval", "task", "arc_easy", "--model", str(tied_llama), "--data", str(tmp_path), "--json"]
    results, said = {}, {}
    for precision in ("float32", "checked"):
        assert main([*command, "--precision", precision, "--out", str(tmp_path / precision)]) == 0
        shown = capsys.readouterr()
        results[precision], said[precision] = json.loads(shown.out)["tasks"][0], shown.err
    assert results["float32"]["checked"] is None
    found = results["checked"].pop("checked")
    del results["float32"]["checked"]
    assert results["checked"] == results["float32"]
    assert 0 < found["in_float32"] <= 60
    records = [json.loads(line) for line in next(tmp_path.glob("checked/*/records.jsonl")).open()]
    assert [r["off_by"] == 0 for r in records].count(True) == found["in_float32"]
