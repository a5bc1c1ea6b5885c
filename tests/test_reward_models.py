"""Reward models as the thing evaluated: judges whose numbers are known, real files, a tiny model, wrong input."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from camelid.cli import main
from camelid.collect.readers import read
from camelid.evaluate.completions import read_completions
from camelid.evaluate.pair_scores import PairScore, read_pair_scores
from camelid.evaluate.reward_measures import describe_pairs
from camelid.types import Message, Preference, write_records
from real_data import DATA as REAL_DATA
from real_data import needs_data

DATA = REAL_DATA / "preferences"


def pair(question: str, chosen: str, rejected: str, **more) -> Preference:
    return Preference(prompt=(Message(role="user", content=question),), chosen=chosen, rejected=rejected, **more)


PAIRS = [
    pair("Why?", "Because of this.", "No.", rating="significantly better", kind="helpfulness", source="a"),
    pair("How?", "So.", "In a roundabout way.", rating="slightly better", kind="helpfulness", source="a"),
    pair("When?", "Now or never, say the old.", "Soon.", rating="slightly better", kind="safety", source="b"),
    pair("Who?", "You.", "Me!!", kind="safety", source="b"),
]


def test_described_by_hand():
    # Right on the first three of four pairs; longer wins on two and ties on the last.
    scores = [PairScore(2, 0), PairScore(1, 0), PairScore(3, 0), PairScore(0, 1)]
    results = describe_pairs(PAIRS, scores)
    assert (results["n"], results["num_prompts"], results["score_ties"]) == (4, 4, 0)
    assert results["accuracy"]["value"] == 0.75
    assert results["longer_wins"]["value"] == 0.625
    assert results["gain_over"]["longer_wins"]["value"] == pytest.approx(0.125)
    # Longer chosen in two pairs, both right; shorter in one, right; equal in one, wrong: (3 (1 + 1) / 2 + 0) / 4.
    assert results["length"]["balanced"]["accuracy"]["value"] == pytest.approx(0.75)
    # (3 (1 + 0) / 2 + 0.5) / 4
    assert results["length"]["balanced"]["longer_wins"]["value"] == 0.5
    assert list(results["by_rating"]) == ["significantly better", "slightly better"]
    assert results["by_kind"]["safety"]["accuracy"]["value"] == 0.5
    assert results["by_source"]["a"]["accuracy"]["n"] == 2
    assert "tfidf" not in results  # four prompts are too few for five folds
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_the_bag_of_words_is_fitted_on_training_pairs_where_there_are_some():
    train = [pair(f"q{i}", f"good answer {i}", f"bad reply {i}") for i in range(20)]
    test = [pair("t1", "good news", "bad news"), pair("t2", "bad luck", "good luck")]
    results = describe_pairs(test, [PairScore(1, 0)] * 2, train)
    assert results["tfidf"]["value"] == 0.5  # "good" wins: right on the first, wrong on the second
    assert results["tfidf_fitted_on"] == "20 training pairs"
    assert results["prompts_in_train"] == 0
    assert describe_pairs(train[:3], [PairScore(1, 0)] * 3, train)["prompts_in_train"] == 3


@needs_data
@pytest.mark.slow
def test_the_floors_on_hh_harmless():
    # docs: "the longer wins" 44.5%, a TF-IDF Bradley-Terry model in 5 folds by prompt 62.5% +- 1.1. There are 1,800
    # of the 2,312 pairs here, and five of those have unequal prompts.
    pairs = read(DATA / "hh_harmless_1800.jsonl.gz", want=Preference).rows
    results = describe_pairs(pairs, [PairScore(0, 0)] * len(pairs))
    assert results["longer_wins"]["value"] == pytest.approx(0.445, abs=0.01)
    assert results["tfidf"]["value"] == pytest.approx(0.625, abs=0.022)
    assert results["accuracy"]["value"] == 0.5
    assert results["length"]["balanced"]["longer_wins"]["value"] == 0.5


@needs_data
def test_llmbar_is_read_whole():
    # Table 1 of arXiv:2310.07641: 100 natural, 134 + 92 + 47 + 46 adversarial.
    sizes = {"Natural": 100, "Adversarial_Neighbor": 134, "Adversarial_GPTInst": 92}
    sizes |= {"Adversarial_GPTOut": 47, "Adversarial_Manual": 46}
    for name, size in sizes.items():
        path = DATA / "llmbar" / f"LLMBar_{name}.json"
        result = read(path, want=Preference)
        assert (result.format, len(result.rows), result.set_aside) == ("judged", size, [])
        for row, record in zip(json.loads(path.read_text()), result.rows, strict=True):
            assert record.chosen == row[f"output_{row['label']}"]
            assert record.prompt[0].content == row["input"]


# --- scores from a file, through the command ---


def write(path: Path, rows: list) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    write_records(tmp_path / "pairs.jsonl", PAIRS)
    rows = [{"id": p.id, "chosen": i, "rejected": 1.5} for i, p in enumerate(PAIRS)]
    scores = write(tmp_path / "scores.jsonl", list(reversed(rows)))
    return {"pairs": str(tmp_path / "pairs.jsonl"), "scores": scores, "out": str(tmp_path / "runs")}


def command(files: dict[str, str], *more: str) -> list[str]:
    return ["eval", "reward", "--preferences", files["pairs"], "--out", files["out"], *more]


def test_scores_from_a_file_are_matched_by_id(files, capsys):
    assert main(command(files, "--scores", files["scores"], "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["accuracy"] == 50.0  # 0 and 1 against 1.5 are wrong, 2 and 3 right
    assert printed["longer_wins"] == 62.5
    assert printed["n"] == 4
    assert printed["left_out"] == {}
    assert printed["by_kind"]["safety"]["accuracy"]["percent"] == 100.0


def test_the_table_names_the_baselines(files, capsys):
    assert main(command(files, "--scores", files["scores"])) == 0
    captured = capsys.readouterr()
    assert "longer wins" in captured.out
    assert "length balanced" in captured.out
    assert "calibration error" in captured.err


def test_labelled_answers_show_whether_p_safe_is_right(files, tmp_path, capsys):
    labelled = [p.model_copy(update={"chosen_safe": True, "rejected_safe": i < 2}) for i, p in enumerate(PAIRS)]
    write_records(tmp_path / "pairs.jsonl", labelled)
    # Chosen 0, 1, 2, 3 and rejected 1.5, 1.5 are safe, two rejected at -2 are not: found by any threshold above 0.12.
    rows = [{"id": p.id, "chosen": i, "rejected": 1.5 if i < 2 else -2} for i, p in enumerate(labelled)]
    scores = write(tmp_path / "scores.jsonl", rows)
    assert main(command(files, "--scores", scores)) == 0
    captured = capsys.readouterr()
    assert "people say safe" in captured.out
    assert "2 answers labelled unsafe, 6 safe; area under the ROC curve, in percent: 100.0 [" in captured.err
    (left,) = (tmp_path / "runs").glob("reward-model-*/results.json")
    safety = json.loads(left.read_text())["safety"]
    [paper] = [row for row in safety["thresholds"] if row["threshold"] == 0.15]
    assert (paper["num_flagged"], paper["precision"]["value"], paper["recall"]["value"]) == (2, 1, 1)
    # sigmoid(-2), sigmoid(0) ... sigmoid(3)
    predicted = [b["predicted"] for b in safety["calibration"]["bins"]]
    assert predicted == pytest.approx([0.1192, 0.5, 0.7311, (2 * 0.8176 + 0.8808) / 3, 0.9526], abs=1e-4)


def test_the_scores_that_it_leaves_can_be_read_again(files, tmp_path, capsys):
    assert main(command(files, "--scores", files["scores"], "--json")) == 0
    first = json.loads(capsys.readouterr().out)
    (left,) = (tmp_path / "runs").glob("reward-model-*/scores.jsonl")
    assert main(command(files, "--scores", str(left), "--json")) == 0
    assert json.loads(capsys.readouterr().out) == first


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "empty"),
        ([{"chosen": 1, "rejected": 0}], "1 rows, some without an id, and there are 4 pairs"),
        ([{"chosen": 1, "rejected": None}] * 4, "line 1: chosen and rejected are [1, None]"),
        ([{"chosen": 1, "rejected": True}] * 4, "both must be numbers"),
        ([{"chosen": float("nan"), "rejected": 0}] * 4, "both must be numbers"),
        ([{"id": "nobody", "chosen": 1, "rejected": 0}], "no score for 4 of 4 pairs"),
        ([{"id": "x", "chosen": 1, "rejected": 0}] * 2, "twice"),
        ([[1, 2]] * 4, "line 1: a JSON object with id, chosen and rejected is wanted, not list"),
    ],
)
def test_scores_that_are_none(tmp_path, rows, message):
    path = Path(write(tmp_path / "wrong.jsonl", rows))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_pair_scores(path, PAIRS)
    assert str(path) in str(error.value)


def test_scores_without_ids_are_taken_in_order(tmp_path):
    path = Path(write(tmp_path / "scores.jsonl", [{"chosen": i, "rejected": 0} for i in range(4)]))
    assert [s.chosen for s in read_pair_scores(path, PAIRS)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give a reward model or a file of scores"),
        (["--model", "M", "--scores", "S"], "one of them"),
        (["--scores", "S", "--fresh", "S"], "fresh answers need a reward model"),
        (["--scores", "S", "--second", "M"], "second reward model speaks on fresh answers"),
    ],
)
def test_what_does_not_go_together(files, tied_llama, capsys, more, message):
    words = [{"S": files["scores"], "M": str(tied_llama)}.get(word, word) for word in more]
    assert main(command(files, *words)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("camelid: ")
    assert message in error


def test_a_file_without_preferences(files, tmp_path, capsys):
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": "Only a question."}])
    assert main([*command(files | {"pairs": prompts}), "--scores", files["scores"]]) == 1
    assert "no preferences are left" in capsys.readouterr().err


# --- a model ---


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory, tied_llama) -> Path:
    from test_reward_model import create

    folder = tmp_path_factory.mktemp("reward") / "model"
    model = create(tied_llama)
    model.score_mean, model.score_std = 0.5, 2.0
    model.save(folder, "card")
    return folder


@pytest.fixture
def versions(tmp_path) -> list[str]:
    """Three versions' answers to the same six prompts."""
    prompts = [[{"role": "user", "content": f"Question {i}?"}] for i in range(6)]
    return [
        write(tmp_path / f"v{v}.jsonl", [{"prompt": p, "text": f"Answer {v} {i}."} for i, p in enumerate(prompts)])
        for v in range(3)
    ]


def test_a_model_is_asked_once_for_each_answer_and_goes_on_after_a_stop(files, reward_model, tmp_path, capsys):
    words = command(
        files, "--model", str(reward_model), "--set", "rows_a_chunk=2", "--set", "precision=float32", "--json"
    )
    assert main(words) == 0
    expected = json.loads(capsys.readouterr().out)
    (run,) = (tmp_path / "runs").glob("reward-model-*")
    (run / "manifest.json").unlink()
    lines = (run / "answer_scores.jsonl").read_bytes().splitlines(keepends=True)
    (run / "answer_scores.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:5])  # chunks of 2: one is kept
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert (run / "answer_scores.jsonl").read_bytes().splitlines(keepends=True) == lines


def test_scores_are_logits_not_standardised(files, reward_model, tmp_path):
    from camelid.models.model_settings import ModelSettings
    from camelid.models.reward_model import RewardModel

    assert main(command(files, "--model", str(reward_model), "--set", "precision=float32")) == 0
    (path,) = (tmp_path / "runs").glob("reward-model-*/scores.jsonl")
    row = json.loads(path.read_text().splitlines()[0])
    model = RewardModel.load(reward_model, ModelSettings(precision="float32"))
    standardised = model.score([model.row(PAIRS[0].prompt, PAIRS[0].chosen)])[0].item()
    assert row["chosen"] == pytest.approx(2.0 * standardised + 0.5, abs=1e-5)


def test_versions_drift_and_a_second_model_speaks(files, reward_model, versions, tmp_path, capsys):
    words = ["--model", str(reward_model), "--second", str(reward_model), "--train", files["pairs"]]
    assert main(command(files, *words, "--fresh", *versions, "--json")) == 0
    details = json.loads(capsys.readouterr().out)
    assert [row["n"] for row in details["drift"]] == [6, 6, 6]
    steps = details["goodhart"]["steps"]
    assert [(Path(s["from"]).stem, Path(s["to"]).stem) for s in steps] == [("v0", "v1"), ("v1", "v2"), ("v0", "v2")]
    # One model asked twice cannot contradict itself.
    assert all(step["first"]["value"] * step["second"]["value"] >= 0 for step in steps)
    assert not details["goodhart"]["alarm"]
    assert main(command(files, *words, "--fresh", *versions)) == 0
    assert "KS" in capsys.readouterr().out


def test_versions_must_answer_the_same_prompts(files, reward_model, versions, tmp_path, capsys):
    other = write(
        tmp_path / "other.jsonl", [{"prompt": "Else?", "completion": "No."}, {"prompt": "So?", "text": "Yes."}]
    )
    words = ["--model", str(reward_model), "--second", str(reward_model), "--train", files["pairs"]]
    assert main(command(files, *words, "--fresh", versions[0], other)) == 1
    assert "answer 0 prompts in common" in capsys.readouterr().err


def test_long_conversations_are_cut_and_counted(files, reward_model, capsys):
    long = pair("Why?", "word " * 50, "No.")
    write_records(files["pairs"], [long, *PAIRS])
    assert main(command(files, "--model", str(reward_model), "--set", "max_tokens=60", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["cut"] == 1


# --- completions ---


def test_completions_of_all_that_stages_leave(tmp_path):
    turns = [{"role": "user", "content": "Why?"}]
    rows = [
        {"prompt": turns, "text": "a"},
        {"prompt": "Why?", "completion": "b"},
        {"prompt": turns, "first": "c", "second": "d"},
        {"prompt": turns, "chosen": "e", "rejected": "f"},
        {"messages": [*turns, {"role": "assistant", "content": "g"}]},
    ]
    found = read_completions(Path(write(tmp_path / "rows.jsonl", rows)))
    assert [c.text for c in found] == list("abcdefg")
    assert len({c.asked for c in found}) == 1


@pytest.mark.parametrize(
    "row",
    [{"prompt_id": "p", "text": "a"}, {"prompt": "Why?"}, {"messages": [{"role": "user", "content": "a"}]}, [1], 3],
)
def test_rows_without_a_completion(tmp_path, row):
    path = Path(write(tmp_path / "rows.jsonl", [{"prompt": "Why?", "text": "a"}, row]))
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 2: (no prompt|no answer|a JSON object with a prompt and)"):
        read_completions(path)


def test_goodhart_is_found_where_it_was_planted(tmp_path):
    from camelid.evaluate.completions import Completion
    from camelid.evaluate.reward_drift import describe_versions

    generator = np.random.default_rng(0)
    completions = [[Completion((Message(role="user", content=f"{i}?"),), "a") for i in range(80)] for _ in range(3)]
    first = [generator.normal(step, 1, 80).tolist() for step in (0.0, 1.0, 2.0)]
    second = [generator.normal(step, 1, 80).tolist() for step in (0.0, 1.0, 0.0)]
    results = describe_versions(["v1", "v2", "v3"], completions, generator.normal(0, 1, 100).tolist(), first, second)
    verdicts = [step["verdict"] for step in results["goodhart"]["steps"]]
    assert verdicts[:2] == ["agree", "alarm"]
    assert results["goodhart"]["alarm"]
    assert results["drift"][0]["shift"]["low"] < 0 < results["drift"][2]["shift"]["low"]
