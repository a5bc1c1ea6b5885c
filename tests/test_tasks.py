"""Benchmarks: what files hold (known answer 8), how they are asked, what comes of the answers, end to end."""

import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.tasks import hellaswag, mmlu, truthfulqa, winogrande
from camelid.evaluate.tasks.asking import asked, chosen_questions
from camelid.evaluate.tasks.inventory import count_data_sets
from camelid.evaluate.tasks.queries import choice_question
from camelid.evaluate.tasks.registry import TASKS, find_task
from camelid.evaluate.tasks.scorers import score_choices, score_truths
from camelid.evaluate.tasks.shots import Shots
from camelid.models.requests import Generate, Likelihood, Rolling, Scored
from real_data import DATA, needs_data

COUNTS = {
    "arc_easy": 2376,
    "arc_challenge": 1172,
    "hellaswag": 800,
    "mmlu": 14042,
    "truthfulqa": 817,
    "boolq": 3270,
    "piqa": 1838,
    "winogrande": 1267,
    "openbookqa": 500,
    "commonsense_qa": 1221,
    "copa": 100,
    "lambada": 5153,
    "documents": 300,
    "gsm8k": 1319,
    "svamp": 300,
    "nq_open": 3610,
    "triviaqa": 3000,
    "bbh": 6511,
    "humaneval": 164,
}
WRITTEN = ("gsm8k", "svamp", "nq_open", "triviaqa", "bbh", "humaneval")
BY_LIKELIHOOD = [name for name in TASKS if name not in WRITTEN]
ITEMS = [
    {"query": "Question: Is it wet?", "choices": ["yes", "no, it is dry"], "gold": 0},
    {"query": "Question: Is it hot?", "choices": ["no", "it is"], "gold": 1},
    {"query": "Question: Is it far?", "choices": ["near", "yes"], "gold": 1},
]


def write_items(folder: Path, rows=ITEMS, name: str = "arc_easy.jsonl") -> Path:
    path = folder / "benchmarks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def scored(*logprobs: float) -> list[Scored]:
    return [Scored(x, False, 1) for x in logprobs]


# --- known answer 8 ---


@needs_data
def test_every_task_reads_the_number_of_items_that_it_should():
    questions = {name: task.questions(task.path(DATA)) for name, task in TASKS.items()}
    assert {name: len(found) for name, found in questions.items()} == COUNTS
    for found in questions.values():
        assert len({q.id for q in found}) == len(found)
        assert all(q.example and q.requests for q in found)


@needs_data
def test_data_sets_hold_what_is_known_of_them():
    assert count_data_sets(DATA) == {
        "mmlu_test": 14042,
        "mmlu_dev": 285,
        "mmlu_subjects": 57,
        "bbh": 6511,
        "bbh_tasks": 27,
        "bbh_folder_but_not_bbh": ["chinese_remainder_theorem", "matrixshapes", "schedule_meeting"],
        "bold": 23679,
        "xstest_safe": 250,
        "xstest_unsafe": 200,
        "lima_train": 1029,
        "lima_test": 300,
    }


# --- ways of asking ---


def test_examples_are_drawn_from_the_other_items_of_the_file(tmp_path):
    task = TASKS["arc_easy"]
    path = task.path(write_items(tmp_path))
    questions, shots = chosen_questions(task, path, shots=2, limit=0, header="Answer.\n", seed=0)
    for question in questions:
        prefix = shots.prefix(question)
        others = [other.example for other in questions if other.id != question.id]
        assert question.example not in prefix
        assert sorted(prefix.removeprefix("Answer.\n").split("\n\n")) == sorted([*others, ""])
        assert asked(question, shots)[0].context == prefix + question.requests[0].context
    assert "other items of the same file" in shots.source
    assert Shots(task, path, questions, 2, 0).prefix(questions[0]) == shots.prefix(questions[0])
    with pytest.raises(ValueError, match="fewer than 3 examples"):
        Shots(task, path, questions, 3, 0)


def test_a_limit_draws_a_part_of_what_a_larger_one_draws(tmp_path):
    task = TASKS["arc_easy"]
    path = task.path(write_items(tmp_path))
    two, three = (
        {q.id for q in chosen_questions(task, path, shots=0, limit=n, header=None, seed=1)[0]} for n in (2, 3)
    )
    assert len(two) == 2
    assert two < three


@needs_data
def test_mmlu_shows_the_five_dev_items_of_the_subject():
    task = TASKS["mmlu"]
    questions, shots = chosen_questions(task, task.path(DATA), shots=None, limit=30, header=None, seed=0)
    dev = mmlu.read_split(task.path(DATA), "dev")
    for question in questions:
        own = [row["question"].strip() for row in dev if row["subject"].replace("_", " ") == question.group]
        prefix = shots.prefix(question)
        assert len(own) == prefix.count("\nAnswer: ") == 5
        places = [prefix.index(text) for text in own]
        assert places == sorted(places)
        assert prefix.startswith(f"Questions about {question.group}")
        assert [r.continuation for r in question.requests] == [" A", " B", " C", " D"]


def test_winogrande_compares_the_same_ending_after_both_readings():
    row = {"context_options": ["Ann saw Bo, so Ann", "Ann saw Bo, so Bo"], "continuation": "hid.", "gold": 1}
    question = winogrande.ask(0, row)
    assert question.requests == (Likelihood("Ann saw Bo, so Ann", " hid."), Likelihood("Ann saw Bo, so Bo", " hid."))
    assert question.example == "Ann saw Bo, so Bo hid."


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("How to bake [title] Mix. [step] Stir  it. ", "How to bake. Mix. Stir it."),
        ("nothing to do", "nothing to do"),
    ],
)
def test_hellaswag_loses_the_marks_of_wikihow(raw, cleaned):
    assert hellaswag.clean(raw) == cleaned
    assert hellaswag.capitalised("She sits. the dog e.g.s") == "She sits. The dog e.g.s"


def test_truthfulqa_puts_the_best_answer_first_and_closes_every_one():
    row = {
        "Question": "Is it so? ",
        "Best Answer": "No",
        "Correct Answers": "No; It is not.",
        "Incorrect Answers": "Yes;  It is ; ",
    }
    question = truthfulqa.ask(3, row)
    assert [r.continuation for r in question.requests] == [" No.", " It is not.", " Yes.", " It is."]
    assert question.gold == (0, [True, True, False, False])
    assert question.requests[0].context == "Q: Is it so?\nA:"
    # The other true answer is likelier than the best one: no matter for mc1, which compares with the false ones.
    scores = score_truths(question, scored(-2.0, -1.0, -3.0, -3.0))
    assert scores["mc1"] == 1.0
    assert score_truths(question, scored(-2.0, -1.0, -1.5, -3.0))["mc1"] == 0.0


def test_scores_of_choices_leave_the_joining_space_out_of_the_length():
    question = choice_question("0", "Q", [" ab", " abcd"], gold=1)
    # -6 / 2 < -8 / 4; with the space it would be -6 / 3 > -8 / 5, and the other choice.
    assert score_choices(question, scored(-3.1, -6.0)) == {"prediction": 0, "acc": 0.0, "acc_norm": 1.0}


def test_only_what_has_a_prompt_takes_examples():
    assert Generate("ask", ("\n",), 5).after("one\n") == Generate("one\nask", ("\n",), 5)
    assert Rolling("text").after("") == Rolling("text")
    with pytest.raises(ValueError, match="--shots 0"):
        Rolling("text").after("one\n")


# --- bad files ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "arc_easy.jsonl is empty; rows with query, choices, gold are wanted"),
        ("{", "line 1: no JSON"),
        ("[1]\n", "row 1: a JSON object with query, choices, gold is wanted, not int"),
        ('{"query": "a", "gold": 0}\n', "line 1: no choices; the row has query, gold"),
        ('{"query": "a", "choices": ["b"], "gold": 1}\n', "the right choice is 1, which is none of 0 to 0"),
        ('{"query": "a", "choices": ["b"], "gold": "A"}\n', "the right choice is 'A'"),
    ],
)
def test_a_bad_file_is_an_error_that_says_where(tmp_path, text, message):
    path = tmp_path / "arc_easy.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        TASKS["arc_easy"].questions(path)


def test_an_unknown_task_names_those_that_there_are():
    with pytest.raises(ValueError, match="no task 'arc'; there are: arc_easy, arc_challenge"):
        find_task("arc")


# --- end to end ---


def test_a_task_runs_leaves_records_and_is_done_the_second_time(tied_llama, tmp_path, capsys):
    data = write_items(tmp_path / "data")
    words = ["eval", "task", "arc_easy", "--model", str(tied_llama), "--data", str(data), "--precision", "float32"]
    words += ["--shots", "1", "--out", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    (result,) = json.loads(said.out)["tasks"]
    (folder,) = (tmp_path / "out").glob("task-arc_easy-*")
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert [r["gold"] for r in records] == [0, 1, 1]
    right = sum(r["scores"]["acc"] for r in records)
    assert result["acc"] == pytest.approx(100 * right / 3)
    assert result["acc_interval"][0] < result["acc_interval"][1]
    assert (result["n"], result["shots"], result["contamination"]) == (3, 1, None)
    for r in records:
        best = max(range(2), key=lambda i: r["answers"][i]["logprob"])
        assert r["scores"]["prediction"] == best
    assert main(words) == 0
    said = capsys.readouterr()
    assert "is done" in said.err
    assert json.loads(said.out)["tasks"] == [result]


def test_a_killed_task_goes_on_after_its_last_whole_chunk(tied_llama, tmp_path):
    from camelid.evaluate.tasks.stage import TaskSettings, evaluate_task
    from camelid.models.model_settings import ModelSettings
    from camelid.runs import Run

    data = write_items(tmp_path / "data", ITEMS * 2)
    s = TaskSettings(task="arc_easy", questions_a_chunk=2, model=ModelSettings(precision="float32"))
    run = Run(tmp_path / "run-1", s, {"model": tied_llama, "data": data / "benchmarks/arc_easy.jsonl"}, None)
    run.path.mkdir()
    evaluate_task(run)
    whole = (run.path / "records.jsonl").read_text().splitlines(keepends=True)
    marked = [whole[0].replace('"id": "0"', '"id": "kept"'), whole[1], whole[2], whole[3][:10]]
    (run.path / "records.jsonl").write_text("".join(marked))
    evaluate_task(run)
    again = (run.path / "records.jsonl").read_text().splitlines(keepends=True)
    assert again == [marked[0], *whole[1:]]  # the first chunk was not asked again, the others were


@pytest.fixture(scope="module")
def far_sighted_llama(tmp_path_factory) -> Path:
    """Its tokenizer hardly knows words, so real items are long."""
    from tiny import write_tiny_llama

    return write_tiny_llama(tmp_path_factory.mktemp("far"), max_position_embeddings=8192)


@needs_data
def test_real_items_give_what_single_rows_give(far_sighted_llama, capsys):
    """Known answer 13 on a tiny model; `camelid eval task NAME --model M --verify 20` is the same on any."""
    words = ["--model", str(far_sighted_llama), "--data", str(DATA), "--shots", "0", "--verify", "3", "--json"]
    assert main(["eval", "task", *BY_LIKELIHOOD, *words]) == 0
    found = json.loads(capsys.readouterr().out)["tasks"]
    assert [(f["task"], f["n"]) for f in found] == [(name, 3) for name in BY_LIKELIHOOD]
    assert max(f["largest_difference"] for f in found if f["task"] != "documents") < 1e-4
    assert max(f["largest_difference_a_token"] for f in found) < 1e-5


@needs_data
def test_real_items_with_examples_give_what_single_rows_give(far_sighted_llama, capsys):
    words = ["--model", str(far_sighted_llama), "--data", str(DATA), "--shots", "2", "--verify", "8", "--json"]
    assert main(["eval", "task", "arc_easy", "mmlu", *words]) == 0
    for found in json.loads(capsys.readouterr().out)["tasks"]:
        assert found["longest_row_tokens"] > 300
        assert found["largest_difference"] < 1e-4


def test_a_question_longer_than_the_context_is_refused(tied_llama, tmp_path, capsys):
    data = write_items(tmp_path, [{**ITEMS[0], "query": "Is it? " * 100}])
    words = ["--model", str(tied_llama), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main(["eval", "task", "arc_easy", *words]) == 1
    assert "ask with fewer shots; nothing is cut off in silence" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch", "--data", "."], "no task 'nosuch'"),
        (["arc_easy", "--data", ".", "--shots", "-1"], "shots: Input should be greater than or equal to 0"),
        (["arc_easy", "--data", "."], "--data names the folder that holds benchmarks/arc_easy.jsonl"),
        (["arc_easy", "--data", "nowhere"], "no folder nowhere"),
    ],
)
def test_wrong_words_are_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["eval", "task", *words, "--model", "m"]) == 1
    assert message in capsys.readouterr().err


def test_without_data_the_command_says_how_to_name_it(monkeypatch, capsys):
    monkeypatch.delenv("CAMELID_DATA", raising=False)
    assert main(["eval", "tasks"]) == 1
    assert "give --data FOLDER, or set CAMELID_DATA" in capsys.readouterr().err


def test_the_list_of_tasks_counts_what_is_there(tmp_path, capsys):
    assert main(["eval", "tasks", "--data", str(write_items(tmp_path)), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    numbers = {row["task"]: row["n"] for row in listed["tasks"]}
    assert numbers["arc_easy"] == 3
    assert numbers["mmlu"] is None
    assert listed["data_sets"] == {}


# --- what stood in the training data ---


def test_with_every_score_the_questions_that_stood_in_the_training_data(tied_llama, tmp_path, capsys):
    data = tmp_path / "data" / "benchmarks"
    data.mkdir(parents=True)
    questions = [
        "Question: Why does a pond that lies in the shade stay cool for longer?",
        "Question: Which of the rivers that we know flows north past the old mill?",
        "Question: How would a farmer tell that the soil below his field is wet?",
    ]
    rows = [{"query": q, "choices": ["the long one", "the short one"], "gold": 0} for q in questions]
    (data / "arc_easy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = tmp_path / "train.jsonl"
    # The whole second item, with its right answer, inside a longer text.
    train.write_text(json.dumps({"text": f"Read this. {questions[1]}\nAnswer: the long one. And more."}) + "\n")
    words = ["eval", "task", "arc_easy", "--model", str(tied_llama), "--data", str(data.parent), "--limit", "0"]
    words += ["--precision", "float32", "--out", str(tmp_path / "out"), "--train", str(train), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)["tasks"][0]["contamination"]
    assert (found["dirty_items"], found["training_rows"], found["too_short"]) == (["1"], 1, 0)
    assert found["dirty"]["value"] == pytest.approx(100 / 3)
    assert found["acc_norm_without_dirty"]["n"] == 2


def test_a_training_file_without_text_stops_before_anything_is_asked(tied_llama, tmp_path, capsys):
    data = write_items(tmp_path / "data")
    (tmp_path / "empty.jsonl").write_text('{"id": "x"}\n')
    words = ["eval", "task", "arc_easy", "--model", str(tied_llama), "--data", str(data), "--shots", "1"]
    assert main([*words, "--out", str(tmp_path / "out"), "--train", str(tmp_path / "empty.jsonl")]) == 1
    assert "holds no text to look for benchmark items in" in capsys.readouterr().err
