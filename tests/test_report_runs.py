"""Reports of several runs: what may be compared is, by hand-computed win rates; all stages' numbers are there."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from camelid.cli import main
from camelid.evaluate.report.figure_intervals import intervals_panel
from camelid.evaluate.report.figure_style import LIGHT
from camelid.evaluate.report.figures import render
from camelid.evaluate.report.gather import gather
from camelid.evaluate.report.measures import flatten
from camelid.evaluate.report.page import render_page
from camelid.evaluate.report.sources import read_sources
from camelid.evaluate.report.twins import COLUMNS, guarded, measures_csv
from report_example import estimate
from report_runs import answers, enter, evaluate, read_from, write_run, write_stage
from test_report_page import ATTACK, Page

TEXTS = ("Because of salt.", "I can't help with that.", "Use kill.", "An apple.")


def read(*words: Any, conversations: int = 100) -> dict[str, Any]:
    return gather(read_sources([str(word) for word in words]), "title", conversations)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs with the same start, prompts and judge."""
    first = write_run(tmp_path / "first", texts=TEXTS, scores=[1.0, 1.0, 0.0, 0.0])
    second = write_run(tmp_path / "second", texts=("Salt.", *TEXTS[1:]), scores=[0.5, 1.04, 0.5, 0.5])
    return first, second


def test_win_rates_between_runs_come_from_the_scores(two: tuple[Path, Path]) -> None:
    groups = read(*two)["comparison"]["groups"]
    assert [group["versions"] for group in groups] == [
        ["first · start", "first · sft", "second · start", "second · sft"]
    ]
    rates = {(row["version"], row["over"]): row["win_rate"] for row in groups[0]["win_rates"]}
    # Gaps of first's sft: 1 - 0.5 wins, 1 - 1.04 is within 0.05, a tie, 0 - 0.5 twice a loss: 1.5 of 4.
    assert rates["first · sft", "second · sft"]["value"] == 1.5 / 4
    turned = rates["second · sft", "first · sft"]
    assert (turned["value"], turned["n"]) == (2.5 / 4, 4)
    assert turned["low"] == 1 - rates["first · sft", "second · sft"]["high"]
    assert len(rates) == 4 * 3


def test_order_of_the_prompts_does_not_matter(two: tuple[Path, Path]) -> None:
    file = next(two[1].glob("evaluate-sft-*")) / "answers.jsonl"
    file.write_text("\n".join(reversed(file.read_text().splitlines())) + "\n")
    report = read(*two)
    assert len(report["comparison"]["groups"]) == 1 and report["comparison"]["notes"] == []
    assert [len(example["answers"]) for example in report["examples"]] == [4] * 4


def test_other_prompts_are_said_not_comparable(two: tuple[Path, Path]) -> None:
    rows = answers(TEXTS, [3.0] * 4, prompts=("a", "b", "c", "d"))
    evaluate(two[1], "late", rows, model="/models/other")
    report = read(*two)
    notes = " ".join(report["comparison"]["notes"])
    assert "different prompts: all 2 of first, second · start, second · sft (4 prompts); second · late" in notes
    assert not any("second · late" in row.values() for g in report["comparison"]["groups"] for row in g["win_rates"])
    assert (report["num_prompts"], [len(e["answers"]) for e in report["examples"]]) == (8, [4] * 4 + [1] * 4)


def test_other_judges_and_other_limits_are_said(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", texts=TEXTS, scores=[0.0] * 4)
    second = write_run(tmp_path / "second", texts=TEXTS, scores=[0.0] * 4, judge="another", max_new_tokens=44)
    report = read(first, second)
    notes = report["comparison"]["notes"]
    assert any("not comparable between judges: all 2 of first (judge" in note for note in notes)
    assert "all 2 of first cut after 36 tokens; all 2 of second cut after 44 tokens" in notes[1]
    pairs = {(r["version"], r["over"]) for group in report["comparison"]["groups"] for r in group["win_rates"]}
    assert ("first · sft", "first · start") in pairs and ("first · sft", "second · sft") not in pairs


def test_of_very_many_versions_the_ends_and_the_newest_are_compared_and_that_is_said(two: tuple[Path, Path]) -> None:
    for i in range(18):
        evaluate(two[1], f"v{i:02}", answers(TEXTS, [float(i)] * 4), model=f"/m{i}")
    compared = read(*two)["comparison"]
    names = list(dict.fromkeys(row["version"] for row in compared["groups"][0]["win_rates"]))
    # 22 versions; 16 are both ends of both runs and the 12 newest others.
    ends = ["first · start", "first · sft", "second · start"]
    assert names == [*ends, *(f"second · v{i:02}" for i in range(5, 18))]
    assert "Of 22 comparable versions 16 are set against each other" in compared["notes"][0]


def test_versions_without_answers_or_scores_are_said(two: tuple[Path, Path]) -> None:
    (next(two[0].glob("evaluate-start-*")) / "answers.jsonl").unlink()
    file = next(two[1].glob("evaluate-start-*")) / "answers.jsonl"
    file.write_text(file.read_text().replace('"judge_score": 0.0', '"judge_score": null'))
    notes = read(*two)["comparison"]["notes"]
    assert "Not comparable, no answers were kept: first · start." in notes
    assert "second · start (not judged)" in notes[0]


def test_nested_results_become_dotted_names() -> None:
    acc = estimate(0.5, 100)
    results = {
        "version": "sft",
        "tasks": {"arc_easy": {"acc": acc, "n": 100, "shots": 0, "leaked": False}},
        "pairs": [{"name": "a", "win_rate": acc}, {"win_rate": acc}, {"name": "a", "win_rate": acc}],
        "nothing": None,
        "curve": [1, 2, 3],
    }
    assert list(flatten(results)) == [
        ("tasks.arc_easy.acc", acc),
        ("tasks.arc_easy.n", 100),
        ("tasks.arc_easy.shots", 0),
        ("pairs.a.win_rate", acc),
        ("pairs.1.win_rate", acc),
        ("pairs.a.2.win_rate", acc),
    ]


def benchmarks(root: Path, value: float = 0.42) -> Path:
    """A kind of stage that the report has never heard of."""
    sft = next(root.glob("sft-*")).name
    return write_stage(
        root,
        "benchmarks",
        "camelid.evaluate.tasks.run_tasks",
        files={"results.json": {"tasks": {"arc_easy": {"acc": estimate(value, 400), "n": 400, "shots": 5}}}},
        inputs={"model": read_from(f"runs/elsewhere/{sft}/model")},
    )


def test_a_new_kind_of_stage_is_in_table_csv_and_json_without_code(two: tuple[Path, Path], tmp_path: Path) -> None:
    benchmarks(two[0])
    assert main(["report", *map(str, two), "--out", str(tmp_path / "out")]) == 0
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert (tmp_path / "out" / "figures" / "measures-run-tasks.png").exists()
    assert "run tasks (3 measures)" in page.text and "tasks.arc_easy.acc 400 0.42 ± 0.05" in page.text
    rows = list(csv.DictReader((tmp_path / "out" / "report.csv").open()))
    row = next(row for row in rows if row["measure"] == "tasks.arc_easy.acc")
    # 0.42 +- 1.96 sqrt(.42 * .58 / 400) = 0.42 +- 0.0484; of the version whose model the stage read
    assert (row["run"], row["version"], row["value"], row["n"]) == ("first", "sft", "0.42", "400")
    assert float(row["low"]) == pytest.approx(0.3716, abs=1e-4)
    assert tuple(rows[0]) == COLUMNS
    twin = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(twin["measures"]) == len(rows) - 4 * 3  # each of 4 versions over 3 others
    over = [row for row in rows if row["measure"] == "win_rate_over.second · sft" and row["version"] == "sft"]
    assert [(row["run"], row["value"], row["n"], row["stage"]) for row in over] == [("first", "0.375", "4", "")]
    assert [run["name"] for run in twin["runs"]] == ["first", "second"]


def test_the_figure_of_new_measures_draws_shares_and_says_what_it_leaves_out() -> None:
    about = {"run": "a", "version": "sft", "stage": "tasks"}
    rows = [about | {"measure": f"task-{i}"} | estimate(0.5, 100) for i in range(14)]
    rows += [about | {"measure": "length"} | estimate(70.0, 100, spread=9.0)]
    panel = intervals_panel(rows)
    assert panel is not None and panel.caption.endswith("Not drawn: 2 more measures.")
    assert panel.alt.endswith("task-11, sft: 0.50.") and "task-12" not in panel.alt and "length" not in panel.alt
    assert intervals_panel(rows[-1:]) is None
    assert render(panel, LIGHT).startswith(b"\x89PNG")


def test_what_a_trainer_measured_is_not_its_start_models(two: tuple[Path, Path]) -> None:
    reward = {"accuracy": estimate(0.7, 50), "num_train": 10}
    inputs = {"model": read_from("/models/tiny-base")}  # what the reward model began as: also the version `start`
    write_stage(
        two[0],
        "reward",
        "camelid.train.reward.train_reward",
        files={"accuracy.json": reward},
        inputs=inputs,
        outputs=["model/config.json"],
    )
    row = next(row for row in read(two[0])["measures"] if row["measure"] == "accuracy")
    assert (row["version"], row["stage"]) == ("reward", "reward")


def test_a_version_evaluated_twice_is_told_apart(two: tuple[Path, Path]) -> None:
    evaluate(two[0], "sft", answers(TEXTS, [0.0] * 4, prompts=("a", "b", "c", "d")), model="/m", stage="on-others")
    report = read(two[0])
    names = ["start", "sft (evaluate-sft)", "sft (on-others)"]
    assert [version["version"] for version in report["versions"]] == names
    assert {row["version"] for row in report["measures"]} == set(names)
    assert "sft (on-others) (4 prompts)" in report["comparison"]["notes"][0]


def test_a_folder_of_results_alone(tmp_path: Path) -> None:
    for name in ("arc", "piqa"):
        (tmp_path / "found" / name).mkdir(parents=True)
        (tmp_path / "found" / name / "results.json").write_text(json.dumps({"acc": estimate(0.5, 20)}))
    report = read(tmp_path / "found")
    assert [(row["stage"], row["measure"], row["n"]) for row in report["measures"]] == [
        ("arc", "acc", 20),
        ("piqa", "acc", 20),
    ]
    text = Page(render_page(report, [[]])).text
    assert "No version was evaluated" in text and "All versions, all measures" not in text


def test_conversations_are_limited_evenly_and_counted(two: tuple[Path, Path]) -> None:
    report = read(*two, conversations=2)
    shown = [example["prompt"][0]["content"] for example in report["examples"]]
    assert shown == ["Why is the sea salty?", "How do I kill a Python process?"]  # places 0 and 2 of 4
    assert "2 of 4 prompts" in Page(render_page(report, [[], [], []])).text


def test_formulas_are_disarmed_and_numbers_kept() -> None:
    for text in ("=1+1", "@SUM(A1)", "+1", "-1", "\t=1", " =1", "＝1"):
        assert guarded(text) == f"'{text}"
    assert guarded(-0.25) == -0.25 and guarded("sft") == "sft" and guarded(None) is None
    row = dict.fromkeys(COLUMNS) | {"run": "a", "version": '=HYPERLINK("x")', "value": -0.1 - 0.2}
    line = next(csv.DictReader(measures_csv([row]).splitlines()))
    assert line["version"] == '\'=HYPERLINK("x")' and float(line["value"]) == -0.1 - 0.2 and line["n"] == ""


def test_foreign_names_of_runs_stages_and_measures_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    root = write_run(tmp_path / "run", texts=(ATTACK, *TEXTS[1:]), scores=[0.0] * 4)
    write_stage(root, "other", f"x.{ATTACK}", files={"results.json": {ATTACK: {ATTACK: estimate(0.5, 9)}}})
    (source,) = read_sources([str(root)])
    raw = render_page(gather([replace(source, name=ATTACK), source], ATTACK, 100), [[], [], []])
    page = Page(raw)
    assert ATTACK not in raw and len(page.scripts) == 1 and not page.all("img")
    assert page.text.count(" ".join(ATTACK.split())) > 20


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "run.json").write_text("{"), "run.json: no JSON"),
        (lambda root: (root / "run.json").write_text("[]"), "run.json: a JSON object is wanted, this is a list"),
        (lambda root: stage_file(root, "results.json").write_text('{"version": "sft", '), "results.json: no JSON"),
        (lambda root: stage_file(root, "results.json").write_text("[1]"), "a JSON object is wanted, this is a list"),
        (lambda root: stage_file(root, "results.json").write_text('{"version": 3}'), "no 'version'"),
        (lambda root: results(root, refusals=7), "Refused: unsafe lies in an object, this is none"),
        (lambda root: results(root, judge_score=0.3), "Judge's score: all is 0.3, not an estimate"),
        (lambda root: results(root, acc=estimate(0.5, 9) | {"low": "a"}), "acc has low 'a', which is no number"),
        (lambda root: results(root, acc=estimate(0.5, 9) | {"value": float("nan")}), "acc has value nan"),
        (lambda root: stage_file(root, "manifest.json").write_text('{"function": "f"}'), "manifest.json: no stage"),
        (lambda root: results(root, refusals_by_source={"a": 1}), "refusals_by_source is wanted as objects"),
        (lambda root: trained(root, accuracy=0.5), "accuracy.json: Accuracy: all pairs is 0.5, not an estimate"),
        (lambda root: trained(root, by_rating={"better": {"accuracy": 1}}), "by_rating is wanted as objects"),
        (lambda root: sampled(root, {"points": [{"n": 1, "mean": None}]}), "point 1 has no number for mean"),
        (lambda root: sampled(root, {}), "curve.json: the points of a curve are a list"),
        (lambda root: scored(root, '"judge_score": NaN'), "line 1: judge_score is nan, which is no number"),
        (lambda root: scored(root, '"judge_score": "good"'), "line 1: judge_score is 'good', which is no number"),
        (lambda root: stage_file(root, "answers.jsonl").write_text("{}\n"), "answers.jsonl, line 1: an answer has"),
        (lambda root: stage_file(root, "answers.jsonl").write_text('{"a": 1}\n{\n'), "answers.jsonl, line"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str], spoil: Any, said: str
) -> None:
    spoil(two[0])
    assert main(["report", str(two[0])]) == 1
    error = capsys.readouterr().err
    assert said in error and str(two[0]) in error and error.count("\n") == 1


def stage_file(root: Path, name: str) -> Path:
    return next(root.glob("evaluate-sft-*")) / name


def scored(root: Path, text: str) -> None:
    file = stage_file(root, "answers.jsonl")
    file.write_text(file.read_text().replace('"judge_score": 1.0', text, 1))


def trained(root: Path, **accuracy: Any) -> None:
    write_stage(root, "reward", "camelid.train.reward.train_reward", files={"accuracy.json": accuracy})


def sampled(root: Path, curve: dict[str, Any]) -> None:
    write_stage(root, "best", "camelid.train.rejection.sample_best", files={"curve.json": curve})


def results(root: Path, **changed: Any) -> None:
    file = stage_file(root, "results.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def test_folders_that_are_no_runs_and_names_that_clash(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    enter(tmp_path / "begun", "sft", tmp_path / "begun" / "sft-00000000")
    (tmp_path / "again").mkdir()
    write_run(tmp_path / "again" / "first", texts=TEXTS, scores=[0.0] * 4)
    for words, said in (
        (["empty"], "is no run (no run.json) and holds no results.json"),
        (["missing"], "no such folder"),
        (["again"], "it holds runs: name those that you want"),
        (["begun"], "none of its 1 stages is finished"),
        (["first", "again/first"], "two runs are named 'first'"),
        (["first", "first"], "two runs are named 'first'"),
    ):
        assert main(["report", *(str(tmp_path / word) for word in words), "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert said in error and str(tmp_path / words[-1]) in error
    report = read(two[0], f"other={tmp_path / 'again' / 'first'}")
    assert [run["name"] for run in report["runs"]] == ["first", "other"]


def test_unfinished_stages_are_said(two: tuple[Path, Path]) -> None:
    enter(two[0], "round-1/ppo", two[0] / "round-1/ppo-00000000")
    assert "Not finished, so not shown: round-1/ppo." in read(two[0])["notes"]


def test_json_is_one_object_in_percent(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(two[0]), "--out", str(tmp_path / "out"), "--title", "mine", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["versions"][1]["win_rate"] == 60.0 and answer["versions"][1]["refused"]["unsafe"] == 40.0
    assert answer["comparable"] == [["start", "sft"]]
    assert Path(answer["html"]).exists() and "<h1>mine</h1>" in Path(answer["html"]).read_text()
    assert [Path(card).name for card in answer["cards"]] == ["start.md", "sft.md"]
