"""The stage `decontaminate`: planted items with words changed, short items, tags, real benchmarks."""

from __future__ import annotations

import json

import pytest

from camelid.curate.decontaminate import DecontaminateSettings, decontaminate
from camelid.functional.contamination import overlaps, shared
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, Message, iterate_json_lines, read_records, write_records
from real_data import DATA, needs_data

LONG = "A farmer sells nine baskets of apples and four crates of pears on a rainy market day in June."  # 19 words
CHANGED = LONG.replace("four", "five").replace("rainy", "sunny")  # places 9 and 15
ALL_CHANGED = LONG.replace("nine", "ten").replace("four", "five")  # no ten words on end are left
SHORT = "Which river flows through Paris?"


def conversation(name, question, answer="I do not know, and would have to look it up first."):
    return Conversation(
        id=name, messages=(Message(role="user", content=question), Message(role="assistant", content=answer))
    )


def run(tmp_path, rows, items, name="items.jsonl", inputs=(), **settings):
    write_records(tmp_path / "rows.jsonl", rows)
    (tmp_path / name).write_text("".join(json.dumps(item) + "\n" for item in items))
    given = {"rows": tmp_path / "rows.jsonl", "evaluation": tmp_path / name} | dict(inputs)
    stage = Stage("clean", decontaminate, DecontaminateSettings(**settings), given)
    path = execute([stage], tmp_path / "runs")["clean"]
    return path, read_manifest(path)["metrics"]


def test_planted_items_are_found_with_words_changed_and_the_rest_is_kept(tmp_path):
    rows = [
        conversation("asked", f"Please solve this. {LONG} How many?"),
        conversation("answered", "Tell me a story.", answer=f"He said: {LONG.upper()} And went."),
        conversation("late changes", LONG.replace("market", "summer") + " So?"),
        conversation("many changes", ALL_CHANGED),
        conversation("short", "which river flows through PARIS"),
        conversation("short inside", SHORT + " And which through London?"),
        conversation("other", "What is the height of the tower?"),
    ]
    path, metrics = run(tmp_path, rows, [{"id": 1, "question": LONG}, {"id": 2, "question": SHORT}])
    kept = [row.id for row in read_records(path / "rows.jsonl", Conversation)]
    assert kept == ["many changes", "short inside", "other"]
    found = {row["id"]: row for row in iterate_json_lines(path / "contaminated.jsonl")}
    assert found["asked"]["share"] == 1.0 and found["asked"]["item"].endswith("line 1")
    # Words 1 to 16 are equal, `market` is not, `day in June` are: 18 of 19.
    assert found["late changes"]["share"] == pytest.approx(18 / 19)
    assert found["short"]["item"].endswith("line 2")
    (counts,) = metrics["by_evaluation_file"].values()
    assert counts == {"items": 2, "short_items": 1, "items_found": 2, "rows": 4}
    assert (metrics["read"], metrics["kept"], metrics["contaminated"]) == (7, 3, 4)


def test_the_share_decides_and_any_run_may(tmp_path):
    rows = [conversation("a part", " ".join(LONG.split()[:11]) + " grapes.")]  # 11 words of 19: 58%
    assert run(tmp_path, rows, [{"q": LONG}], least_share=0.6)[1]["contaminated"] == 0
    assert run(tmp_path, rows, [{"q": LONG}], least_share=0.5)[1]["contaminated"] == 1
    longer = [{"q": f"{LONG} " + " ".join(f"word{i}" for i in range(60))}]  # 11 of 79: 14%
    assert run(tmp_path, rows, longer)[1]["contaminated"] == 0
    assert run(tmp_path, rows, longer, least_share=0)[1]["contaminated"] == 1


def test_rows_may_be_tagged_and_short_items_ignored_and_fields_chosen(tmp_path):
    rows = [conversation("a", SHORT), conversation("b", LONG)]
    path, metrics = run(tmp_path, rows, [{"question": SHORT, "more": LONG}], fields=("question",), action="tag")
    assert [row.tags for row in read_records(path / "rows.jsonl", Conversation)] == [("contaminated",), ()]
    assert metrics["kept"] == 2
    ignoring = run(tmp_path, rows, [{"question": SHORT}], short_items="ignore")[1]
    assert ignoring["contaminated"] == 0
    with pytest.raises(ValueError, match="holds no text under answer"):
        run(tmp_path, rows, [{"question": SHORT}], fields=("answer",))


def test_tokens_may_be_a_model_s(tmp_path, tied_llama):
    rows = [conversation("a", f"So: {SHORT} And why?")]
    item = [{"question": "x " + SHORT}]  # five words, and more than ten tokens
    assert run(tmp_path, rows, item)[1]["contaminated"] == 0
    assert run(tmp_path, rows, item, inputs={"model": tied_llama}.items())[1]["contaminated"] == 1


def test_what_a_row_holds_is_the_union_of_its_runs():
    item = [f"w{i}" for i in range(40)]
    row = [*item[:12], "x", "x", "x", "x", "x", *item[25:38]]  # 12 and 13 tokens, five that differ between
    (pair,) = shared([item], [["y"], row])
    assert (pair.item, pair.row, pair.tokens) == (0, 1, 25)
    (whole,) = overlaps([item], [["y"], row])
    assert whole.contaminated == 25 and whole.rows == (1,)


@needs_data
def test_real_items_in_real_rows(tmp_path):
    """WizardLM's test prompts, planted among real rows: all are found, and next to nothing else."""
    rows = json.loads((DATA / "conversations/alpaca_random_9k.json").read_text())[:4000]
    made = [
        conversation(f"real-{i}", row["instruction"] + "\n" + row["input"], row["output"] or "-")
        for i, row in enumerate(rows)
    ]
    items = [json.loads(line) for line in (DATA / "prompts/wizardlm_test_218.jsonl").open()]
    texts = [item["Instruction"] for item in items]
    planted = [conversation(f"planted-{i}", text) for i, text in enumerate(texts) if len(text.split()) > 12]
    path, _ = run(tmp_path, [*made, *planted], [{"q": text} for text in texts])
    found = {row["id"] for row in iterate_json_lines(path / "contaminated.jsonl")}
    assert {row.id for row in planted} <= found
    assert len(found) - len(planted) <= 5  # of 4,000 real rows
