"""Rankings of K completions: the record, the format, the pairs in it, what is set aside."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from camelid.cli import main
from camelid.collect.readers import look, read
from camelid.collect.stage import ImportSettings, import_data
from camelid.collect.writers import write
from camelid.runs import Stage, execute
from camelid.types import Conversation, Message, Preference, Prompt, Ranking, kind_of, read_records

ASKED = (Message(role="user", content="Say hi."),)
RANKING = Ranking(
    id="r",
    source="me",
    licence="CC0-1.0",
    tags=("unsafe",),
    prompt=ASKED,
    completions=("hi", "no", "hello", "ho"),
    ranks=(2, 7, 2, 1),
    kind="safety",
    safe=(True, False, None, True),
    annotator="me",
)
ROW = {"prompt": "Say hi.", "completions": ["hi", "no", "hello"], "ranks": [1, 2, 1]}


def rows_file(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# --- the record ---


def test_its_pairs_are_all_but_the_tied_ones():
    assert RANKING.pairs == ((0, 1), (2, 1), (3, 0), (3, 1), (3, 2))  # six less the tie of 0 and 2
    pairs = RANKING.preferences()
    assert [(p.id, p.chosen, p.rejected, p.chosen_safe, p.rejected_safe) for p in pairs[:2]] == [
        ("r-0-1", "hi", "no", True, False),
        ("r-2-1", "hello", "no", None, False),
    ]
    assert {(p.prompt, p.kind, p.rating, p.source, p.licence, p.tags, p.annotator) for p in pairs} == {
        (ASKED, "safety", None, "me", "CC0-1.0", ("unsafe",), "me")
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranks": (1, 2)}, "2 ranks for 4 completions; give one for each"),
        ({"safe": (True,)}, "1 safe for 4 completions"),
        ({"ranks": (3, 3, 3, 3)}, r"ranks \[3, 3, 3, 3\] put nothing before anything else"),
        ({"completions": ("a",), "ranks": (1,), "safe": ()}, r"ranks \[1\] put nothing before"),
        ({"completions": ("a", "b", "a", "c")}, None),
        ({"completions": ("a", "a", "b", "c")}, "one completion has the ranks 2 and 7; give equal texts one rank"),
    ],
)
def test_an_order_that_is_none_is_an_error(changes, message):
    values = RANKING.model_dump() | changes
    if message is None:  # equal texts with equal ranks
        assert len(Ranking.model_validate(values).pairs) == 5
        return
    with pytest.raises(ValidationError, match=message):
        Ranking.model_validate(values)


def test_a_wrong_row_of_a_file_is_named_with_its_line(tmp_path):
    good = RANKING.model_dump(mode="json")
    path = rows_file(tmp_path / "r.jsonl", good, good | {"ranks": [1, 2]})
    with pytest.raises(ValueError, match=r"r\.jsonl, line 2: not a Ranking: 2 ranks for 4 completions"):
        read_records(path, Ranking)


def test_a_verdict_says_itself_what_it_is_on_and_tags_say_it_of_other_rows():
    assert kind_of(RANKING) == "safety"
    pair = RANKING.preferences()[0]
    assert kind_of(pair.model_copy(update={"kind": "helpfulness"})) == "helpfulness"  # though its prompt is unsafe
    assert [kind_of(Prompt(prompt=ASKED, tags=tags)) for tags in ((), ("unsafe",), ("x", "borderline"))] == [
        "helpfulness",
        "safety",
        "safety",
    ]


# --- files ---


def test_a_file_is_recognised_and_read_whatever_the_prompts_layout(tmp_path):
    turns = [{"role": "user", "content": "Say hi."}]
    path = rows_file(tmp_path / "r.jsonl", ROW, ROW | {"prompt": turns, "ranks": [3, 1, 2]})
    assert look(path) == ("ranked", Ranking)
    found = read(path, want=Ranking, licence="CC0-1.0")
    assert [(r.prompt, r.completions, r.ranks, r.licence, r.source) for r in found.rows] == [
        (ASKED, ("hi", "no", "hello"), ranks, "CC0-1.0", "r.jsonl") for ranks in ((1, 2, 1), (3, 1, 2))
    ]


def test_our_own_rows_keep_everything_and_the_format_keeps_the_order(tmp_path):
    write([RANKING], tmp_path / "own.jsonl", "camelid")
    assert look(tmp_path / "own.jsonl") == ("camelid", Ranking)
    assert read(tmp_path / "own.jsonl", want=Ranking).rows == [RANKING]
    write([RANKING], tmp_path / "out.jsonl", "ranked")
    [again] = read(tmp_path / "out.jsonl", want=Ranking).rows
    assert (again.prompt, again.completions, again.ranks) == (RANKING.prompt, RANKING.completions, RANKING.ranks)


@pytest.mark.parametrize("own", [True, False])
def test_a_ranking_gives_its_pairs_and_its_prompt(tmp_path, own):
    path = rows_file(tmp_path / "r.jsonl", RANKING.model_dump(mode="json") if own else ROW, {"prompt": "Why?"})
    found = read(path, want=Preference)
    pairs = RANKING.preferences() if own else [("hi", "no"), ("hello", "no")]
    assert [(p.chosen, p.rejected) for p in found.rows] == [(p.chosen, p.rejected) if own else p for p in pairs]
    assert set(found.lines) == {1} and [row.line for row in found.set_aside] == [2]
    assert read(path, want=Prompt).rows[0].prompt == ASKED
    assert not read(path, want=Conversation).rows


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ranks": [1, 2]}, "wrong number of ranks: 2 for 3 completions"),
        ({"ranks": [1, 2, 1.5]}, "no rank: 1.5; ranks are whole numbers"),
        ({"ranks": [1, True, 2]}, "no rank: True"),
        ({"ranks": [4, 4, 4]}, "no order: ranks [4, 4, 4] put nothing before"),
        ({"completions": ["a", " ", "b"]}, "empty answer: completion 2 has no text"),
        ({"completions": ["a", 2, "b"]}, "no text: completion 2 is a int"),
        ({"completions": [], "ranks": []}, "no completions"),
        ({"prompt": None}, "no turns"),
    ],
)
def test_a_row_that_ranks_nothing_is_set_aside_with_its_reason(tmp_path, changes, reason):
    path = rows_file(tmp_path / "r.jsonl", ROW | changes, ROW)
    for want, kept in ((Ranking, 1), (Preference, 2)):
        found = read(path, want=want)
        assert len(found.rows) == kept
        assert [row.line for row in found.set_aside] == [1] and found.set_aside[0].reason.startswith(reason)


def test_a_format_without_a_place_for_rankings_refuses_them(tmp_path):
    for name in ("openai", "trl", "hh"):
        with pytest.raises(ValueError, match=r"row 1 \(id r\) does not fit .*: no place for a ranking: write ranked"):
            write([RANKING], tmp_path / "out.jsonl", name)
    with pytest.raises(ValueError, match="no ranking: only rankings have completions"):
        write([RANKING.preferences()[0]], tmp_path / "out.jsonl", "ranked")
    assert not (tmp_path / "out.jsonl").exists()


def test_the_import_stage_and_the_command_take_them(tmp_path, capsys):
    path = rows_file(tmp_path / "r.jsonl", ROW, ROW | {"ranks": [1, 1, 1]})
    for kind, number in (("rankings", 1), ("preferences", 2)):
        stage = Stage("data", import_data, ImportSettings(kind=kind), {"data": path})
        rows = execute([stage], tmp_path / "runs")["data"] / "rows.jsonl"
        assert len(rows.read_text().splitlines()) == number
    assert main(["data", "convert", str(path), str(tmp_path / "pairs.jsonl"), "--kind", "preferences"]) == 0
    assert [p.chosen for p in read_records(tmp_path / "pairs.jsonl", Preference)] == ["hi", "hello"]
