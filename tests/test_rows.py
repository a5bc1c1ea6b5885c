"""Rows of any small file alike, what is no row named with file and place; estimates as the commands show them."""

import json

import pytest

from camelid.commands.shown import from_keys, in_percent, in_units, percent_keys
from camelid.functional.statistics import Estimate, bootstrap_mean
from camelid.rows import columns, finite, read_rows, read_values

ROWS = [{"a": "one\u2028two", "b": "x, y; z"}, {"a": "line\nbreak", "b": ""}]


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("f.json", json.dumps({"annotations": ROWS}), ["row 1", "row 2"]),
        ("f.json", json.dumps(ROWS, indent=1), ["row 1", "row 2"]),
        ("f.json", "\ufeff" + json.dumps(ROWS, ensure_ascii=False), ["row 1", "row 2"]),
        ("f.json", json.dumps({"summary": {}, "verdicts": ROWS}), ["row 1", "row 2"]),
        ("f.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in ROWS), ["line 1", "line 3"]),
        ("f.csv", 'a,b\r\n"one\u2028two","x, y; z"\r\n"line\nbreak",\r\n', ["row 1", "row 2"]),
        ("f.csv", '\ufeffa;b\n"one\u2028two";"x, y; z"\n"line\nbreak";\n', ["row 1", "row 2"]),
        ("f.tsv", 'a\tb\none\u2028two\tx, y; z\n"line\nbreak"\t\n', ["row 1", "row 2"]),
    ],
)
def test_all_containers_hold_the_same_rows(tmp_path, name, content, places):
    path = written(tmp_path / name, content)
    rows = read_rows(path)
    assert [row.values for row in rows] == ROWS
    assert [row.place for row in rows] == [f"{path}, {place}" for place in places]
    assert [row.number for row in rows] == [1, 2]
    assert columns(rows) == ["a", "b"]


def test_one_object_over_many_lines_is_one_row(tmp_path):
    path = written(tmp_path / "f.jsonl", "\n" + json.dumps(ROWS[0], indent=2))
    assert [(row.place, row.values) for row in read_rows(path)] == [(f"{path}, line 2", ROWS[0])]


@pytest.mark.parametrize(
    ("content", "values"),
    [("", []), ("[]", []), ("[1, 2]", [1, 2]), ("[1, 2]\n[3]\n", [[1, 2], [3]]), ("[[1, 2]]", [[1, 2]]), ("7", [7])],
)
def test_values_that_are_no_objects(tmp_path, content, values):
    assert [value.value for value in read_values(written(tmp_path / "f.json", content))] == values


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("f.json", "", "f.json is empty; rows with a prompt are wanted"),
        ("f.json", " \n", "f.json is empty"),
        ("f.json", "[]", "f.json is empty"),
        ("f.csv", "a,b\n", "f.csv is empty"),
        ("f.json", '[{"a": 1}, "b"]', 'f.json, row 2: a JSON object with a prompt is wanted, not str "b"'),
        ("f.jsonl", '{"a": 1}\n\n3', "f.jsonl, line 3: a JSON object with a prompt is wanted, not int 3"),
        (
            "f.jsonl",
            '{"a": 1}\n{"a": \n',
            "line 2: no JSON (Expecting value); a JSON array, one object a line",
        ),
        ("f.json", '[{"a": 1},\n{"a": }]', "f.json, line 2: no JSON (Expecting value)"),
        ("f.json", '{"a": 1,\n"b": 2,\n}', "f.json, line 3: no JSON"),
        ("f.txt", "hello", "f.txt, line 1: no JSON (Expecting value); a JSON array, one object a line or a .csv"),
        ("f.csv", "a,b\n1,2\n1,2,3\n", "f.csv, row 2: not as many fields as the header; quote fields that hold ','"),
        ("f.csv", "a,b\n1\n", "f.csv, row 1: not as many fields"),
        ("f.csv", 'a,b\n"1\r2",\0\r"', "f.csv"),
        ("f.csv", "gr\xfcn,b\n".encode("latin-1"), "f.csv is no text in UTF-8 (invalid start byte, byte 2)"),
        ("f.json", b"\x1f\x8b\x08", "unpack it, convert it"),
        ("f.json", "[" * 100_000, "f.json: brackets nested too deep"),
        ("f.json", '{"a": ' + "9" * 5000 + "}", "f.json: a number with thousands of digits"),
        ("f.json", '{"a": 1}\n{"a": ' + "9" * 5000 + "}", "f.json, line 2: a number with thousands of digits"),
    ],
)
def test_what_is_no_row_is_named_with_its_place(tmp_path, name, content, said):
    with pytest.raises(ValueError) as error:
        read_rows(written(tmp_path / name, content), "a prompt")
    assert f"{tmp_path}" in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), (0.5, 0.5), *((wrong, None) for wrong in (True, "3", None, float("nan"), -float("inf"), 10**400, [1]))],
)
def test_what_is_a_finite_number(value, number):
    assert finite(value) == number


def test_a_folder_and_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="is a folder; give a file"):
        read_rows(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_rows(tmp_path / "nowhere.json")


def test_estimates_are_shown_in_one_way():
    share = Estimate(0.5, 0.25, 0.75, 8, 0.125)
    assert in_percent(share) == in_percent(share._asdict()) == "50.0 [25.0, 75.0]"
    assert in_units(share, 1, "+") == "+0.5 [+0.2, +0.8]"
    assert in_units(None) == in_percent(None) == ""
    unknown = {"value": 3.0, "low": None, "high": None, "standard_error": None, "n": 1}  # as a file has it
    assert in_units(unknown, 1) == "3.0 (no interval)"
    assert percent_keys("won", share) == {"won": 50, "won_interval": [25, 75], "won_n": 8}
    assert from_keys(percent_keys("won", share), "won") == "50.0 [25.0, 75.0]"
    assert in_units(bootstrap_mean([2.0]), 1) == "2.0 (no interval)"
