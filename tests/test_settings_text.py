"""`--set` and the tables of settings: what a word becomes, and that a wrong one is answered with the right ones."""

import types
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from camelid import settings_text
from camelid.runs import Settings


class Part(Settings):
    """A part."""

    rate: float = Field(default=0.5, gt=0)
    """How fast
    it goes."""
    size: int = 2
    name: str = "model"
    limit: int | None = None
    shape: Literal["round", "square"] = "round"
    flag: bool = False


class Whole(BaseModel):
    """Settings as a recipe has them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    part: Part = Part(size=7)
    """The part."""
    files: list[Path] = [Path("a.jsonl")]
    """Where from."""
    anything: Any = "text"


def test_without_assignments_nothing_changes():
    assert settings_text.change(Whole(), []) == Whole()


@pytest.mark.parametrize(
    ("assignment", "read", "expected"),
    [
        ("part.rate=1e-4", lambda s: s.part.rate, 1e-4),
        ("part.size=3", lambda s: s.part.size, 3),
        ("part.limit=4", lambda s: s.part.limit, 4),
        ("part.limit=null", lambda s: s.part.limit, None),
        ("part.flag=true", lambda s: s.part.flag, True),
        ("part.shape=square", lambda s: s.part.shape, "square"),
        ("part.name=a=b", lambda s: s.part.name, "a=b"),  # only the first = parts name and value
        ("part.name=", lambda s: s.part.name, ""),
        ("part.name=2", lambda s: s.part.name, "2"),  # a text stays a text, whatever it looks like
        ("part.name=true", lambda s: s.part.name, "true"),
        ('part.name="quoted"', lambda s: s.part.name, "quoted"),
        ("files=b.jsonl", lambda s: s.files, [Path("b.jsonl")]),
        ('files=["b.jsonl", "c.jsonl"]', lambda s: s.files, [Path("b.jsonl"), Path("c.jsonl")]),
    ],
)
def test_values_are_read_as_the_field_wants_them(assignment, read, expected):
    assert read(settings_text.change(Whole(), [assignment])) == expected


def test_the_other_settings_of_a_group_keep_what_the_recipe_gave_them():
    changed = settings_text.change(Whole(), ["part.rate=2"])
    assert changed.part == Part(rate=2, size=7)


def test_later_assignments_win():
    assert settings_text.change(Whole(), ["part.size=1", "part.size=9"]).part.size == 9


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("part.size", "write NAME=VALUE"),
        ("=3", "no setting ''; there are: anything, files, part"),
        ("prat.size=3", "no setting 'prat.size'; there are: anything, files, part"),
        ("part.sise=3", "no setting 'part.sise'; there are: flag, limit, name, rate, seed, shape, size"),
        ("part.size.more=3", "no setting 'part.size.more'; there are: flag, limit, name, rate, seed, shape, size"),
        ("part=3", "part is a group; set one of: flag, limit, name, rate, seed, shape, size"),
        ("part={}", "part is a group"),  # would put the class's defaults in place of the recipe's
        ("part.size=many", "part.size: Input should be a valid integer"),
        ("part.size=2.5", "part.size: Input should be a valid integer"),
        ("part.rate=0", "part.rate: Input should be greater than 0"),
        ("part.name=null", "part.name: Input should be a valid string"),
        ("part.shape=flat", "part.shape: Input should be 'round' or 'square'"),
        ("files=3", "files.0: Input"),
        ("files=[a.jsonl,b.jsonl]", 'write a list as JSON, such as \'files=["a", "b"]\''),
    ],
)
def test_wrong_words_name_what_is_allowed(assignment, said):
    with pytest.raises(ValueError) as caught:
        settings_text.change(Whole(), [assignment])
    assert str(caught.value).startswith(f"--set {assignment}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_setting_is_described_on_a_line():
    lines = settings_text.describe(Whole()).splitlines()
    names = [line.split()[0] for line in lines]
    parts = ["seed", "rate", "size", "name", "limit", "shape", "flag"]
    assert names == [f"part.{name}" for name in parts] + ["files", "anything"]
    assert lines[1].split(maxsplit=2) == ["part.rate", "0.5", "How fast it goes."]
    assert "[a.jsonl]" in lines[7]


def test_every_described_setting_can_be_set():
    for name, value, _ in settings_text.walk(Whole()):
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            assert settings_text.change(Whole(), [f"{name}={value}"]) == Whole()


def test_a_stage_has_exactly_one_settings_class_of_its_own():
    module = types.ModuleType("stage_module")
    module.Imported = Part
    with pytest.raises(ValueError, match="stage_module must define one settings class, not 0"):
        settings_text.stage_settings(module)
    module.Own = type("Own", (Settings,), {"__module__": "stage_module"})
    assert settings_text.stage_settings(module) is module.Own


def test_a_table_is_set_as_json_and_its_values_are_checked():
    from camelid.train.sft import SftSettings

    settings = settings_text.change(SftSettings(), ['tag_weights={"unsafe": 0.5, "short": 2}'])
    assert settings.tag_weights == {"unsafe": 0.5, "short": 2}
    for text, reason in (("unsafe", "write a table as JSON"), ('{"unsafe": -1}', "greater than or equal to 0")):
        with pytest.raises(ValueError, match=reason):
            settings_text.change(SftSettings(), [f"tag_weights={text}"])
