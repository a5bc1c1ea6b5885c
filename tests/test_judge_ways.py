"""Ways of asking: what each shows, what each reads, and the originals' questions loaded from their files."""

import json
import math

import pytest

from camelid.judges.case import Case, Judged, Said
from camelid.judges.templates import fill
from camelid.judges.ways import WAYS, way_named
from real_data import DATA, needs_data

A, B, TIE = Said(1.0), Said(0.0), Said(0.5)


def case(*answers, category="", questions=("Why?",), reference=()):
    return Case("1", 1, category, questions, answers, reference)


def read(way, reply, tokens=None):
    return WAYS[way].said(reply, tokens, "given")


@pytest.mark.parametrize(
    ("way", "reply", "said"),
    [
        ("lima", "A", A),
        ("lima", "Both are fine.\n\n**B**.\n", B),
        ("lima", "Neither", TIE),
        ("lima", "Answer A is significantly better.", A),
        ("lima", "neither is significantly better", TIE),
        ("lima", "A\nB", None),
        ("lima", "A is a bit better", None),
        ("lima-single", "Good.\n\n5\n5", Said(scores=(5.0,))),
        ("lima-single", "7", None),
        ("lima-single", "0", None),
        ("lima-single", "-1", None),
        ("lima-single", "4\n5", None),
        ("lima-single", "4.5", None),
        ("vicuna", "8 9\nBecause", Said(0.0, (8, 9))),
        ("vicuna", "9, 8.5", Said(1.0, (9, 8.5))),
        ("vicuna", "<think>1 1</think>\n7 7", Said(0.5, (7, 7))),
        ("vicuna", "I solve it: 3 4\n\n(10, 4)", Said(1.0, (10, 4))),
        ("vicuna", "From (2, -2) to (10, 4) it is 10.\n\nThe output tuple is (1, 7).", Said(0.0, (1, 7))),
        ("vicuna", "The endpoints are (2, 2) and (10, 4).", None),
        ("vicuna", "(10, 4)\n(9, 4)", None),
        ("vicuna", "10 4\n(4, 10)", None),
        ("vicuna", "10 4\n(10, 4)", Said(1.0, (10, 4))),
        ("vicuna", "11 3", None),
        ("vicuna", "(11, 3)", None),
        ("vicuna", "-1 -1", None),
        ("vicuna", "-1", None),
        ("vicuna", "8/10 9/10", None),
        ("mt-bench", "So my verdict is [[A]]", A),
        ("mt-bench", "[[C]]", TIE),
        ("mt-bench", "[[A]] or rather [[B]]", None),
        ("mt-bench", "[A]", None),
        ("mt-bench", "[[D]]", None),
        ("mt-bench-single", "Rating: [[5]]", Said(scores=(5.0,))),
        ("mt-bench-single", "Rating: [[7.5]].", Said(scores=(7.5,))),
        ("mt-bench-single", "[[11]]", None),
        ("mt-bench-single", "[[-1]]", None),
        ("mt-bench-single", "[[rating]]", None),
        ("mt-bench-single", "[[5]] [[6]]", None),
        ("alpaca-eval", "m", A),
        ("alpaca-eval", '"M"\n', B),
        ("alpaca-eval", "m M", None),
        ("alpaca-eval", "m\nM", None),
        ("alpaca-eval", "Model m", None),
        ("alpaca-eval-weighted", "M", B),  # the server sent no log-probabilities
    ],
)
def test_what_a_reply_says(way, reply, said):
    assert read(way, reply) == said
    assert WAYS[way].said(reply, None, "swapped") == (said and said.reversed())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reply", ["", "\n", "blah", "I cannot judge that.", "{}", "🦙", "</think>"])
def test_nonsense_is_no_verdict(way, reply):
    assert read(way, reply) is None


def test_log_probabilities_are_graded():
    tokens = {"m": math.log(0.6), "M": math.log(0.2), "The": math.log(0.1)}
    assert read("alpaca-eval-weighted", "The", tokens).preference == pytest.approx(0.75)
    assert WAYS["alpaca-eval-weighted"].said("m", tokens, "swapped").preference == pytest.approx(0.25)
    assert read("alpaca-eval-weighted", "m", {"M": -0.1}).preference == 0
    assert read("alpaca-eval-weighted", "The", {"The": -0.1}) is None
    assert read("alpaca-eval-weighted", "m", {}) is None


@pytest.mark.parametrize("name", WAYS)
def test_all_that_is_judged_is_shown_in_its_order_and_fills_no_placeholder(name):
    way = WAYS[name]
    answers = [("first {question}",), ("second {answer_1} {output_1}",)][: way.num_answers]
    given = way.messages(case(*answers), "given")[-1].content
    assert "\nWhy?\n" in given and all(answer in given for (answer,) in answers)
    if way.num_answers == 2:
        swapped = way.messages(case(*answers), "swapped")[-1].content
        assert given.index("first {") < given.index("second {") and swapped.index("second {") < swapped.index("first {")
        assert sorted(given.split()) == sorted(swapped.split())


def test_vicuna_asks_three_kinds_of_question():
    kinds = ("coding", "math", "fermi", "generic")
    texts = {kind: WAYS["vicuna"].messages(case(("a",), ("b",), category=kind), "given")[1].content for kind in kinds}
    assert texts["fermi"] == texts["generic"]
    assert len(set(texts.values())) == 3


@pytest.mark.parametrize(("name", "num_answers"), [("mt-bench", 2), ("mt-bench-single", 1)])
def test_mt_bench_shows_two_turns_and_correct_answers(name, num_answers):
    answers = (("a1", "a2"), ("b1", "b2"))[:num_answers]
    two = case(*answers, questions=("q1", "q2"), reference=("r1", "r2"))
    words = WAYS[name].messages(two, "given")[-1].content.split("\n")
    assert {"q1", "q2", "r1", "r2", *(text for texts in answers for text in texts)} <= {*words}
    one = case(*((texts[0],) for texts in answers), questions=("q1",), reference=("r1",))
    words = WAYS[name].messages(one, "given")[-1].content.split("\n")
    assert "r1" in words and {"q2", "r2", "a2"}.isdisjoint(words)


def test_both_replies_make_one_judgement():
    vicuna = Judged(case(("a",), ("b",)), (Said(1.0, (9, 8)), Said(1.0, (7, 6))))
    assert (vicuna.preference, vicuna.scores) == (1.0, (8.0, 7.0))
    half = Judged(case(("a",), ("b",)), (Said(1.0, (9, 8)), None))
    assert (half.valid, half.preference, half.scores) == (False, None, None)
    assert Judged(case(("a",)), (Said(scores=(4.0,)),)).scores == (4.0,)


def test_unknown_ways_are_named_with_those_that_there_are():
    with pytest.raises(ValueError, match="no way of asking 'mtbench'; there are lima, lima-single, vicuna, mt-bench,"):
        way_named("mtbench")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{question} {answer_a}", r"lacks \{answer_b\}; it needs \{answer_a\}, \{answer_b\}, \{question\}"),
        ("{question} {answer_a} {answer_b} {answer_c}", r"has the unknown \{answer_c\}"),
        ("{answer_a} {answer_b} {qestion}", r"lacks \{question\} and has the unknown \{qestion\}"),
        ("  \n", "is empty"),
    ],
)
def test_placeholders_are_checked(tmp_path, text, problem):
    (tmp_path / "q.txt").write_text(text)
    with pytest.raises(ValueError, match=problem):
        WAYS["lima"].with_prompt(tmp_path / "q.txt")


def test_a_question_of_ones_own_with_a_system_part_and_other_braces(tmp_path):
    file = tmp_path / "q.txt"
    file.write_text(
        "<|im_start|>system\nBe fair.\n<|im_end|>\n<|im_start|>user\n"
        '{"i": "{instruction}"} {\n{output_1}|{output_2}\n<|im_end|>'
    )
    system, user = WAYS["alpaca-eval"].with_prompt(file).messages(case(("x {output_2}",), ("y",)), "swapped")
    assert (system.content, user.content) == ("Be fair.", '{"i": "Why?"} {\ny|x {output_2}')


def test_files_that_are_no_questions(tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text("not json")
    with pytest.raises(ValueError, match="line 1: no JSON"):
        WAYS["vicuna"].with_prompt(file)
    file.write_text('{"text": "?"}\n')
    with pytest.raises(ValueError, match=r"line 1: not a question of FastChat's"):
        WAYS["vicuna"].with_prompt(file)
    row = {"type": "single", "prompt_template": "{question} {answer}"}
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match="has no pairwise question"):
        WAYS["mt-bench"].with_prompt(file)
    file.write_text((json.dumps(row) + "\n") * 2)
    with pytest.raises(ValueError, match="line 2: a second question for general"):
        WAYS["mt-bench-single"].with_prompt(file)
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match="no question of kind 'general two turns' for 1; the prompt has general"):
        WAYS["mt-bench-single"].with_prompt(file).messages(case(("a", "b"), questions=("q", "r")), "given")


def test_fastchats_questions_are_known_by_their_placeholders(tmp_path):
    # As in judge_prompts.jsonl, where the category of one of the four pairwise rows is not what its name says.
    names = [
        "{question} {answer}",
        "{question} {ref_answer_1} {answer}",
        "{question_1} {answer_1} {question_2} {answer_2}",
    ]
    rows = [{"type": "single", "system_prompt": "S", "prompt_template": text, "category": "general"} for text in names]
    file = tmp_path / "p.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert set(WAYS["mt-bench-single"].with_prompt(file).templates) == {"general", "reference", "general two turns"}


@needs_data
def test_vicunas_own_questions_load():
    way = WAYS["vicuna"].with_prompt(DATA / "vicuna_eval" / "prompt.jsonl")
    assert set(way.templates) == {"general", "coding", "math"}
    system, user = way.messages(case(("one",), ("two",), category="math"), "swapped")
    assert system.content.startswith("You are a helpful and precise assistant")
    assert "[The Start of Assistant 1's Answer]\ntwo\n" in user.content and "Python tuple" in user.content
    assert "{" not in user.content
    with pytest.raises(ValueError, match=r"prompt.jsonl, line 1: the question lacks \{answer_a\}, \{answer_b\}"):
        WAYS["lima"].with_prompt(DATA / "vicuna_eval" / "prompt.jsonl")


@needs_data
@pytest.mark.parametrize("name", ["alpaca-7b", "vicuna-7b", "falcon-7b-instruct", "text_davinci_001"])
def test_recorded_log_probabilities_give_the_recorded_preferences(name):
    """AlpacaEval 2 keeps what GPT-4 sent; the preference is 2 - p, or 1 + p where the outputs were shown swapped."""
    rows = json.loads((DATA / "preferences" / "alpaca_eval_weighted" / f"{name}.json").read_text())
    checked = 0
    for row in rows:
        if row["raw_completion"] is None:
            continue
        (first,) = row["raw_completion"]["logprobs"]["content"]
        tokens = {item["token"]: item["logprob"] for item in first["top_logprobs"]}
        said = read("alpaca-eval-weighted", "", tokens)
        if said is None:
            assert row["preference"] is None
            continue
        assert min(abs(row["preference"] - x) for x in (2 - said.preference, 1 + said.preference)) < 1e-6
        checked += 1
    assert checked > 795


@needs_data
def test_recorded_replies_of_judges_are_read_as_they_were_recorded():
    paths = sorted((DATA / "preferences" / "judge_reviews").glob("*_reviews_*.json"))
    rows = [row for path in paths for row in json.loads(path.read_text(encoding="utf-8"))["data"]]
    for row in rows:
        for review, scores in (("review", "scores"), ("review_reverse", "scores_reverse")):
            recorded = row[scores] if isinstance(row[scores], list) else json.loads(row[scores])
            assert read("vicuna", row[review]).scores == tuple(recorded)
    assert (len(paths), len(rows)) == (6, 1120)


def test_fill_takes_one_pass():
    assert fill("{a} {b} {c} {A}", {"a": "{b}", "b": "{a}"}) == "{b} {a} {c} {A}"
