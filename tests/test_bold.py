"""BOLD's openings, the sentiment of their continuations, toxicity by a local classifier."""

import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.safety.bold import Opening, draw_openings, joined, read_bold, vader, warmth
from real_data import DATA as REAL_DATA
from real_data import needs_data

DATA = REAL_DATA / "safety/bold"


@pytest.fixture
def prompts(tmp_path) -> str:
    groups = {"bakers": {"Ann": ["Ann is a baker who ", "Ann bakes "]}, "smiths": {"Bob": ["Bob is a smith who "]}}
    (tmp_path / "profession_prompt.json").write_text(json.dumps(groups))
    return str(tmp_path / "profession_prompt.json")


def test_openings_are_read_by_domain_and_group_and_drawn_within_groups(prompts):
    openings = read_bold([prompts])
    assert openings[0] == Opening("profession", "bakers", "Ann is a baker who")
    assert [o.group for o in draw_openings(openings, 1, seed=0)] == ["bakers", "smiths"]
    assert draw_openings(openings, 0, seed=0) == openings
    assert read_bold([Path(prompts).parent]) == openings
    assert draw_openings([*openings, Opening("profession", "smiths", "")], 0, seed=0) == openings


def test_means_by_group_by_hand():
    # A sentiment of 1 a word, so means are of word counts: bakers (3 + 5) / 2, smiths 2; openings 2, 1, 1.
    pairs = [
        (Opening("profession", "bakers", "a b"), " c"),
        (Opening("profession", "bakers", "a"), " b c d e"),
        (Opening("profession", "smiths", "a"), " b"),
    ]
    found = {w.group: w for w in warmth(pairs, lambda text: float(len(text.split())))}
    assert {g: (w.whole.value, w.opening.value) for g, w in found.items()} == {
        "": (10 / 3, 4 / 3),
        "bakers": (4.0, 1.5),
        "smiths": (2.0, 1.0),
    }
    assert found["bakers"].gain.value == 2.5
    assert found["bakers"].gain.n == 2


def test_a_space_between_opening_and_continuation():
    assert joined("Ann is", " kind") == joined("Ann is", "kind") == "Ann is kind"
    assert joined("Ann", ", who") == "Ann, who"
    assert joined("Ann", "") == "Ann"


def test_vader_tells_warm_from_cold():
    sentiment = vader()
    # VADER's own published example (Hutto and Gilbert's README): compound 0.8316.
    assert sentiment("VADER is smart, handsome, and funny.") == pytest.approx(0.8316)
    assert sentiment("She was a cruel and hated liar.") < -0.5
    assert sentiment("The table has four legs.") == 0


def test_scores_a_file_and_counts_prompts_of_others(prompts, tmp_path, capsys):
    answers = tmp_path / "answers.jsonl"
    rows = [
        {"prompt": "Ann bakes ", "completion": "wonderful bread."},
        {"prompt": "Bob is a smith who", "completion": " hates it."},
        {"prompt": "Somebody else", "completion": "x"},
    ]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["eval", "bold", "--prompts", prompts, "--answers", str(answers), "--json"]) == 0
    result = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # one text a group: no Infinity
    assert (result["n"], result["unknown_prompts"]) == (2, 1)
    groups = {g["group"]: g for g in result["groups"]}
    assert groups["bakers"]["compound"]["value"] > 0 > groups["smiths"]["compound"]["value"]
    assert groups["bakers"]["opening"]["value"] == 0
    assert groups["bakers"]["compound"]["low"] is None


def test_wrong_words_and_wrong_files(prompts, tmp_path, capsys):
    (tmp_path / "wrong.json").write_text("[1, 2]")
    (tmp_path / "empty").mkdir()
    (tmp_path / "answers.jsonl").write_text('{"prompt": "z", "completion": "y"}\n')
    answers = str(tmp_path / "answers.jsonl")
    for words, message in [
        (["--prompts", prompts], "one of both"),
        (["--prompts", prompts, "--model", "m", "--answers", answers], "one of both"),
        (["--prompts", str(tmp_path / "wrong.json"), "--answers", answers], "no prompt file of BOLD"),
        (["--prompts", str(tmp_path / "empty"), "--answers", answers], "no openings"),
        (["--prompts", prompts, "--answers", answers], "none of the 1 prompts"),
    ]:
        assert main(["eval", "bold", *words]) == 1
        assert message in capsys.readouterr().err


def test_a_model_continues_and_what_it_wrote_scores_the_same_again(prompts, tied_llama, tmp_path, capsys):
    out = str(tmp_path / "out.jsonl")
    words = ["eval", "bold", "--prompts", prompts, "--json"]
    assert main([*words, "--model", str(tied_llama), "--max-new-tokens", "4", "--out", out]) == 0
    first = capsys.readouterr().out
    assert len(Path(out).read_text().splitlines()) == 3
    assert main([*words, "--answers", out]) == 0
    assert capsys.readouterr().out == first


def write_classifier(folder: Path, labels: dict[int, str], **config) -> Path:
    """A tiny BERT of random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from tiny import byte_level_tokenizer

    tokenizer = byte_level_tokenizer()
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), id2label=labels, initializer_range=0.5, **sizes, **config)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_toxicity_by_a_local_classifier(tmp_path, capsys):
    import torch

    from camelid.models.classifier import Classifier

    folder = write_classifier(tmp_path / "classifier", {0: "fine", 1: "Toxic"})
    classifier = Classifier(folder)
    texts = ["a", "a much longer text, so that the first is padded", "b"]
    together = classifier.probabilities(texts)
    # Padding changes nothing: each text alone gives the same, and it is the softmax of the model's own logits.
    assert together == pytest.approx([classifier.probabilities([text])[0] for text in texts], abs=1e-5)
    encoded = classifier.tokenizer("a", return_tensors="pt")
    assert together[0] == pytest.approx(torch.softmax(classifier.model(**encoded).logits, 1)[0, 1].item(), abs=1e-5)

    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps({"prompt": "?", "output": text, "tags": ["unsafe"]}) + "\n" for text in texts)
    )
    assert main(["eval", "toxicity", str(answers), "--classifier", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n"], result["label"]) == (3, "Toxic")
    assert result["groups"]["unsafe"]["toxic"] == pytest.approx(100 * sum(p >= 0.5 for p in together) / 3)


def test_no_classifier_no_number(tmp_path, capsys):
    (tmp_path / "answers.jsonl").write_text('{"prompt": "z", "output": "y"}\n')
    words = ["eval", "toxicity", str(tmp_path / "answers.jsonl")]
    folder = write_classifier(tmp_path / "classifier", {0: "one", 1: "two"}, problem_type="multi_label_classification")
    for more, message in [
        ([], "ships no toxicity model"),
        (["--classifier", str(tmp_path)], "no .safetensors file"),
        (["--classifier", str(folder)], "labels are one, two"),
    ]:
        assert main([*words, *more]) == 1
        assert message in capsys.readouterr().err
    assert main([*words, "--classifier", str(folder), "--label", "two"]) == 0
    assert "P(two) >= 0.5" in capsys.readouterr().out


@needs_data
def test_all_of_bold():
    openings = read_bold([DATA])
    assert len(openings) == 23_679
    assert len({o.domain for o in openings}) == 5
    assert len({(o.domain, o.group) for o in openings}) == 43
