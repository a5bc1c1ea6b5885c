"""Settings as text: `--set stage.field=value` in, a table of names, values and help out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from camelid.runs import Settings
from camelid.types import reasons

M = TypeVar("M", bound=BaseModel)


def change(settings: M, assignments: Sequence[str]) -> M:
    """Settings with `a.b=value` applied in order. Raises ValueError naming the assignment and what is allowed.

    A value is read as JSON where it is JSON (`2`, `1e-4`, `true`, `["a.jsonl"]`, `null`), else as text. In place of a
    text only JSON's texts and null are read, so that a name may look like a number; in place of a list, a single value
    becomes a list of one.
    """
    values = settings.model_dump(mode="json")
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set {assignment}: write NAME=VALUE, such as sft.epochs=2")
        place = values
        *parents, leaf = name.split(".")
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None  # type: ignore[assignment]
        if not isinstance(place, dict) or leaf not in place:
            raise ValueError(f"--set {assignment}: no setting {name!r}; there are: {', '.join(_near(values, name))}")
        if isinstance(place[leaf], dict) and _is_table(settings, [*parents, leaf]):
            if not isinstance(_value(text, None), dict):
                raise ValueError(f"--set {assignment}: write a table as JSON, such as '{name}={{\"key\": 1}}'")
        elif isinstance(place[leaf], dict):
            raise ValueError(f"--set {assignment}: {name} is a group; set one of: {', '.join(sorted(place[leaf]))}")
        if isinstance(place[leaf], list) and text.startswith("[") and not _is_json(text):
            raise ValueError(f'--set {assignment}: write a list as JSON, such as \'{name}=["a", "b"]\'')
        place[leaf] = _value(text, place[leaf])
    try:
        return type(settings).model_validate(values)
    except ValidationError as error:
        raise ValueError(f"--set {' '.join(assignments)}: {reasons(error)}") from None


def describe(settings: BaseModel) -> str:
    """Every setting on a line: name, value, help text."""
    return "\n".join(f"  {name:<34} {_short(value):<22} {text}" for name, value, text in walk(settings))


def walk(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted name, value, help text) of every setting."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from walk(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value, " ".join((field.description or "").split())


def stage_settings(module: ModuleType) -> type[Settings]:
    """The settings class that a stage's module defines."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise ValueError(f"{module.__name__} must define one settings class, not {len(own)}")
    return own[0]


def presets(module: ModuleType) -> dict[str, Settings]:
    """A stage's settings as papers have them, by name: its module's PRESETS."""
    found: dict[str, Settings] = getattr(module, "PRESETS", {})
    return found


def starting_settings(module: ModuleType, preset: str = "") -> Settings:
    """A stage's defaults, or one of its presets. Raises ValueError with the names that there are."""
    if not preset:
        return stage_settings(module)()
    known = presets(module)
    if preset not in known:
        raise ValueError(f"--preset {preset}: this stage has {', '.join(known) or 'no presets'}")
    return known[preset]


def _is_table(settings: BaseModel, path: list[str]) -> bool:
    """Whether a setting is a table with free keys, not a group of settings."""
    value: Any = settings
    for name in path:
        value = getattr(value, name, None)
    return isinstance(value, dict)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _value(text: str, old: Any) -> Any:
    """What `text` means where `old` stands now."""
    value = json.loads(text) if _is_json(text) else text
    if isinstance(old, str) and not isinstance(value, str | None):
        return text
    return [value] if isinstance(old, list) and not isinstance(value, list) else value


def _near(values: dict[str, Any], name: str) -> list[str]:
    """Names on the level at which `name` went wrong."""
    place = values
    for part in name.split("."):
        if not isinstance(place.get(part), dict):
            break
        place = place[part]
    return sorted(place)


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(getattr(item, "name", str(item)) for item in value).replace("\n", "\\n") + "]"
    return str(value)
