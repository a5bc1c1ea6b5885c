"""What the teacher is asked: six ways of evolving an instruction, and whether two are equal. The words are ours."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from camelid.collect.wording import filled, with_places
from camelid.types import Message, Messages

OURS = Path(__file__).parent / "prompts.json"
Depth = Literal["constraints", "deepen", "concretise", "reasoning", "complicate-input"]
Kind = Literal[Depth, "breadth"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Five in depth, one in breadth (Xu et al. 2023, arXiv:2304.12244, section 3.2)."""


class Prompts(BaseModel):
    """A file of wording."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: str
    """Whose words these are."""
    in_depth: str
    """Asks for a harder instruction; has {method} and {instruction}."""
    methods: dict[Depth, str]
    """In which way it is made harder."""
    in_breadth: str
    """Asks for another one; has {instruction}."""
    equal: str
    """Asks whether anything was gained, to be answered with Equal or Not equal; has {first} and {second}."""
    copied: tuple[str, ...]
    """Phrases of these texts that no instruction would have by itself."""

    @model_validator(mode="after")
    def _whole(self) -> Prompts:
        with_places(self.in_depth, "method", "instruction")
        with_places(self.in_breadth, "instruction")
        with_places(self.equal, "first", "second")
        missing = [kind for kind in get_args(Depth) if not self.methods.get(kind, "").strip()]
        if missing:
            raise ValueError(f"methods has no {', '.join(missing)}")
        return self


def ask_to_evolve(prompts: Prompts, kind: Kind, instruction: str) -> Messages:
    if kind == "breadth":
        return _user(filled(prompts.in_breadth, instruction=instruction))
    return _user(filled(prompts.in_depth, method=prompts.methods[kind], instruction=instruction))


def ask_whether_equal(prompts: Prompts, first: str, second: str) -> Messages:
    return _user(filled(prompts.equal, first=first, second=second))


def read_equal(text: str) -> bool | None:
    """The verdict; None for any other reply."""
    return {"equal": True, "not equal": False}.get(" ".join(text.split()).strip(" .*\"'#").lower())


def _user(text: str) -> Messages:
    return (Message(role="user", content=text),)
