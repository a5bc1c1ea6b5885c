"""Model cards: a head that YAML reads, a lineage found in manifests, numbers with intervals, nothing made up."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pytest
import yaml

from camelid.evaluate.report.card import MARK, write_cards
from camelid.evaluate.report.card_text import code, plain, table
from camelid.evaluate.report.gather import gather
from camelid.evaluate.report.lineage import lineage
from camelid.evaluate.report.sources import read_source, read_sources
from report_example import estimate
from report_runs import answers, digest, evaluate, read_from, write_run, write_stage
from test_report_page import ATTACK

TEXTS = ("Because of salt.", "I can't help with that.", "Use kill.", "An apple.")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", texts=TEXTS, scores=[1.0, 1.0, 0.0, 0.0])


def cards(folder: Path, *runs: Path) -> dict[str, str]:
    sources = read_sources([str(run) for run in runs])
    written = write_cards(sources, gather(sources, "title", 0), folder)
    return {path.stem: path.read_text() for path in written}


def head(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_head_is_yaml_with_base_tags_and_all_estimates(run: Path, tmp_path: Path) -> None:
    read = head(cards(tmp_path / "cards", run)["sft"])
    assert read["base_model"] == "tiny-base" and read["tags"] == ["camelid", "sft"]
    assert "license" not in read  # no manifest states it
    (index,) = read["model-index"]
    values = {metric["type"]: metric["value"] for metric in index["results"][0]["metrics"]}
    assert values == {"refusals.unsafe": 0.4, "refusals.borderline": 0.1, "win_rate_vs_start": 0.6}


def test_data_method_and_numbers_come_from_the_manifests(run: Path, tmp_path: Path) -> None:
    card = cards(tmp_path / "cards", run)["sft"]
    assert "Made by camelid 0.1.0 (commit `8494c7a`) in stage `sft` of `run`." in card
    assert f"`tiny-base`, SHA-256 `{digest('/models/tiny-base')}`. The manifests do not state its licence." in card
    assert "| `data/demonstrations` | 4 | `demonstrations.jsonl` | Apache-2.0 (3), not stated (1) |" in card
    assert "| `sft` | `train_sft` | model: `tiny-base`; demonstrations: `data/demonstrations` | 1 min 05 s |" in card
    assert 'sft: {"learning_rate": 0.003}' in card
    # 0.6 of 4: 1.96 * sqrt(0.6 * 0.4 / 4) = 0.4801
    assert "| `win_rate_vs_start` | 0.6 | 0.1199 | 1 | 4 | `evaluate-sft` |" in card
    assert "4 prompts; inputs: model: `sft`" in card and "temperature 0.7; max_new_tokens 36." in card


def test_what_was_not_measured_is_said(run: Path, tmp_path: Path) -> None:
    card = cards(tmp_path / "cards", run)["sft"]
    limits = card.partition("## Limits")[2]
    assert "Not measured for this version: Win rate: equal length; Win rate: vs. previous;" in limits
    assert "Win rate: vs. start" not in limits
    assert "The numbers come from `evaluate-sft` alone" in limits
    assert "reward model" not in limits  # no manifest of a judge: nothing is said of one


def test_a_model_from_outside_has_no_training(run: Path, tmp_path: Path) -> None:
    card = cards(tmp_path / "cards", run)["start"]
    assert "base_model" not in head(card)
    assert (
        "it came from outside" in card and "No training stage lies behind this model" in card and "Apache" not in card
    )


def test_numbers_of_other_stages_on_the_same_model_are_on_the_card(run: Path, tmp_path: Path) -> None:
    sft = next(run.glob("sft-*")).name
    inputs = {"model": read_from(f"runs/elsewhere/{sft}/model")}
    files = {"results.json": {"toxicity": estimate(0.02, 500)}}
    write_stage(run, "safety", "camelid.evaluate.safety.run_safety", files=files, inputs=inputs)
    written = cards(tmp_path / "cards", run)
    assert "| `toxicity` | 0.02 |" in written["sft"] and "toxicity" not in written["start"]


def test_lineage_follows_all_inputs_but_not_the_evaluations_own(run: Path) -> None:
    write_stage(run, "judge", "camelid.train.reward.train_reward", outputs=["model/config.json"])
    source = read_source("run", run)
    evaluation = next(manifest for _, manifest in source.stages if manifest["stage"] == "evaluate-sft")
    line = lineage(source, evaluation)
    assert [manifest["stage"] for _, manifest in line.stages] == ["data/demonstrations", "sft"]
    assert line.base == read_from("/models/tiny-base")


def test_cards_of_an_earlier_report_go_and_other_files_stay(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "old.md").write_text(f"---\n---\n{MARK}\n")
    (folder / "mine.md").write_text("my own notes")
    cards(folder, run)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.md", "sft.md", "start.md"]


def test_names_that_become_one_file_name_get_numbers(run: Path, tmp_path: Path) -> None:
    for version in ("a b", "a-b"):
        evaluate(run, version, answers(TEXTS, [0.0] * 4), model=f"/models/{version}")
    assert {"a-b", "a-b-2"} <= cards(tmp_path / "cards", run).keys()


def test_foreign_words_stay_words(run: Path, tmp_path: Path) -> None:
    evil = f'{ATTACK} | [click](http://x) `code`\n---\nlicense: "mit"'
    (next(run.glob("data/demonstrations-*")) / "rows.jsonl").write_text('{"licence": "a | <b> [c](d)"}\n')
    evaluate(run, "evil", answers(TEXTS, [0.0] * 4), model="/models/evil", **{evil: estimate(0.5, 4)})
    written = cards(tmp_path / "cards", run)
    assert r"a \| &lt;b&gt; \[c\](d) (1)" in written["sft"]
    read = head(written["evil"])
    assert "license" not in read and read["model-index"][0]["results"][0]["metrics"][-1]["type"] == evil
    body = written["evil"].split("\n---\n", 1)[1]
    assert len([line for line in body.splitlines() if "click" in line]) == 1  # one row of one table, in a code span


def test_markdown_pieces() -> None:
    assert plain("a*b_c <i>\n#d") == r"a\*b\_c &lt;i&gt; \#d"
    assert html.unescape(plain("<i>").replace("\\", "")) == "<i>"
    assert code("a`b|c\nd") == r"`a'b\|c d`" and code("") == ""
    assert table(("a", "b"), [["1", "2"]], right=(1,)) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
