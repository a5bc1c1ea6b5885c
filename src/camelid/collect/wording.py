"""Words in which a teacher is asked: files of them, ours or a user's, and texts with places to fill."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from camelid.types import reasons

W = TypeVar("W", bound=BaseModel)
PLACE = re.compile(r"\{(\w+)\}")


def read_wording(path: Path, kind: type[W]) -> W:
    """A JSON file of the form of `kind`. Raises ValueError with what is wrong with it."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is no file of wording: {reasons(error)}") from None


def with_places(text: str, *names: str) -> str:
    """The text, or ValueError unless it has each place, written {name}, once and no other."""
    found = PLACE.findall(text)
    if sorted(found) != sorted(names):
        wanted, has = (", ".join(f"{{{name}}}" for name in some) or "none" for some in (names, found))
        raise ValueError(f"wanted are the places {wanted}, once each; {text[:40]!r} has {has}")
    if not text.strip():
        raise ValueError("the text is empty")
    return text


def filled(text: str, **values: str) -> str:
    """The text with its places filled; places that stand in a value stay as they are."""
    return PLACE.sub(lambda place: values[place[1]], text)
