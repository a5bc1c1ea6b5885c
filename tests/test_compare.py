"""`camelid compare`: answers of any format paired by prompt, style against knowledge, and every wrong file named."""

import json

import pytest

from camelid.cli import main
from camelid.evaluate.imitation.answers import common_keys, read_answers
from camelid.evaluate.imitation.facts import less, mean_accuracy, paired_change, read_facts
from camelid.evaluate.imitation.measures import style_of
from camelid.functional.statistics import Estimate
from real_data import DATA, needs_data

TEACHERS = DATA / "teachers"

LIST = "1. one\n2. two"


def user(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": user("Hi?"), "text": "Hello.", "judge_score": 1.0},
        {"messages": [*user(" Hi?"), {"role": "assistant", "content": "Hello."}]},
        {"instruction": "Hi?\n", "output": "Hello.", "generator": "m"},
    ],
)
@pytest.mark.parametrize("lines", [True, False])
def test_the_same_answer_in_every_format(tmp_path, row, lines):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(row) if lines else json.dumps([row]))
    answers = read_answers(file)
    assert answers.texts == {"Hi?": "Hello."}
    assert answers.prompts["Hi?"][0].role == "user"


def test_fastchats_answers_go_by_number(tmp_path):
    rows = [
        {"question_id": 1, "text": "A", "model_id": "bard:2023"},
        {"question_id": 2, "choices": [{"turns": ["B", "C"]}], "model_id": "bard:2023"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = read_answers(tmp_path / "a.jsonl")
    assert answers.texts == {"question 1": "A", "question 2": "B"}
    assert answers.name == "bard"
    assert not answers.prompts


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ('{"instruction": "a"}', "line 1: no answer (its fields are instruction)"),
        ('[{"instruction": "a", "output": null}]', "row 1: no answer: a text is wanted, not NoneType"),
        ('{"instruction": "a", "output": "b"}\n{"instruction"', "line 2: no JSON"),
        ('[{"instruction": "a", "output": "b"}', "line 1: no JSON"),
        ('{"instruction": "a", "output": "b"}\n{"instruction": "a ", "output": "c"}', "line 2: a second answer"),
        ('{"question_id": 1, "choices": []}', "line 1: no answer: choices"),
        ("[3]", "row 1: a JSON object with a prompt and an answer is wanted, not int"),
    ],
)
def test_a_wrong_file_is_named_with_its_row(tmp_path, content, said):
    file = tmp_path / "answers.json"
    file.write_text(content)
    with pytest.raises(ValueError) as error:
        read_answers(file)
    assert said in str(error.value)
    assert str(file) in str(error.value)


def write(path, texts):
    path.write_text(json.dumps([{"instruction": p, "output": t, "generator": path.stem} for p, t in texts.items()]))
    return path


def test_models_that_answered_nothing_alike_cannot_be_compared(tmp_path):
    a, b = (read_answers(write(tmp_path / f"{name}.json", {f"ask {name}": "x"})) for name in "ab")
    with pytest.raises(ValueError, match=r"no prompt was answered by all of a, b.*ask a"):
        common_keys(a, b)


def test_style_by_hand():
    # The reference lists on prompts 1 and 2; we list on 1 and 3: 1 of 2 where it does, 1 of 2 where it does not, J = 0.
    ours, theirs = [LIST, "none at all", LIST, "no"], [LIST, LIST, "short", "no"]
    style = style_of(ours, theirs)
    assert style.lists_where_reference_does.value == 0.5
    assert style.lists_where_reference_does_not.value == 0.5
    assert style.list_agreement.value == pytest.approx(0.0)
    assert style.same_list_use.value == 0.5  # on prompts 1 and 4
    # Words: ours 4, 3, 4, 1; theirs 4, 4, 1, 1. Means 3 and 2.5; cov = (1.5 + 0 - 1.5 + 3) / 4 = 0.75;
    # var = 6/4 and 9/4; r = 0.75 / sqrt(1.5 x 2.25) = 0.408248.
    assert style.length_correlation.value == pytest.approx(0.408248, abs=1e-6)
    # Unigram F1: 1 (same), 0, 0, 1 -> 0.5. Similarity: (0 + 0.408248 + 0.5) / 3.
    assert style.unigram_f1.value == pytest.approx(0.5)
    assert style.similarity.value == pytest.approx(0.302749, abs=1e-6)
    assert style.same_tone.n == 4


def test_the_same_answers_have_the_same_style():
    texts = [LIST, "It is so.", "I do not know it at all.", "- a\n- b\n- c"]
    style = style_of(texts, texts)
    assert style.similarity.value == pytest.approx(1.0)
    assert style.same_tone.value == 1


def test_what_the_reference_cannot_tell_is_left_out():
    style = style_of(["one", "two words"], ["a", "b"])  # no list, all equally long
    assert style.list_agreement is None
    assert style.lists_where_reference_does is None
    assert style.length_correlation is None
    assert style.similarity.value == 0  # of unigram F1 alone


def results(path, **tasks):
    def estimate(value):
        return Estimate(value, value - 0.1, value + 0.1, 100, 0.05)._asdict()

    path.mkdir()
    (path / "results.json").write_text(json.dumps({name: {"acc": estimate(value)} for name, value in tasks.items()}))
    return path


def test_a_task_stages_results_are_read_alone_and_from_the_folder_of_a_run(tmp_path):
    for task, headline, value in (("arc_easy", "acc_norm", 40.0), ("piqa", "acc", 60.0)):
        (tmp_path / task).mkdir()
        measure = {"value": value, "low": value - 5, "high": value + 5, "n": 90, "standard_error": 2.5, "unit": "%"}
        content = {"task": task, "n": 90, "headline": headline, "measures": {headline: measure}}
        (tmp_path / task / "results.json").write_text(json.dumps(content))
    assert read_facts(tmp_path / "piqa") == {"piqa": Estimate(0.6, 0.55, 0.65, 90, 0.025)}
    assert {task: e.value for task, e in read_facts(tmp_path).items()} == {"arc_easy": 0.4, "piqa": 0.6}


def test_a_headline_that_is_no_share_is_no_fact(tmp_path):
    measure = {"value": 12.0, "low": 1, "high": 20, "n": 9, "standard_error": 2, "unit": ""}
    content = {"task": "documents", "headline": "word_perplexity", "measures": {"word_perplexity": measure}}
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="documents has no accuracy: its headline is word_perplexity"):
        read_facts(tmp_path)


def test_a_paired_change_by_hand():
    before = {"piqa": {"a": 0, "b": 1, "c": 1, "d": 0}}
    after = [{"piqa": {"a": 1, "b": 1, "c": 1, "d": 0}}, {"piqa": {"a": 1, "b": 1, "c": 0, "d": 0}}]
    change = paired_change(after, before, ["piqa"])
    # Changes over seeds: a 1, b 0, c -1/2, d 0: mean 1/8. Squares from the mean: .765625 + .015625 + .390625 + .015625
    # = 1.1875; / 3 / 4 = 0.0989583. Seeds change by 1/4 and 0: variance 1/32, / 2 = 0.015625. SE = sqrt(0.1145833).
    assert change.value == pytest.approx(0.125)
    assert change.standard_error == pytest.approx(0.338502, abs=1e-6)
    assert change.n == 4


def test_facts_average_over_tasks(tmp_path):
    facts = read_facts(results(tmp_path / "a", piqa=0.6, boolq=0.7))
    mean = mean_accuracy(facts, facts)
    assert mean.value == pytest.approx(0.65)
    # sqrt(0.05^2 + 0.05^2) / 2 = 0.0353553
    assert mean.standard_error == pytest.approx(0.0353553, abs=1e-6)
    assert less(mean, mean).standard_error == pytest.approx(0.05)  # sqrt(2) x 0.0353553


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "has no accuracies"),
        ("[1]", "has no accuracies"),
        ("{", "broken JSON"),
        ('{"piqa": {"acc": 0.5}}', "task 'piqa': no estimate"),
        (
            '{"piqa": {"acc": {"value": 50, "low": 1, "high": 2, "n": 3, "standard_error": 1}}}',
            "acc = 50.0; accuracies are shares",
        ),
    ],
)
def test_wrong_facts_are_errors(tmp_path, content, said):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"results\.json") as error:
        read_facts(tmp_path)
    assert said in str(error.value)


@pytest.fixture
def files(tmp_path):
    prompts = [f"prompt {i}" for i in range(12)]
    write(tmp_path / "ref.json", {p: LIST if i % 2 else "It is so." for i, p in enumerate(prompts)})
    write(tmp_path / "a.json", {p: LIST if i % 2 else "It is so, yes." for i, p in enumerate(prompts)})
    write(tmp_path / "b.json", {p: "I do not know." for p in prompts[:11]} | {"another": "x"})
    results(tmp_path / "facts-a", piqa=0.5, boolq=0.6)
    results(tmp_path / "facts-b", piqa=0.7, boolq=0.6, copa=0.9)
    return tmp_path


def test_compare_as_json(files, capsys):
    words = ["compare", str(files / "a.json"), str(files / "b.json"), "--reference", str(files / "ref.json"), "--json"]
    assert main([*words, "--facts", str(files / "facts-a"), str(files / "facts-b")]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["n"] == 11
    assert result["unpaired"] == {"a": 1, "b": 1, "ref": 1}
    assert "answers left out" in err
    a, b = result["models"]
    assert a["style"]["lists_where_reference_does"]["value"] == 1
    assert b["style"]["lists_where_reference_does"]["value"] == 0
    assert a["knowledge"]["value"] == pytest.approx(55)  # in percent, of the tasks that both have
    assert b["knowledge"]["value"] == pytest.approx(65)
    assert result["differences"]["knowledge"]["value"] == pytest.approx(-0.1)


def test_compare_as_a_table_with_figures(files, capsys):
    words = ["compare", str(files / "a.json"), str(files / "b.json"), "--reference", str(files / "ref.json")]
    assert main([*words, "--facts", str(files / "facts-a"), str(files / "facts-b"), "--out", str(files / "out")]) == 0
    out = capsys.readouterr().out
    assert "similarity of style" in out
    assert "mean of common tasks, %" in out
    written = {path.name for path in (files / "out").iterdir()}
    assert written == {"comparison.json", "style.png", "style.txt", "facts.png", "facts.txt"}
    assert (files / "out" / "facts.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_reference_the_second_is_the_reference(files, capsys):
    assert main(["compare", str(files / "a.json"), str(files / "ref.json"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["reference"] == "ref"
    assert [model["name"] for model in result["models"]] == ["a"]


def test_one_prompt_gives_numbers_without_intervals(tmp_path, capsys):
    a, b, ref = (write(tmp_path / f"{name}.json", {"Hi?": name}) for name in ("a", "b", "ref"))
    results(tmp_path / "facts", piqa=0.5)
    words = ["compare", str(a), str(b), "--reference", str(ref), "--out", str(tmp_path / "out")]
    assert main([*words, "--facts", str(tmp_path / "facts"), str(tmp_path / "facts")]) == 0
    assert "(no interval)" in capsys.readouterr().out
    json.loads((tmp_path / "out" / "comparison.json").read_text(), parse_constant=lambda name: pytest.fail(name))


def test_two_files_of_one_model_keep_apart(files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    for folder in ("one", "two"):
        (files / folder).mkdir()
        rows = [{"prompt": user(f"prompt {i}"), "text": f"{folder} {i}", "model": "m"} for i in range(5)]
        (files / folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["compare", "one", "two", "--reference", "ref.json", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in result["models"]] == ["one", "two"]
    assert result["n"] == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.json", "b.json", "--reference", "none.json"], "no reference file"),
        (["none.json", "b.json"], "no model 'none.json'"),
        (["a.json", "b.json", "--facts", "facts-a", "none"], "no result file none"),
        (["a.json", "b.json", "--prompts", "a.json", "--judge", "none"], "no model 'none'"),
    ],
)
def test_wrong_words_are_one_line(files, capsys, monkeypatch, words, said):
    monkeypatch.chdir(files)
    assert main(["compare", *words]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_two_models_answer_the_references_prompts(files, tied_llama, capsys):
    words = ["compare", str(tied_llama), str(files / "a.json"), "--reference", str(files / "ref.json"), "--json"]
    assert main([*words, "--max-new-tokens", "4", "--max-prompts", "3", "--out", str(files / "out")]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 3
    kept = read_answers(files / "out" / f"{tied_llama.name}.jsonl")
    assert len(kept.texts) == 3


def test_a_judge_says_who_wins_against_the_reference(files, tied_llama, capsys):
    from camelid.models.model_settings import ModelSettings
    from camelid.models.optimizer import OptimizerSettings
    from camelid.models.reward_model import RewardModel

    settings = ModelSettings(precision="float32", lora_rank=4)
    RewardModel.create(tied_llama, settings, OptimizerSettings(), num_layers=1, seed=0).save(files / "judge", "")
    words = ["compare", str(files / "ref.json"), str(files / "b.json"), "--reference", str(files / "ref.json")]
    assert main([*words, "--judge", str(files / "judge"), "--json", "--out", str(files / "out")]) == 0
    same, other = json.loads(capsys.readouterr().out)["models"]
    assert same["win_rate"]["value"] == 50  # the same answers: ties all
    assert 0 <= other["length_controlled_win_rate"]["value"] <= 100
    assert (files / "out" / "wins.png").exists()


@needs_data
def test_vicuna_writes_more_like_gpt4_than_alpaca_does():
    """Recorded answers to AlpacaEval's 805 instructions; the study found imitators of ChatGPT to list as it does."""
    reference = read_answers(TEACHERS / "gpt4.json")
    styles = {}
    for name in ("vicuna-13b", "alpaca-7b"):
        answers = read_answers(TEACHERS / f"{name}.json")
        keys = common_keys(answers, reference)
        styles[name] = style_of([answers.texts[k] for k in keys], [reference.texts[k] for k in keys])
    vicuna, alpaca = styles.values()
    assert vicuna.n == alpaca.n == 805
    assert vicuna.lists_where_reference_does.low > 0.6
    assert alpaca.lists_where_reference_does.high < 0.25
    assert vicuna.length_correlation.value > alpaca.length_correlation.value
    assert vicuna.similarity.low > alpaca.similarity.high


@needs_data
def test_fastchats_files_compare_with_one_another(capsys):
    folder = DATA / "vicuna_eval" / "answer"
    files = [str(folder / f"answer_{name}.jsonl") for name in ("vicuna-13b", "alpaca-13b", "gpt35")]
    assert main(["compare", *files[:2], "--reference", files[2], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 80
    a, b = (model["style"]["similarity"]["value"] for model in result["models"])
    assert a > b
