"""The page of a pool: its numbers are those of the rows, near copies are found, odd pools do not break it."""

from __future__ import annotations

import json

import pytest

from camelid.cli import main
from camelid.evaluate.pool.measures import nearest_pairs
from camelid.evaluate.pool.page import write_pool_page
from camelid.types import Conversation, Message
from real_data import DATA, needs_data


def row(*texts: str, source: str = "mine", licence: str = "MIT") -> Conversation:
    messages = tuple(Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(texts))
    return Conversation(messages=messages, source=source, licence=licence)


ROWS = [
    row("Write a poem about the sea.", "Waves."),
    row("Write a poem about the sea!", "Waves and wind."),
    row("Write a story about a dog", "Once upon a time.", "And then?", "It barked."),
    row("Translate the sentence into French", "Oui.", source="yours", licence=""),
    row("What is a dog?", "An animal <script>alert(1)</script>."),
    row("Translate the story into Greek", "Nai.", source="<b>bold</b>"),
]


def test_its_numbers_are_those_of_the_rows(tmp_path):
    found = write_pool_page(ROWS, tmp_path, title="a pool", topics=2)
    assert found["n"] == 6 and found["source"] == {"mine": 4, "yours": 1, "<b>bold</b>": 1}
    assert found["licence"] == {"MIT": 5, "not stated": 1} and found["turns"] == {"1": 5, "2": 1}
    assert found["verbs"][0] == ["write", "poem", 2] and sum(n for *_, n in found["verbs"]) == 5
    assert found["words"]["instruction"]["0.0"] == 4 and found["words"]["answers"]["1.0"] == 6
    assert sum(topic["rows"] for topic in found["topics"]) == 6
    assert json.loads((tmp_path / "pool.json").read_text()) == found
    page = (tmp_path / "report.html").read_text()
    assert "<b>bold</b>" not in page and "&lt;b&gt;bold&lt;/b&gt;" in page  # other people's text is escaped
    assert (tmp_path / "figures/topics.png").read_bytes().startswith(b"\x89PNG")
    near = next(line for line in (tmp_path / "tables.md").read_text().splitlines() if line.startswith("| 1.000"))
    assert "about the sea." in near and "about the sea!" in near


def test_each_row_is_in_one_pair_and_the_nearest_come_first():
    import numpy as np

    points = np.array([[1.0, 0], [0.99, 0.141], [0, 1.0], [0.1, 0.995], [0.98, 0.199]])
    pairs = nearest_pairs(points, [10, 11, 12, 13, 14], 5)
    assert [(p.first, p.second) for p in pairs] == [(11, 14), (12, 13)]
    assert pairs[0].similarity == pytest.approx(points[1] @ points[4], abs=1e-3)


def test_a_pool_of_one_row_has_a_page_without_a_map(tmp_path):
    found = write_pool_page(ROWS[:1], tmp_path, title="one", topics=5)
    assert found["topics"] == [] and "No map of topics" in (tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match="no rows"):
        write_pool_page([], tmp_path, title="none", topics=5)


def test_the_command(tmp_path, capsys):
    file = tmp_path / "rows.json"
    file.write_text(
        json.dumps([{"instruction": f"Name {n} dogs", "input": "", "output": "Rex"} for n in range(4)] + [{"x": 1}])
    )
    assert main(["data", "report", str(file), "--out", str(tmp_path / "page")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page/report.html")
    assert "1 rows of rows.json do not fit" in (tmp_path / "page/report.html").read_text()
    assert main(["data", "report", str(file), "--out", str(tmp_path / "page"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 4
    assert main(["data", "report", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


@needs_data
def test_real_rows_of_alpaca(tmp_path):
    file = DATA / "conversations/alpaca_claude_t45.json"
    assert main(["data", "report", str(file), "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "pool.json").read_text())
    assert found["n"] > 4000 and len(found["topics"]) == 12
    assert [pair[0] for pair in found["verbs"][:3]].count("generate") or found["verbs"][0][0] in (
        "write",
        "create",
        "generate",
    )
    assert found["language"]["en"] > 0.9 * found["n"]
