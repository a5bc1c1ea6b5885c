"""Files of answers in every known form, side by side; what does not fit is named with its place."""

import json

import pytest

from camelid.evaluate.answer_cases import read_answer_file, read_cases
from camelid.evaluate.answer_files import model_of, read_answers
from camelid.evaluate.questions import read_questions, read_references
from camelid.judges.ways import WAYS
from real_data import DATA, needs_data


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ours(text, answer, **more):
    return {"prompt_id": text[:3], "prompt": [{"role": "user", "content": text}], "text": answer, **more}


MESSAGES = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "so"}]


@pytest.mark.parametrize(
    "row",
    [
        ours("Why? \n", "so", source="s", tags=["helpful"], model="m"),
        {"instruction": "Why?", "output": "so", "generator": "m", "dataset": "s", "tags": "helpful"},
        {"prompt": "Why?", "completion": "so", "model": "m", "source": "s", "tags": ["helpful"], "text": "Why? so"},
        {"messages": MESSAGES, "model": "m", "source": "s", "tags": ["helpful"]},
        {"question": "Why?", "answer": "so", "model": "m", "source": "s", "tags": ["helpful"], "question_id": 3},
    ],
)
def test_the_same_answer_in_every_form(tmp_path, row):
    path = lines(tmp_path / "a.jsonl", row)
    (answer,) = read_answers(path)
    assert (answer.key, answer.text, answer.model, answer.source, answer.tags) == ("Why?", "so", "m", "s", ("helpful",))
    assert [m.role for m in answer.asked] == ["user"]
    assert (answer.place, answer.row, model_of(path, [answer])) == (f"{path}, line 1", row, "m")


def test_answers_to_numbers_have_no_prompt(tmp_path):
    path = lines(tmp_path / "answer_x.jsonl", {"question_id": 3, "text": "so"}, {"question_id": 4, "text": "no"})
    first, _ = answers = read_answers(path)
    assert (first.key, first.prompt, model_of(path, answers)) == ("question 3", None, "x")
    with pytest.raises(ValueError, match="line 1: no prompt, only the number of a question"):
        first.asked  # noqa: B018
    with pytest.raises(ValueError, match="line 1: no answer: the last of its messages is not the assistant's"):
        read_answers(lines(tmp_path / "a.jsonl", {"messages": MESSAGES[:1]}))


def test_our_answers_and_alpacaevals_meet_by_their_prompt(tmp_path):
    first = lines(tmp_path / "answers.jsonl", ours("Why?", "so", tags=["helpful"], finished=True), ours("How?", "thus"))
    second = tmp_path / "out.json"
    rows = [{"instruction": q, "output": f"{q}!", "generator": "m-2", "dataset": "koala"} for q in ("How?", "Why?")]
    second.write_text(json.dumps(rows))
    found = read_cases(WAYS["lima"], {"first": first, "second": second})
    assert found.models == (tmp_path.name, "m-2")  # a stage's answers.jsonl goes by its folder's name
    assert [(c.id, c.questions, c.answers, c.category) for c in found.cases] == [
        ("Why", ("Why?",), (("so",), ("Why?!",)), "helpful"),
        ("How", ("How?",), (("thus",), ("How?!",)), ""),
    ]
    assert len(read_cases(WAYS["lima"], {"first": first, "second": second}, number=1).cases) == 1
    assert read_cases(WAYS["lima"], {"first": first, "second": first}).models[0].endswith(" (1)")


def test_answers_with_their_questions_meet_those_without(tmp_path):
    inputs = {
        "first": lines(tmp_path / "a.jsonl", ours("Why?", "so")),
        "second": lines(tmp_path / "b.jsonl", {"question_id": 3, "text": "thus"}),
        "questions": lines(tmp_path / "q.jsonl", {"question_id": 3, "text": "Why?"}),
    }
    (case,) = read_cases(WAYS["lima"], inputs).cases
    assert (case.questions, case.answers) == (("Why?",), (("so",), ("thus",)))


def test_a_conversation_is_shown_as_one(tmp_path):
    turns = [{"role": r, "content": c} for r, c in (("system", "S"), ("user", "U"), ("assistant", "A"), ("user", "V"))]
    file = lines(tmp_path / "a.jsonl", {"prompt": turns, "text": "x"})
    (case,) = read_cases(WAYS["lima-single"], {"first": file}).cases
    assert case.questions == ("System: S\n\nUser: U\n\nAssistant: A\n\nUser: V",)


TWO_TURNS = {"question_id": 9, "category": "math", "turns": ["q1", "q2"]}
CHOICES = {"question_id": 9, "choices": [{"index": 0, "turns": ["a1", "a2"]}], "model_id": "m-1"}


def test_two_turns_are_two_cases_with_the_correct_answers_so_far(tmp_path):
    inputs = {
        "first": lines(tmp_path / "a.jsonl", CHOICES),
        "questions": lines(tmp_path / "q.jsonl", TWO_TURNS, {"question_id": 8, "text": "not answered"}),
        "references": lines(tmp_path / "r.jsonl", {"question_id": 9, "choices": [{"turns": ["r1", "r2"]}]}),
    }
    found = read_cases(WAYS["mt-bench-single"], inputs)
    assert found.models == ("m-1",)
    assert [(c.id, c.question_id, c.questions, c.answers, c.reference) for c in found.cases] == [
        ("9/1", 9, ("q1",), (("a1",),), ("r1",)),
        ("9/2", 9, ("q1", "q2"), (("a1", "a2"),), ("r1", "r2")),
    ]
    with pytest.raises(ValueError, match="question 9 has 2 turns; way 'lima-single' judges one turn; take --way mt-b"):
        read_cases(WAYS["lima-single"], {k: v for k, v in inputs.items() if k != "references"})
    with pytest.raises(ValueError, match="way 'lima-single' shows no correct answers"):
        read_cases(WAYS["lima-single"], inputs)
    lines(tmp_path / "r.jsonl", {"question_id": 9, "text": "r1"})
    with pytest.raises(ValueError, match="question 9 has 2 turns, its reference answer 1"):
        read_cases(WAYS["mt-bench-single"], inputs)
    lines(tmp_path / "r.jsonl", {"question_id": 7, "text": "r1"})
    with pytest.raises(ValueError, match="has no answer to any question in"):
        read_cases(WAYS["mt-bench-single"], inputs)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "is empty"),
        ([["a"]], "a.jsonl, row 1: a JSON object with a prompt and an answer is wanted, not str"),
        ([3], "line 1: a JSON object with a prompt and an answer is wanted, not int"),
        ([{"foo": 1, "bar": 2}], r"line 1: no prompt \(its fields are foo, bar\); known rows have prompt"),
        ([ours("Why?", "a"), ours("Why?", "b")], "line 2: question Why is answered twice"),
        ([ours("Why?", "a"), ours("Why not?", "b")], "line 2: question Why is answered twice"),  # one id for two
        ([ours("Why?", None)], "line 1: no answer: a text is wanted, not NoneType"),
        ([{"prompt": [{"role": "user"}], "text": "a"}], "line 1: no prompt: .*content: Field required"),
        ([{"prompt": 7, "text": "a"}], "line 1: no prompt: text or messages"),
        ([{"prompt": [], "text": "a"}], "line 1: no prompt: it has no turns"),
        ([{"instruction": "Why?", "output": 7}], "line 1: no answer: a text is wanted, not int"),
        ([{"question_id": 1, "text": "a"}], "give their file with --questions FILE"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(tmp_path, rows, problem):
    with pytest.raises(ValueError, match=problem):
        read_answer_file(lines(tmp_path / "a.jsonl", *rows))


def test_wrong_questions_and_references(tmp_path):
    questions = read_questions(lines(tmp_path / "q.jsonl", TWO_TURNS))
    for row, problem in [
        ({"question_id": 5, "text": "a"}, "question 5 is not in the file of questions"),
        ({"question_id": [9], "text": "a"}, r"line 1: question \[9\] is not in the file of questions"),
        ({"question_id": 9, "text": "a"}, "question 9 has 2 turns, its answer 1"),
        ({"question_id": 9, "choices": []}, "line 1: no answer: choices must be a list"),
    ]:
        with pytest.raises(ValueError, match=problem):
            read_answer_file(lines(tmp_path / "a.jsonl", row), questions)
    inputs = {"first": lines(tmp_path / "a.jsonl", ours("Why?", "a")), "questions": tmp_path / "q.jsonl"}
    with pytest.raises(ValueError, match="hold their questions themselves; leave --questions out"):
        read_cases(WAYS["lima-single"], inputs)
    with pytest.raises(ValueError, match="line 1: not a question"):
        read_questions(lines(tmp_path / "q.jsonl", {"question_id": 1, "turns": "no list"}))
    with pytest.raises(ValueError, match="line 1: not a question"):
        read_questions(lines(tmp_path / "q.jsonl", {"question_id": [1], "text": "Why?"}))
    with pytest.raises(ValueError, match="line 2: question 9 comes twice"):
        read_questions(lines(tmp_path / "q.jsonl", TWO_TURNS, TWO_TURNS))
    with pytest.raises(ValueError, match="line 1: not a reference answer"):
        read_references(lines(tmp_path / "r.jsonl", {"question_id": 1}))


def test_answers_to_different_questions_are_an_error(tmp_path):
    first = lines(tmp_path / "a.jsonl", ours("Why?", "so"), ours("How?", "thus"))
    second = lines(tmp_path / "b.jsonl", ours("Why?", "so"))
    for inputs in ({"first": first, "second": second}, {"first": second, "second": first}):
        with pytest.raises(ValueError, match=r"b.jsonl lacks an answer to 1 of the 2 questions in .*a.jsonl.*'How\?'"):
            read_cases(WAYS["lima"], inputs)
    with pytest.raises(ValueError, match="way 'lima' judges two files of answers, not 1"):
        read_cases(WAYS["lima"], {"first": first})
    with pytest.raises(ValueError, match="way 'lima-single' judges one file of answers, not 2"):
        read_cases(WAYS["lima-single"], {"first": first, "second": second})


@needs_data
def test_the_real_files():
    teachers = {name: DATA / "teachers" / f"{name}.json" for name in ("alpaca-7b", "gpt4")}
    found = read_cases(WAYS["alpaca-eval"], {"first": teachers["alpaca-7b"], "second": teachers["gpt4"]})
    assert (found.models, len(found.cases)) == (("alpaca-7b", "gpt4"), 805)
    vicuna = DATA / "vicuna_eval"
    questions = read_questions(vicuna / "question.jsonl")
    for path in sorted((vicuna / "answer").glob("*.jsonl")):
        assert len(read_answer_file(path, questions).rows) == 80
    assert read_answer_file(vicuna / "answer" / "answer_alpaca-13b.jsonl", questions).model.startswith("alpaca-13b")
    mt_bench = read_questions(DATA / "prompts" / "mt_bench_question.jsonl")
    references = read_references(DATA / "prompts" / "mt_bench_reference_answer_gpt-4.jsonl")
    wanting = {i for i, q in mt_bench.items() if q.category in WAYS["mt-bench"].wants_reference}
    assert (len(mt_bench), len(references), wanting) == (80, 30, set(references))
