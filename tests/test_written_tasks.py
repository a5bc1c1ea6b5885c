"""Tasks that are answered in writing: how they ask, what they make of answers, end to end on a tiny model."""

import gzip
import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.tasks import bbh, humaneval, svamp
from camelid.evaluate.tasks.asking import asked, chosen_questions
from camelid.evaluate.tasks.registry import TASKS
from camelid.evaluate.tasks.shots import Shots
from camelid.models.requests import CACHE_TOKENS, MOST_ROWS, Generate, Likelihood, Written, rows_at_once
from real_data import DATA, needs_data

PROBLEM = {"question": "Two and two?", "answer": "It is 2 + 2 = <<2+2=4>>4.\n#### 1,004"}
QUESTIONS = [{"question": f"who is {name}", "answer": [f"The {name}", "Nobody."]} for name in ("ann", "bo", "cy", "di")]
FUNCTION = {
    "task_id": "HumanEval/0",
    "prompt": 'import math\n\n\ndef half(x: int) -> float:\n    """Half of x."""\n',
    "entry_point": "half",
    "canonical_solution": "    return x / 2\n",
    "test": "def check(candidate):\n    assert candidate(3) == 1.5\n",
}


def write_lines(folder: Path, name: str, rows) -> Path:
    path = folder / "benchmarks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def scores(task: str, row, *texts: str):
    return TASKS[task].score(TASKS[task].ask(0, row), [Written(text, True, 1) for text in texts])


# --- numbers ---


@pytest.mark.parametrize(
    ("text", "strict", "flexible", "unmarked", "invalid"),
    [
        ("So 1,004.\n#### 1004", 1, 1, 0, 0),
        ("So it is $1,004.00 in all.", 0, 1, 1, 0),
        ("#### 1004, for 2 people", 1, 0, 0, 0),
        ("1004\n#### 5", 0, 0, 0, 0),
        ("I do not know.", 0, 0, 1, 1),
        ("", 0, 0, 1, 1),
    ],
)
def test_solutions_are_read_strictly_and_flexibly(text, strict, flexible, unmarked, invalid):
    found = scores("gsm8k", PROBLEM, text)
    assert [found[name] for name in ("strict_match", "flexible_extract", "unmarked", "invalid")] == [
        strict,
        flexible,
        unmarked,
        invalid,
    ]
    assert (found["prediction"] is None) == bool(invalid)


@needs_data
def test_the_file_of_examples_is_an_input_of_the_run(tmp_path):
    from camelid.commands.eval_tasks import inputs

    task, file = TASKS["gsm8k"], tmp_path / "explanations/gsm8k_train.tsv"
    for path in (file, tmp_path / "benchmarks/gsm8k_test.jsonl"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert inputs(task, None, tmp_path, tmp_path, [])["examples"] == file
    assert "examples" not in inputs(task, 0, tmp_path, tmp_path, [])


@needs_data
def test_gsm8k_shows_the_first_eight_of_the_training_file():
    task = TASKS["gsm8k"]
    questions, shots = chosen_questions(task, task.path(DATA), shots=None, limit=2, header=None, seed=0)
    (request,) = asked(questions[0], shots)
    training = (DATA / "explanations/gsm8k_train.tsv").read_text().split("\n")[:9]
    places = [request.prompt.find(row.split("\t")[0]) for row in training]
    assert places[:8] == sorted(places[:8])
    assert min(places[:8]) > 0
    assert places[8] == -1  # the ninth is not shown
    assert request.prompt.count("\n#### ") == 8
    assert "<<" not in request.prompt  # no calculator's marks
    assert shots.source == "the first problems of explanations/gsm8k_train.tsv"


@needs_data
def test_the_right_solutions_of_the_real_files_score_full_marks():
    """What stands in an example is what a model is expected to write: every one must be found right."""
    for name in ("gsm8k", "svamp", "nq_open", "triviaqa", "bbh"):
        task = TASKS[name]
        for question in task.questions(task.path(DATA)):
            (request,) = question.requests
            written = question.example.removeprefix(request.prompt)
            assert written != question.example
            assert not any(stop in written for stop in request.stop), question.id
            found = task.score(question, [Written(written, True, 1)])
            right = [value for key, value in found.items() if key not in ("prediction", "invalid", "unmarked")]
            assert (set(right), found["invalid"]) == ({1.0}, 0.0), (question.id, found)


def test_an_equation_becomes_a_solution():
    assert svamp.equation("( ( 16.0 - 11.0 ) + 12.5 )", "17.5") == "( 16 - 11 ) + 12.5 = 17.5"


# --- short answers ---


@pytest.mark.parametrize(
    ("text", "right", "invalid"),
    [(" Ann.", 1, 0), (" nobody", 1, 0), (" Ann Lee", 0, 0), (" ", 0, 1), (" The!", 0, 1)],
)
def test_short_answers_match_any_right_one(text, right, invalid):
    found = scores("nq_open", QUESTIONS[0], text)
    assert (found["exact_match"], found["invalid"]) == (right, invalid)


def test_the_first_answer_stands_in_the_example_and_false_promise_shows_three(tmp_path):
    path = write_lines(tmp_path, "nq_open/NQ-open.dev.jsonl", QUESTIONS)
    questions, shots = chosen_questions(TASKS["nq_open"], path, shots=3, limit=0, header=None, seed=0)
    prompt = asked(questions[1], shots)[0].prompt
    assert "Question: who is ann?\nAnswer: The ann\n\n" in prompt
    assert prompt.endswith("Question: who is bo?\nAnswer:")
    assert prompt.count("Question:") == 4


def test_a_question_is_not_shown_its_twin(tmp_path):
    rows = [QUESTIONS[0], QUESTIONS[0], QUESTIONS[1]]
    path = write_lines(tmp_path, "nq_open/NQ-open.dev.jsonl", rows)
    questions, shots = chosen_questions(TASKS["nq_open"], path, shots=1, limit=0, header=None, seed=0)
    for question in questions[:2]:
        assert shots.prefix(question) == questions[2].example + "\n\n"


# --- BBH ---


def bbh_row(task: str, number: int, text: str, target: str):
    return {"task": task, "number": number, "input": text, "target": target}


def test_an_answer_of_bbh_is_one_of_the_options_where_there_are_some():
    row = bbh_row("dates", 1, "When?\nOptions:\n(A) today\n(B) never", "(B)")
    assert scores("bbh", row, " (B).") == {"prediction": "(B)", "exact_match": 1.0, "invalid": 0.0}
    assert scores("bbh", row, " (A)") == {"prediction": "(A)", "exact_match": 0.0, "invalid": 0.0}
    for nonsense in (" never", " (C)", "", " (b)"):
        assert scores("bbh", row, nonsense) == {"prediction": None, "exact_match": 0.0, "invalid": 1.0}
    listed = bbh_row("logic", 1, "Is it?\nOptions:\n- valid \n- invalid", "valid")
    assert scores("bbh", listed, " invalid")["invalid"] == 0
    assert scores("bbh", listed, " yes")["invalid"] == 1
    free = bbh_row("sorting", 1, "Sort: b a", "a b")
    assert scores("bbh", free, "  a   b\n")["exact_match"] == 1
    assert scores("bbh", free, "b a")["invalid"] == 0


@needs_data
def test_bbh_shows_three_other_items_of_the_same_task():
    task = TASKS["bbh"]
    path = task.path(DATA)
    questions = task.questions(path)
    shots = Shots(task, path, questions, 3, 0)
    assert len({q.group for q in questions}) == 27
    for question in [q for q in questions if q.id.split("/")[1] in ("1", "2", "99")]:
        own = [q.example for q in questions if q.group == question.group and q.id != question.id]
        assert shots.prefix(question) == "".join(example + "\n\n" for example in own[:3])
    assert "of the same task of BBH" in shots.source


def test_a_task_of_bbh_with_too_few_other_items_is_named(tmp_path):
    (tmp_path / "bbh").mkdir()
    rows = [{"input": f"{i}?", "target": "yes"} for i in range(3)]
    (tmp_path / "bbh/navigate.json").write_text(json.dumps({"examples": rows}))
    with pytest.raises(ValueError, match="bbh: fewer than 3 examples for navigate"):
        chosen_questions(TASKS["bbh"], tmp_path / "bbh", shots=3, limit=0, header=None, seed=0)


def test_every_task_of_bbh_counts_alike():
    # Task a: 1 of 1 right, task b: 0 of 3. By item 1/4, by task (1 + 0) / 2.
    found = [{"exact_match": x, "group": g} for x, g in ((1.0, "a"), (0.0, "b"), (0.0, "b"), (0.0, "b"))]
    assert bbh.exact_match_by_task(found).value == 0.5


# --- HumanEval ---


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        ("\n    return x / 2\n\ndef other(): 1/0\n", 1),  # cut at the next function
        ("    return x / 2\n```\n\nFor example:\n```python\n1/0\n```", 1),  # a body, then a closing fence
        ("Sure!\n```python\ndef half(x):\n    return x / 2\n```\nDone.", 1),
        ("```\nimport math\ndef half(x):\n    return math.ldexp(x, -1)\n```", 1),
        ("Here is the body:\n```python\n    return x / 2\n```", 1),
        ("```python\ndef half(x):\n    return x / 2", 1),  # cut before the fence closed
        ("\n    return x // 2", 0),
        ("", 0),
        ("\n    import sys; sys.exit(0)", 0),
    ],
)
def test_programs_are_made_of_bodies_and_of_fenced_blocks(answer, correct):
    found = scores("humaneval", FUNCTION, answer)
    assert (found["samples"], found["correct"]) == (1, correct), found
    assert found["invalid"] == float(answer == "")


def test_several_samples_give_pass_at_k():
    good, bad = "\n    return x / 2", "\n    return x"
    found = scores("humaneval", FUNCTION, *[good] * 3, *[bad] * 7)
    assert (found["samples"], found["correct"], len(found["failures"])) == (10, 3, 7)
    by_name = {m.name: m for m in TASKS["humaneval"].measures}
    assert by_name["pass@1"].estimate([found]).value == pytest.approx(0.3)
    assert by_name["pass@10"].estimate([found]).value == 1
    assert by_name["pass@100"].samples == 100


def test_prompts_of_code_end_before_the_line_break():
    (request,) = humaneval.ask(0, FUNCTION).requests
    assert request.prompt.endswith('"""')
    assert request.stop == ()


# --- end to end ---


def words(task: str, model: Path, folder: Path, *more: str) -> list[str]:
    common = ["--model", str(model), "--data", str(folder), "--out", str(folder / "out"), "--precision", "float32"]
    return ["eval", "task", task, *common, *more]


def test_written_answers_are_recorded_scored_and_not_asked_twice(tied_llama, tmp_path, capsys):
    write_lines(tmp_path, "nq_open/NQ-open.dev.jsonl", QUESTIONS)
    asked_for = words("nq_open", tied_llama, tmp_path, "--shots", "1", "--max-new-tokens", "6", "--json")
    assert main(asked_for) == 0
    (result,) = json.loads(capsys.readouterr().out)["tasks"]
    (folder,) = (tmp_path / "out").glob("task-nq_open-*")
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert len(records) == result["n"] == 4
    assert all(r["answers"][0]["num_tokens"] <= 6 and "\n" not in r["answers"][0]["text"] for r in records)
    assert result["exact_match"] == 25 * sum(r["scores"]["exact_match"] for r in records)
    assert result["invalid"] == 25 * sum(r["scores"]["invalid"] for r in records)
    assert result["rule"] == "answers that do not parse are counted as invalid and score 0"
    assert main(asked_for) == 0
    again = capsys.readouterr()
    assert "is done" in again.err
    assert json.loads(again.out)["tasks"] == [result]


def test_code_is_run_only_where_it_is_allowed(tied_llama, tmp_path, capsys):
    write_lines(tmp_path, "humaneval.jsonl.gz", [FUNCTION])
    assert main(words("humaneval", tied_llama, tmp_path)) == 1
    assert "runs code that the model wrote" in capsys.readouterr().err
    more = ["--allow-code", "--max-new-tokens", "4", "--samples", "10", "--temperature", "1", "--json"]
    assert main(words("humaneval", tied_llama, tmp_path, *more)) == 0
    (result,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (result["n"], result["pass@1"], result["pass@10"]) == (1, 0, 0)
    assert "pass@100" not in result
    (folder,) = (tmp_path / "out").glob("task-humaneval-*")
    texts = [a["text"] for a in json.loads((folder / "records.jsonl").read_text())["answers"]]
    assert len(texts) == 10
    assert len(set(texts)) > 1  # each sample has a stream of its own


def test_writing_ends_at_a_stop_and_is_what_cutting_afterwards_gives(tied_llama):
    from camelid.models.answering import Answerer
    from camelid.models.model_settings import ModelSettings
    from camelid.models.policy import Policy

    answerer = Answerer(Policy.load(tied_llama, ModelSettings(precision="float32")))
    prompts = ["What is the capital", "Name two colours", "Tell me more"]
    whole = answerer.generate([Generate(p, (), 24) for p in prompts])
    stops = [w.text[5:7] for w in whole]
    cut = answerer.generate([Generate(p, (stop, "never there"), 24) for p, stop in zip(prompts, stops, strict=True)])
    for one, full, stop in zip(cut, whole, stops, strict=True):
        assert one.text == full.text[: full.text.index(stop)]
        assert one.finished
        assert one.num_tokens < 24


def test_the_cache_is_bounded_whatever_the_prompts():
    assert rows_at_once(10, 20) == MOST_ROWS
    assert rows_at_once(1500, 256) == CACHE_TOKENS // 1756 == 18
    assert rows_at_once(10**6, 1) == 1


def test_only_what_is_written_is_drawn_several_times(tmp_path):
    path = write_lines(tmp_path, "nq_open/NQ-open.dev.jsonl", QUESTIONS)
    questions, shots = chosen_questions(TASKS["nq_open"], path, shots=0, limit=0, header=None, seed=0)
    drawn = asked(questions[0], shots, max_new_tokens=3, samples=2)
    assert drawn == [questions[0].requests[0]._replace(max_new_tokens=3)] * 2
    choice = TASKS["arc_easy"].ask(0, {"query": "Q", "choices": ["a", "b"], "gold": 0})
    assert asked(choice, shots, samples=1) == [Likelihood("Q\nAnswer:", " a"), Likelihood("Q\nAnswer:", " b")]


# --- bad input ---


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        ("nq_open", ["--samples", "2"], "2 samples without a temperature would all be the same"),
        ("nq_open", ["--samples", "2", "--temperature", "1"], "scored by one answer to each question"),
        ("nq_open", ["--max-new-tokens", "0"], "max_new_tokens"),
        ("nq_open", ["--shots", "4"], "lower --shots"),
        ("gsm8k", [], "gsm8k_train.tsv, from which the examples come; add it, or ask with --shots 0"),
    ],
)
def test_wrong_words_are_one_line(task, more, message, tied_llama, tmp_path, capsys):
    write_lines(tmp_path, "nq_open/NQ-open.dev.jsonl", QUESTIONS)
    write_lines(tmp_path, "gsm8k_test.jsonl", [PROBLEM])
    assert main(words(task, tied_llama, tmp_path, *more)) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("gsm8k", {"question": "a", "answer": "5"}, "does not end with '#### number'"),
        ("gsm8k", {"question": "a", "answer": "x\n#### many"}, "the answer 'many' is no number"),
        ("gsm8k", {"question": "a", "answer": "x\n#### 5 eggs"}, "the answer '5 eggs' is no number"),
        ("nq_open", {"question": "a", "answer": []}, "item 0: no answers"),
        ("nq_open", {"question": "a"}, "no answer; the row has question"),
    ],
)
def test_a_bad_row_is_an_error_that_says_which(task, row, message, tmp_path):
    path = write_lines(tmp_path, "file.jsonl", [row])
    with pytest.raises(ValueError, match=message):
        TASKS[task].questions(path)


def test_files_that_are_not_what_they_seem(tmp_path):
    broken = tmp_path / "humaneval.jsonl.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(ValueError, match=r"humaneval\.jsonl\.gz cannot be unpacked \(Not a gzipped file"):
        TASKS["humaneval"].questions(broken)
    (tmp_path / "bbh").mkdir()
    (tmp_path / "bbh/navigate.json").write_text('["a"]')
    with pytest.raises(ValueError, match=r"navigate\.json: not"):
        TASKS["bbh"].questions(tmp_path / "bbh")
    (tmp_path / "bbh/navigate.json").write_text('{"examples": [{"input": "a"}]}')
    with pytest.raises(ValueError, match="example 1: no target; the row has input"):
        TASKS["bbh"].questions(tmp_path / "bbh")


def test_a_killed_run_goes_on_after_its_last_whole_chunk_with_the_same_draws(tied_llama, tmp_path):
    from camelid.evaluate.tasks.stage import TaskSettings, chunk_size, evaluate_task
    from camelid.models.model_settings import ModelSettings
    from camelid.runs import Run

    path = write_lines(tmp_path, "nq_open/NQ-open.dev.jsonl", QUESTIONS)
    exact = ModelSettings(precision="float32")
    s = TaskSettings(task="nq_open", shots=0, max_new_tokens=4, temperature=1.0, questions_a_chunk=2, model=exact)
    run = Run(tmp_path / "run-1", s, {"model": tied_llama, "data": path}, None)
    run.path.mkdir()
    evaluate_task(run)
    whole = (run.path / "records.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    (run.path / "records.jsonl").write_text("".join(lines[:3]) + lines[3][:5])
    evaluate_task(run)
    assert (run.path / "records.jsonl").read_text() == whole
    assert chunk_size(TaskSettings(), TASKS["nq_open"].questions(path)) == 128


def test_a_plan_counts_written_answers_as_long_as_they_may_be(tied_llama, tmp_path):
    from types import SimpleNamespace

    from camelid.costs import Cost
    from camelid.estimates_evaluation import evaluate_task
    from camelid.evaluate.tasks.stage import TaskSettings
    from camelid.models.devices import Device
    from camelid.models.shape import Shape

    path = write_lines(tmp_path, "nq_open/NQ-open.dev.jsonl", QUESTIONS)
    shape = Shape.read(tied_llama)
    reads = SimpleNamespace(shape=lambda name: shape, sources=lambda name: [path])
    cost = Cost(Device("here", True, 4, None, None))
    evaluate_task(TaskSettings(task="nq_open", shots=1, max_new_tokens=7), reads, cost)
    assert cost.sampled_tokens == 4 * 7
    assert cost.scored_tokens == 0
