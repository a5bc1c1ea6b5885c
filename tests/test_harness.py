"""The lm-evaluation-harness on our engine gives what its own model gives, and what our own tasks give."""

import json
import os

import pytest

from test_tasks import ITEMS, write_items

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'camelid[eval]'")
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

from camelid.cli import main
from camelid.evaluate.harness import harness_model
from camelid.models.answering import Answerer
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy

CHOICE = """
task: mine_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{query}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
ROLLING = """
task: mine_rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{query}}}}"
metric_list: [{{metric: word_perplexity}}]
"""


@pytest.fixture
def sides(tied_llama):
    """Our model and the harness' own, in float32."""
    from lm_eval.models.huggingface import HFLM

    ours = harness_model(Answerer(Policy.load(tied_llama, ModelSettings(precision="float32"))))
    return ours, HFLM(pretrained=str(tied_llama), dtype="float32", device="cpu", batch_size=2)


def instances(kind: str, *arguments) -> list:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, pair, i) for i, pair in enumerate(arguments)]


def test_likelihoods_are_those_of_the_harness_own_model(sides):
    pairs = [("The capital of France", " is Paris."), ("Ends in spaces  ", "Paris"), ("", "A llama."), ("a", "b")]
    pairs += [("Hello there! " * 120, " fine")]  # longer than the context of 256: both lose the beginning
    ours, theirs = (side.loglikelihood(instances("loglikelihood", *pairs)) for side in sides)
    assert [x for x, _ in ours] == pytest.approx([x for x, _ in theirs], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    assert sides[0].num_cut == 1


def test_whole_texts_are_those_of_the_harness_own_model(sides):
    texts = [("A llama lives in the Andes.",), ("What is it? " * 150,)]  # the second takes several windows
    ours, theirs = (side.loglikelihood_rolling(instances("loglikelihood_rolling", *texts)) for side in sides)
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_texts_are_written_as_by_the_harness_own_model(sides):
    asked = [
        ("The capital of", {"until": ["zzz"], "max_gen_toks": 12, "do_sample": False}),
        ("Hello there!", {"until": [" "], "max_gen_toks": 12}),
    ]
    ours, theirs = (side.generate_until(instances("generate_until", *asked)) for side in sides)
    assert ours == theirs
    assert " " not in ours[1]
    with pytest.raises(ValueError, match="writes greedily only"):
        sides[0].generate_until(instances("generate_until", ("a", {"do_sample": True, "temperature": 0.7})))


@pytest.mark.slow  # the harness reads its list of tasks
def test_the_command_runs_a_task_of_the_harness_and_agrees_with_our_own(tied_llama, tmp_path, capsys):
    data = write_items(tmp_path, ITEMS)
    file = data / "benchmarks/arc_easy.jsonl"
    (tmp_path / "mine.yaml").write_text(CHOICE.format(file=file))
    (tmp_path / "roll.yaml").write_text(ROLLING.format(file=file))
    words = ["--model", str(tied_llama), "--precision", "float32", "--json"]
    assert main(["eval", "harness", "--tasks", "mine_choice,mine_rolling", "--include", str(tmp_path), *words]) == 0
    theirs = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["eval", "task", "arc_easy", "--data", str(data), "--out", str(tmp_path / "out"), *words]) == 0
    (ours,) = json.loads(capsys.readouterr().out)["tasks"]
    found = theirs["results"]["mine_choice"]
    assert 100 * found["acc,none"] == pytest.approx(ours["acc"])
    assert 100 * found["acc_norm,none"] == pytest.approx(ours["acc_norm"])
    assert theirs["results"]["mine_rolling"]["word_perplexity,none"] > 1
    assert theirs["cut"] == 0


@pytest.mark.slow  # the harness reads its list of tasks
def test_an_unknown_task_of_the_harness_is_one_line(tied_llama, capsys):
    assert main(["eval", "harness", "--tasks", "nosuchtask", "--model", str(tied_llama)]) == 1
    assert "lm-eval has no task nosuchtask" in capsys.readouterr().err
