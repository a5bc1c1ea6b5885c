"""Self-instruct's filters and novelty: known answer 6 on the real rows, planted copies, every rule, wrong files."""

import json
import random
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.curate.instructions import Instruction, distinct, instruction_of
from camelid.functional.instruction_filters import count_reasons, unfit
from camelid.functional.near_copies import near_copies
from camelid.functional.rouge import rouge_l, rouge_words
from real_data import DATA, needs_data

ALPACA = [
    str(DATA / "conversations" / f"alpaca_{name}.json")
    for name in ("random_9k", "claude_t45", "helpfulness_t45", "cherry_5pct")
]


def answer(capsys, *words: str) -> dict:
    assert main(["data", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@needs_data
@pytest.mark.parametrize("rules", ["self-instruct", "alpaca"])
def test_the_filters_flag_no_alpaca_row(capsys, rules):
    printed = answer(capsys, "filter", *ALPACA, "--rules", rules)
    assert (printed["n"], printed["flagged"], printed["reasons"]) == (17_387, 0, {})


@needs_data
def test_no_two_alpaca_instructions_are_near_copies_and_planted_ones_are_found(tmp_path, capsys):
    rows = json.loads(Path(ALPACA[0]).read_text())
    long = [row["instruction"] for row in rows if len(rouge_words(row["instruction"])) >= 9]
    planted = []
    for number, instruction in enumerate(random.Random(0).sample(long, 40)):
        words = instruction.split()
        if number % 3 == 0:
            words[len(words) // 2] = "zzyzx"  # one word changed
        elif number % 3 == 1:
            words = [*words, "please"]
        else:
            words = [word.upper() + "!" for word in words]
        planted.append({"instruction": " ".join(words), "input": "", "output": "."})
    path = tmp_path / "planted.json"
    path.write_text(json.dumps(planted))
    printed = answer(capsys, "novelty", *ALPACA, str(path))
    assert printed["n"] == 17_387 + 40
    found = {pair["second"]["row"] for pair in printed["pairs"] if pair["second"]["file"] == str(path)}
    assert len(found) == printed["not_novel"] == 40
    among_alpaca = [
        pair for pair in printed["pairs"] if str(path) not in (pair["first"]["file"], pair["second"]["file"])
    ]
    assert among_alpaca == []  # known answer 6
    for pair in printed["pairs"]:
        both = (rouge_words(pair[side]["instruction"]) for side in ("first", "second"))
        assert pair["rouge_l"] == rouge_l(*both) > 0.7


@needs_data
def test_the_search_equals_all_pairs_on_real_instructions():
    words = [rouge_words(row["instruction"]) for row in json.loads(Path(ALPACA[2]).read_text())[:700]]
    brute = [(i, j) for i in range(700) for j in range(i + 1, 700) if rouge_l(words[i], words[j]) > 0.5]
    assert len(brute) > 10
    assert [(pair.first, pair.second) for pair in near_copies(words, 0.5)] == brute


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("Name three colours.", "too short: 3 words"),
        ("Name the three colours.", ""),
        ("word " * 150, ""),
        ("word " * 151, "too long: 151 words"),
        ("Describe the picture of a horse.", "blacklist: picture"),
        ("DRAW a horse for me.", "blacklist: draw"),
        ("Tell me where to go to school.", "blacklist: go to"),
        ("Describe a withdrawal, a filename and mapping.", ""),  # whole words only
        ("Write a program that adds numbers.", "asks for a program"),
        ("write a program that adds numbers.", ""),  # as in the original, which looks at the capital
        ("Then: Write a program that adds.", ""),
        ("- Tell me a joke.", "starts with punctuation: '-'"),
        ("¿Who is the king of Spain?", "starts with a character outside ASCII: '¿'"),
        ("Recommend some music for dinner.", ""),
    ],
)
def test_rules_of_self_instruct(instruction, reason):
    assert unfit(instruction) == reason


def test_alpaca_adds_words():
    assert unfit("Recommend some music for dinner.", "alpaca") == "blacklist: music"
    assert unfit("Describe the picture of a horse.", "alpaca") == "blacklist: picture"


def test_unknown_rules():
    with pytest.raises(ValueError, match="unknown rules 'mine'; there are self-instruct, alpaca"):
        unfit("Name the three colours.", "mine")  # type: ignore[arg-type]


def test_reasons_are_counted_by_rule():
    assert count_reasons(["too short: 2 words", "", "too short: 1 words", "asks for a program"]) == {
        "too short": 2,
        "asks for a program": 1,
    }


@pytest.mark.parametrize(
    ("row", "instruction"),
    [
        ({"instruction": "Do it.", "input": "x"}, "Do it."),
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Do it."}]}, "Do it."),
        ({"conversations": [{"from": "human", "value": "Do it."}, {"from": "gpt", "value": "Done."}]}, "Do it."),
        ({"prompt": "Do it.", "completion": "Done."}, "Do it."),
        ({"prompt": [{"role": "user", "content": "Do it."}]}, "Do it."),
        ({"text": "Once upon a time"}, None),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, None),
    ],
)
def test_where_the_instruction_stands(row, instruction):
    assert instruction_of(row) == instruction


def test_rows_that_repeat_another_in_full_are_dropped():
    rows = [Instruction("a", "f", line, {"instruction": "a", "output": out}) for line, out in enumerate("xyx")]
    kept, repeats = distinct(rows)
    assert ([row.number for row in kept], repeats) == ([0, 1], 1)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"instruction": "Name the four largest rivers of Europe.", "output": "1"},
        {"instruction": "Name the four longest rivers of Europe.", "output": "2"},  # 6 of 7 words: 0.857
        {"instruction": "Draw the coast of Norway.", "output": "3"},
        {"output": "no instruction"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_novelty_names_both_rows(file, capsys):
    assert main(["data", "novelty", str(file)]) == 0
    captured = capsys.readouterr()
    assert "rows.jsonl:1" in captured.out
    assert "rows.jsonl:2" in captured.out
    assert "0.857" in captured.out
    assert "1 pairs above ROUGE-L 0.7; 1 repeat an earlier instruction" in captured.out
    assert "1 hold no instruction" in captured.err
    assert answer(capsys, "novelty", str(file), "--threshold", "0.9")["near_copies"] == 0


def test_filter_writes_what_is_kept(file, tmp_path, capsys):
    output = tmp_path / "kept.jsonl"
    printed = answer(capsys, "filter", str(file), "--output", str(output))
    assert printed["reasons"] == {"blacklist": 1}
    assert printed["rows_without_instruction"] == 1
    assert [json.loads(line)["output"] for line in output.read_text().splitlines()] == ["1", "2"]
    assert main(["data", "filter", str(file)]) == 0
    assert "1 of 3 instructions are filtered" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["novelty", "filter"])
def test_files_without_instructions(tmp_path, capsys, verb):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "Once upon a time"}\n')
    assert main(["data", verb, str(path)]) == 1
    assert "no instruction in" in capsys.readouterr().err
    assert main(["data", verb, str(tmp_path / "absent.jsonl")]) == 1
    assert "absent.jsonl" in capsys.readouterr().err
