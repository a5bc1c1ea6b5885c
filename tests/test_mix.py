"""Mixtures: shares, draws, sources parted by what rows are on, LLaMA-2's two, what it costs to plan them."""

from __future__ import annotations

from collections import Counter

import pytest

from camelid.curate.mix import PRESETS, MixSettings, mix
from camelid.expected import Known
from camelid.plan import Devices, estimate_stage
from camelid.runs import Stage, execute, read_manifest
from camelid.types import KINDS, Conversation, Message, Preference, Prompt, Ranking, read_records, write_records
from test_plan import speed


def asked(text):
    return (Message(role="user", content=text),)


def preferences(name, number, kind="helpfulness", start=0):
    return [
        Preference(prompt=asked(f"{name} {i}?"), chosen="Yes.", rejected="No.", kind=kind, source=name)
        for i in range(start, start + number)
    ]


def run(tmp_path, settings, **sources):
    inputs = {}
    for name, rows in sources.items():
        inputs[name] = tmp_path / f"{name}.jsonl"
        write_records(inputs[name], rows)
    path = execute([Stage("mix", mix, settings, inputs)], tmp_path / "runs")["mix"]
    return read_records(path / "mixed.jsonl", KINDS[settings.kind]), read_manifest(path)["metrics"]


def test_shares_are_as_the_weights_and_rows_are_drawn_by_the_seed(tmp_path):
    sources = {"a": preferences("a", 90), "b": preferences("b", 30)}
    settings = MixSettings(kind="preferences", weights={"a": 2, "b": 1})
    rows, counts = run(tmp_path, settings, **sources)
    assert Counter(row.source for row in rows) == {"a": 60, "b": 30} and len({row.id for row in rows}) == 90
    assert counts["sources"]["a"] == {"available": 90, "taken": 60, "share": pytest.approx(2 / 3)}
    assert counts["num_mixed"] == 90
    again, _ = run(tmp_path, settings, **sources)
    other, _ = run(tmp_path, settings.model_copy(update={"seed": 1}), **sources)
    assert again == rows != other
    first = [row.source for row in rows[:30]]
    assert {"a", "b"} == set(first)  # the sources are mixed, not one after the other
    drawn = {int(row.prompt[0].content[2:-1]) for row in rows if row.source == "a"}
    assert drawn != set(range(60))


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (
            "conversations",
            lambda i: Conversation(messages=(*asked(f"{i}?"), Message(role="assistant", content="Yes."))),
        ),
        ("prompts", lambda i: Prompt(prompt=asked(f"{i}?"))),
        ("rankings", lambda i: Ranking(prompt=asked(f"{i}?"), completions=("a", "b"), ranks=(1, 2))),
    ],
)
def test_every_kind_of_row_can_be_mixed(tmp_path, kind, make):
    rows, _ = run(
        tmp_path,
        MixSettings(kind=kind, weights={"a": 1, "b": 3}),
        a=[make(i) for i in range(10)],
        b=[make(i) for i in range(10, 40)],
    )
    assert len(rows) == 40 and {type(row) for row in rows} == {KINDS[kind]}


def test_a_row_in_two_sources_belongs_to_the_first_and_counts_once(tmp_path):
    both = preferences("x", 5)
    named = [row.model_copy(update={"id": f"other-{i}", "source": "elsewhere"}) for i, row in enumerate(both)]
    settings = MixSettings(kind="preferences", weights={"b": 1, "a": 1})
    rows, counts = run(tmp_path, settings, a=[*both, *preferences("y", 9)], b=[*named, *named])
    assert counts["repeats_dropped"] == 10
    assert {name: found["available"] for name, found in counts["sources"].items()} == {"b": 5, "a": 9}
    assert Counter(row.source for row in rows) == {"elsewhere": 5, "y": 5}


def test_llama_2s_helpfulness_mixture_of_one_file_and_open_data(tmp_path):
    ours = [*preferences("helpful", 20), *preferences("safety", 15, "safety")]
    open_data = preferences("open", 85)
    write_records(tmp_path / "ours.jsonl", ours)
    write_records(tmp_path / "open.jsonl", open_data)
    inputs = {"helpful": tmp_path / "ours.jsonl", "rest": [tmp_path / "ours.jsonl", tmp_path / "open.jsonl"]}
    path = execute([Stage("mix", mix, PRESETS["llama-2-helpfulness"], inputs)], tmp_path / "runs")["mix"]
    rows = read_records(path / "mixed.jsonl", Preference)
    sources = Counter(row.source for row in rows)
    assert sources["helpful"] == 20 and sources["safety"] + sources["open"] == 20
    assert sources["open"] > sources["safety"]  # drawn from both alike: 17 and 3 of 20 are expected


def test_llama_2s_safety_mixture_is_nine_to_one(tmp_path):
    ours = [*preferences("helpful", 200), *preferences("safety", 45, "safety")]
    rows, counts = run(tmp_path, PRESETS["llama-2-safety"], safety=ours, helpful=ours)
    assert Counter(row.source for row in rows) == {"safety": 45, "helpful": 5}
    assert counts["kinds"] == {"helpfulness": 5, "safety": 45}


def test_what_does_not_fit_together_is_one_clear_error(tmp_path):
    rows = preferences("a", 3)
    for settings, message in (
        (MixSettings(kind="preferences", weights={"b": 1}), "weights are given for b, and the sources are a"),
        (MixSettings(kind="preferences"), "weights are given for nothing"),
        (MixSettings(kind="preferences", weights={"a": 1}, only={"z": "safety"}), "only = .*: z has no weight"),
        (MixSettings(kind="preferences", weights={"a": 1}, only={"a": "safety"}), "source a has no row left"),
        (MixSettings(kind="prompts", weights={"a": 1}), r"a\.jsonl, line 1: not a Prompt"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path, settings, a=rows)


def test_a_plan_knows_what_a_mixture_will_hold(tmp_path):
    write_records(tmp_path / "a.jsonl", preferences("a", 40))
    write_records(tmp_path / "b.jsonl", preferences("b", 9))
    inputs = {"a": tmp_path / "a.jsonl", "b": tmp_path / "b.jsonl"}
    known, devices = Known({}), Devices(speed(), None)
    for only, number in (({}, 18 + 9), ({"b": "safety"}, 9 + 4)):  # of one kind half are taken to be: 4.5 of b
        settings = MixSettings(kind="preferences", weights={"a": 2, "b": 1}, only=only)
        assert estimate_stage(Stage("mix", mix, settings, inputs), known, devices).state == "to do"
        left = known.left["mix"]["mixed.jsonl"]
        assert (left.number, left.answers) == (number, 2)
