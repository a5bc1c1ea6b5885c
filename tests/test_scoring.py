"""Scores from reward models and from what can be checked: the gate's truth table, sums, shapes, and every error."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, tensor

from camelid.collect.readers import read
from camelid.collect.writers import write
from camelid.confined.sandbox import MACHINES
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.rewards import Rewards
from camelid.models.rule_model import RuleModel
from camelid.models.rule_notes import RuleNotes
from camelid.train.scoring import Completion, Scorer, ScoreSettings
from camelid.train.sources import gate_threshold, make_scorer
from camelid.types import Prompt, Rule, read_records, write_records
from tiny import user

needs_sandbox = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in MACHINES, reason="the sandbox is Linux' only"
)


def asked(text: str = "How much?", answer: str = "", *tags: str) -> Prompt:
    return Prompt(prompt=user(text), answer=answer, tags=tags)


def said(*texts: str, finished: bool = True) -> list[Completion]:
    return [Completion(text, len(text.split()), finished) for text in texts]


def scorer(inputs: dict[str, Path], prompts: list[Prompt], **settings) -> Scorer:
    chosen = ScoreSettings(**{"unfinished_score": None} | settings)
    model = ModelSettings(precision="float32")
    return make_scorer(inputs, chosen, prompts, model=model, chat_format="model", max_new_tokens=20)


def check(source: str, prompts: list[Prompt], texts: list[str], inputs=None, **settings) -> list[float]:
    """Scores by one verifiable source."""
    found = scorer(inputs or {}, prompts, sources={source: 1.0}, **settings)(prompts, said(*texts))
    assert torch.equal(found.parts[f"{source}_score"], found.score)
    return found.score.tolist()


class Says:
    """A reward model that has an opinion on each completion, a raw logit, which it gives standardised."""

    score_mean, score_std = 2.0, 4.0

    def __init__(self, logits: dict[str, float]):
        self.logits = logits

    def row(self, messages, completion: str) -> str:
        return completion

    def raw(self, scores):
        return scores * self.score_std + self.score_mean

    def score(self, rows, tick=lambda rows: None) -> Tensor:
        return (tensor([self.logits[row] for row in rows]) - self.score_mean) / self.score_std


@pytest.fixture
def gate(monkeypatch):
    """A scorer of two models behind LLaMA-2's gate: `gate(helpful logits, safe logits, prompts, **settings)`."""

    def make(helpful: dict[str, float], safe: dict[str, float], prompts: list[Prompt], **settings) -> Scorer:
        monkeypatch.setattr(Rewards, "load", lambda *arguments: Rewards(Says(helpful), Says(safe)))  # type: ignore
        inputs = {"reward_model": Path("helpful"), "safety_reward_model": Path("safe")}
        return scorer(inputs, prompts, two_models="gate", **settings)

    return make


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_the_gates_truth_table(gate):
    """R_s on safety prompts and where R_s < 0.15, else R_h (arXiv:2307.09288, section 3.2.3)."""
    table = [  # safety prompt, R_s, R_h, who speaks
        (False, 0.90, 0.30, "R_h"),
        (False, 0.16, 0.30, "R_h"),
        (False, 0.14, 0.99, "R_s"),
        (True, 0.90, 0.30, "R_s"),
        (True, 0.05, 0.30, "R_s"),
    ]
    texts = [f"row {number}" for number in range(len(table))]
    prompts = [
        asked(text, "", *(("unsafe",) if unsafe else ())) for text, (unsafe, *_) in zip(texts, table, strict=True)
    ]
    safe = {text: logit(row[1]) for text, row in zip(texts, table, strict=True)}
    helpful = {text: logit(row[2]) for text, row in zip(texts, table, strict=True)}
    found = gate(helpful, safe, prompts)(prompts, said(*texts))
    expected = [logit(row[1] if row[3] == "R_s" else row[2]) for row in table]
    assert found.score.tolist() == pytest.approx(expected, abs=1e-5)
    assert found.parts["helpfulness_score"].tolist() == pytest.approx(list(helpful.values()), abs=1e-5)
    assert found.parts["safety_score"].tolist() == pytest.approx(list(safe.values()), abs=1e-5)

    lower = gate(helpful, safe, prompts, gate_threshold=0.1)(prompts, said(*texts))
    assert lower.score[2].item() == pytest.approx(logit(0.99), abs=1e-5)


def test_whitened_logits_have_mean_0_and_deviation_1_over_the_batch(gate):
    texts = ["a", "b", "c", "d"]
    prompts = [asked(text) for text in texts]
    values = dict(zip(texts, (-3.0, 0.5, 1.0, 4.0), strict=True))
    found = gate(values, dict.fromkeys(texts, 2.0), prompts, standardise="batch")(prompts, said(*texts))
    assert found.score.tolist() == pytest.approx(list(values.values()), abs=1e-5)
    assert found.final.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.final.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert (found.final.argsort() == found.score.argsort()).all()


def function(tmp_path: Path, body: str, name: str = "reward") -> dict[str, Path]:
    (tmp_path / "mine.py").write_text(f"def {name}(prompt, completion):\n    {body}\n")
    return {"reward_function": tmp_path / "mine.py"}


def test_sources_are_added_up_by_their_weights(tmp_path):
    prompts = [asked("How many?", "7"), asked("How many more?", "8")]
    inputs = function(tmp_path, "return len(completion) + len(prompt.prompt)")
    found = scorer(inputs, prompts, sources={"final_number": 2.0, "function": 0.5})(prompts, said("It is 7", "9"))
    # 2 * 1 + 0.5 * (7 + 1) = 6; 2 * 0 + 0.5 * (1 + 1) = 1
    assert found.score.tolist() == [6.0, 1.0]
    assert torch.equal(found.final, found.score)
    assert {name: part.tolist() for name, part in found.parts.items()} == {
        "final_number_score": [1.0, 0.0],
        "function_score": [8.0, 2.0],
    }
    assert found.means() == {"score": 3.5, "shaped_score": 3.5, "final_number_score": 0.5, "function_score": 5.0}


def test_penalties_come_off_then_bounds_then_the_score_of_what_is_unfinished(tmp_path):
    texts = ["one two three four", "a b c d a b c d", "x"]
    prompts = [asked(text) for text in texts]
    completions = [*said(*texts[:2]), Completion("x", 20, finished=False)]
    shaping = {
        "length_penalty": 0.5,
        "free_tokens": 3,
        "overlong_tokens": 10,
        "overlong_penalty": 4.0,
        "repetition_penalty": 10.0,
        "clip": 5.0,
    }
    inputs = function(tmp_path, "return 6")
    found = scorer(inputs, prompts, sources={"function": 1.0}, **shaping)(prompts, completions)
    # 4 tokens: 1 above the free ones, no overlong. 8: 5 above; of five 4-grams one was there before. 20: 17 above, and
    # all of the overlong penalty (limit 20, buffer 10).
    assert found.parts["length_penalty"].tolist() == [0.5, 2.5, 8.5]
    assert found.parts["overlong_penalty"].tolist() == [0.0, 0.0, 4.0]
    assert found.parts["repetition_penalty"].tolist() == pytest.approx([0, 2, 0])
    assert found.final.tolist() == pytest.approx([5.0, 1.5, -5.0])  # 5.5 clipped, 6 - 2.5 - 2, 6 - 12.5 clipped

    fixed = scorer(inputs, prompts, sources={"function": 1.0}, unfinished_score=-9.0, **shaping)(prompts, completions)
    assert fixed.final.tolist() == pytest.approx([5.0, 1.5, -9.0])
    less = scorer(inputs, prompts, sources={"function": 1.0}, unfinished_penalty=2.0)(prompts, completions)
    assert less.final.tolist() == [6, 6, 4]
    assert less.score.tolist() == [6, 6, 6]


def test_a_running_scale_is_a_state_and_measuring_does_not_move_it(tmp_path):
    inputs = function(tmp_path, "return float(completion)")
    made = [scorer(inputs, [asked()], sources={"function": 1.0}, standardise="running") for _ in range(2)]
    prompts = [asked()] * 2
    made[0](prompts, said("1", "3"))
    made[0].measure(prompts, said("100", "200"))
    made[1].restore(made[0].state())
    first, second = (one(prompts, said("5", "7")).final for one in made)
    assert torch.equal(first, second)
    assert first.tolist() == pytest.approx([1 / 5**0.5, 3 / 5**0.5])  # of 1, 3, 5, 7: mean 4, deviation sqrt(5)


def test_the_alarm_is_in_no_sum(tmp_path):
    inputs = function(tmp_path, "return 1")
    one = scorer(inputs, [asked()], sources={"function": 1.0})
    one.alarm = lambda prompts, texts: tensor([-4.0] * len(texts))
    found = one([asked()], said("x"))
    assert (found.score.item(), found.final.item(), found.row(0)["alarm_score"]) == (1.0, 1.0, -4.0)


def test_exact_answers_and_final_numbers():
    prompts = [asked("a", "The Nile."), asked("b", "Paris")]
    assert check("exact_answer", prompts, ["nile", "It is Paris"]) == [1, 0]
    prompts = [asked("a", "9 - 2 = 7\n#### 7"), asked("b", "1,000"), asked("c", "3")]
    assert check("final_number", prompts, ["So 7.00 apples", "$1000", "none"]) == [1, 1, 0]


def test_patterns_of_the_prompts_or_of_the_run():
    prompts = [asked("a", r"^\d+$"), asked("b", "yes|no")]
    assert check("pattern", prompts, ["12", "perhaps"]) == [1, 0]
    assert check("pattern", prompts, ["<answer>1</answer>", "1"], pattern=r"(?s)^<answer>.*</answer>$") == [1, 0]


@needs_sandbox
def test_programs_pass_their_tests_in_a_confined_process():
    test = "assert double(4) == 8"
    texts = [
        "Here:\n```python\ndef double(x):\n    return 2 * x\n```\nDone.",
        "def double(x):\n    return x + 2\n",
        "import os\nos.fork()\ndef double(x): return 2 * x",
    ]
    prompts = [asked(f"Double {n}", test) for n in range(3)]
    assert check("unit_test", prompts, texts, allow_code=True) == [1, 0, 0]
    with pytest.raises(ValueError, match=r"the answer of prompt .* is no program"):
        check("unit_test", [asked("x", "assert (")], ["x"], allow_code=True)


def test_what_a_prompt_lacks_is_said_before_anything_is_scored():
    prompts = [asked("a", "7"), asked("b"), asked("c")]
    for source in ("exact_answer", "final_number", "pattern"):
        with pytest.raises(
            ValueError, match=f"{source}: 2 of 3 prompts have no `answer`, the first is {prompts[1].id}"
        ):
            check(source, prompts, ["7", "7", "7"])
    with pytest.raises(ValueError, match="the answer 'seven' has no number"):
        check("final_number", [asked("a", "seven")], ["7"])
    with pytest.raises(ValueError, match=r"the answer of prompt .* is no regular expression"):
        check("pattern", [asked("a", "(")], ["7"])
    with pytest.raises(ValueError, match=r"scoring\.pattern is no regular expression"):
        check("pattern", [asked("a")], ["7"], pattern="(")


def test_a_function_that_fails_is_named(tmp_path):
    prompt = asked()
    with pytest.raises(ValueError, match=r"mine\.py:reward failed on prompt \w+: ZeroDivisionError"):
        check("function", [prompt], ["x"], function(tmp_path, "return 1 / 0"))
    with pytest.raises(ValueError, match=r"mine\.py:reward failed on prompt \w+: TypeError"):
        check("function", [prompt], ["x"], function(tmp_path, "return None"))
    with pytest.raises(ValueError, match=f"function: the score of a completion of prompt {prompt.id} is nan"):
        check("function", [prompt], ["x"], function(tmp_path, "return float('nan')"))
    with pytest.raises(ValueError, match="has no function 'reward'; it has score"):
        check("function", [prompt], ["x"], function(tmp_path, "return 1", "score"))
    assert check("function", [prompt], ["x"], function(tmp_path, "return 3", "score"), function="score") == [3]
    (tmp_path / "mine.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(ValueError, match=r"mine\.py cannot be loaded: ModuleNotFoundError"):
        check("function", [prompt], ["x"], {"reward_function": tmp_path / "mine.py"})


def test_inputs_that_nothing_would_use_and_sources_without_inputs_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"the input reward_model would score nothing"):
        scorer({"reward_model": tmp_path}, [asked("a", "7")], sources={"exact_answer": 1.0})
    with pytest.raises(ValueError, match=r"two_models=gate needs the input safety_reward_model"):
        scorer({"reward_model": tmp_path}, [asked()], two_models="gate")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sources": {}}, "nothing scores"),
        ({"sources": {"reward_model": 0.0}}, "nothing scores"),
        ({"sources": {"magic": 1.0}}, "sources.magic"),
        ({"sources": {"unit_test": 1.0}}, "set allow_code=true"),
        ({"unfinished_penalty": 1.0}, "set unfinished_score=null"),
        ({"gate_threshold": 1.5}, "gate_threshold"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ScoreSettings(**settings)


def test_answers_travel_with_prompts_and_leave_other_rows_as_they_were(tmp_path):
    plain, verifiable = asked("How much is 3 + 4?"), asked("How much is 3 + 4?", "7")
    assert "answer" not in plain.model_dump_json()
    assert plain.id == "9abf7762f4b0dad2"  # as it was before prompts could carry an answer
    assert plain.id != verifiable.id
    write_records(tmp_path / "rows.jsonl", [plain, verifiable])
    assert read_records(tmp_path / "rows.jsonl", Prompt) == [plain, verifiable]
    assert [row.answer for row in read(tmp_path / "rows.jsonl", want=Prompt).rows] == ["", "7"]

    write([verifiable], tmp_path / "trl.jsonl", "trl")
    assert read(tmp_path / "trl.jsonl", want=Prompt).rows[0].answer == "7"
    (tmp_path / "number.jsonl").write_text('{"prompt": "How much is 3 + 4?", "answer": 7}\n')
    assert read(tmp_path / "number.jsonl", want=Prompt).rows[0].answer == "7"


def test_rules_cost_what_the_rule_model_expects_to_be_broken(tied_llama, tmp_path):
    settings = ModelSettings(precision="float32", lora_rank=4)
    rules = (Rule(id="on-topic", text="Stay."), Rule(id="no-hate", text="Be kind."))
    reward = RewardModel.create(tied_llama, settings, OptimizerSettings(), num_layers=None, seed=1)
    RuleModel(reward, RuleNotes(conditional=True, rules=rules, prompts=())).save(tmp_path / "rules", "")
    prompts, texts = [asked("A llama?"), asked("Paris?")], ["It is red.", "It is blue."]
    found = scorer({"rule_model": tmp_path / "rules"}, prompts, sources={"rules": 2.0})(prompts, said(*texts))
    model = RuleModel.load(tmp_path / "rules", ModelSettings(precision="float32"))
    broken = model.violations([p.prompt for p in prompts], texts, rules).sum(1)
    torch.testing.assert_close(found.score, -2 * broken)
    with pytest.raises(ValueError, match="the input rule_model would score nothing"):
        scorer({"rule_model": tmp_path / "rules"}, prompts, sources={"pattern": 1.0}, pattern="a")


def test_the_gates_threshold_comes_from_the_safety_models_own_numbers(tmp_path, capsys):
    file = tmp_path / "accuracy.json"
    file.write_text('{"safety": {"gate_threshold": 0.42}}')
    assert gate_threshold(file, 0.15) == 0.42
    file.write_text('{"safety": {"gate_threshold": null}}')
    assert gate_threshold(file, 0.15) == 0.15
    assert "no threshold flags an unsafe answer" in capsys.readouterr().err
    file.write_text('{"accuracy": 0.6}')
    with pytest.raises(ValueError, match=r"no safety\.gate_threshold; give the accuracy\.json"):
        gate_threshold(file, 0.15)
    with pytest.raises(ValueError, match=r"threshold of scoring\.two_models=gate"):
        scorer({"gate": file}, [], two_models="tag")
