"""`camelid eval contamination`: planted items, shares with their intervals, real benchmarks, wrong files."""

import json
import time
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.evaluate.contamination import contaminated
from camelid.functional.statistics import proportion
from camelid.rows import text_of
from real_data import DATA, needs_data

LONG = "A farmer sells nine baskets of apples and four crates of pears on a rainy market day in June."
OTHER = "Which of these rivers flows through more than three countries before it at last reaches the Black Sea?"
FIRST_13 = " ".join(OTHER.split()[:13])
THIRD = "Nobody had told the new librarian that the cellar door could not be opened from the inside at night."


def write(path: Path, rows: list) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_shares_and_the_rows_that_hold_an_item():
    report = contaminated([LONG, OTHER, "Too short.", THIRD], ["Nothing.", f"He wrote: {LONG.upper()} So.", FIRST_13])
    # OTHER's first 13 words of 18 stand in the last text: 72%, neither clean nor dirty.
    assert (report.num_items, report.too_short) == (4, 1)
    assert report.dirty == proportion(1, 3)
    assert report.not_clean == proportion(2, 3)
    assert report.exact_13 == proportion(2, 3)
    assert [(found.item, found.overlap.rows) for found in report.found] == [(0, (1,)), (1, (2,))]
    assert report.found[1].overlap.share == pytest.approx(13 / 18)


def test_tokens_of_ones_own():
    report = contaminated(["abcdefghijklmno"], ["xxabcdefghijklmnoxx"], tokens=list)
    assert report.dirty.value == 1.0
    with pytest.raises(ValueError, match="more than 10 tokens"):
        contaminated(["abcdefghijklmno"], ["xxabcdefghijklmnoxx"])


@pytest.mark.parametrize(("items", "texts"), [([], ["a"]), (["a"], [])])
def test_nothing_to_compare(items, texts):
    with pytest.raises(ValueError, match="need some of both"):
        contaminated(items, texts)


def test_text_of_a_row():
    row = {
        "id": "x",
        "question": "Why?",
        "choices": ["a", "b"],
        "gold": 1,
        "messages": [{"role": "user", "content": "c"}],
    }
    assert text_of(row) == "Why?\na\nb\nc"
    assert text_of(row, ["choices"]) == "a\nb"
    assert text_of(row, ["absent"]) == ""


@pytest.fixture
def files(tmp_path) -> tuple[str, str]:
    items = write(
        tmp_path / "items.jsonl", [{"question": LONG, "answer": "13"}, {"question": OTHER}, {"question": THIRD}]
    )
    return items, write(tmp_path / "train.jsonl", [{"instruction": "Hello.", "output": "Hi."}, {"instruction": LONG}])


def test_the_command_names_item_and_row(files, capsys):
    assert main(["eval", "contamination", files[0], "--train", files[1]]) == 0
    captured = capsys.readouterr()
    assert "items.jsonl:1" in captured.out
    assert "train.jsonl:2" in captured.out
    assert "dirty 33.33 [" in captured.out
    assert main(["eval", "contamination", files[0], "--train", files[1], "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["n"] == 3
    assert printed["dirty"]["percent"] == pytest.approx(100 / 3)
    assert printed["items"][0]["training_rows"] == ["train.jsonl:2"]


def test_fields_restrict_the_item(files, capsys):
    assert main(["eval", "contamination", files[0], "--train", files[1], "--fields", "nothing"]) == 1
    assert "holds no text under nothing" in capsys.readouterr().err


def test_a_models_tokens(files, tied_llama, capsys):
    words = ["eval", "contamination", files[0], "--train", files[1], "--tokenizer", str(tied_llama), "--json"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["items"][0]["item"] == "items.jsonl:1"
    assert printed["items"][0]["tokens"] > 19  # pieces of words


def test_an_empty_file(files, tmp_path, capsys):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert main(["eval", "contamination", files[0], "--train", str(empty)]) == 1
    assert "empty.jsonl holds no text" in capsys.readouterr().err


@needs_data
@pytest.mark.slow
def test_mmlu_against_twenty_thousand_rows_takes_seconds(tmp_path, capsys):
    benchmark = sorted(map(str, (DATA / "benchmarks" / "mmlu" / "test").glob("*.csv")))
    names = ("alpaca_random_9k", "alpaca_claude_t45", "alpaca_helpfulness_t45", "alpaca_cherry_5pct")
    train = [str(DATA / "conversations" / f"{name}.json") for name in names]
    planted = tmp_path / "planted.csv"
    planted.write_text(Path(benchmark[0]).read_text())  # a hundred items of MMLU themselves
    started = time.monotonic()
    assert main(["eval", "contamination", *benchmark, "--train", *train, str(planted), "--json"]) == 0
    assert time.monotonic() - started < 120
    printed = json.loads(capsys.readouterr().out)
    assert printed["n"] + printed["too_short"] == 14_042
    dirty = [item for item in printed["items"] if item["contaminated_percent"] >= 80]
    assert 90 <= len(dirty) <= 101
    assert all(item["training_rows"][0].startswith("planted.csv") for item in dirty)
