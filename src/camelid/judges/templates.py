"""Questions with placeholders: filled in one pass, read from files, checked before anything is asked.

A file is plain text, plain text with `<|im_start|>system` and `<|im_start|>user` parts (AlpacaEval), or FastChat's JSON
Lines with `prompt_template`, `system_prompt` and `defaults` (Vicuna, MT-bench). A placeholder is a word of small
letters, digits and _ in single braces; any other brace is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from camelid.types import Message, Messages

FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
PART = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders filled, in one pass: a `{question}` inside an answer stays as it is."""
    return FIELD.sub(lambda field: values.get(field[1], field[0]), text)


class Template(NamedTuple):
    """What is asked, before it is filled in."""

    user: str
    system: str = ""

    @property
    def fields(self) -> frozenset[str]:
        """Names of the placeholders."""
        return frozenset(FIELD.findall(self.system + self.user))

    def messages(self, values: Mapping[str, str]) -> Messages:
        """The filled question."""
        system = (Message(role="system", content=fill(self.system, values)),) if self.system else ()
        return (*system, Message(role="user", content=fill(self.user, values)))


Kinds = Mapping[str, frozenset[str]]
"""Kinds of question that a way asks, and the placeholders that each must have; the first is the general one."""


def read_templates(path: Path, kinds: Kinds, form: str) -> dict[str, Template]:
    """The questions of a file, by kind. `form`: pairwise or single; FastChat's rows of another form are passed over.

    A question's kind is the one whose placeholders it has; where several have the same, the row's category names it.
    Raises ValueError naming the file, and the placeholders that are missing or unknown.
    """
    text = path.read_text(encoding="utf-8")
    if not text.strip():
        raise ValueError(f"{path} is empty; write the question with {_braced(next(iter(kinds.values())))}")
    rows = _json_rows(path, text)
    if rows is None:
        template = _plain(text)
        return {_kind(template, "", kinds, str(path)): template}
    found: dict[str, Template] = {}
    for number, row in rows:
        if row.get("type", form) != form:
            continue
        place = f"{path}, line {number}"
        template = _fastchat(row, place)
        kind = _kind(template, str(row.get("category", "")), kinds, place)
        if kind in found:
            raise ValueError(f"{place}: a second question for {kind}; leave one")
        found[kind] = template
    if not found:
        raise ValueError(f"{path} has no {form} question")
    return found


def _json_rows(path: Path, text: str) -> list[tuple[int, dict[str, Any]]] | None:
    """(line number, row) of JSON Lines; None where the file is no JSON Lines but text."""
    if path.suffix not in (".jsonl", ".json"):
        return None
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: no JSON ({error.msg}); one object a line is wanted") from None
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: no JSON object")
            rows.append((number, row))
    return rows


def _plain(text: str) -> Template:
    parts = {role: content.strip() for role, content in PART.findall(text)}
    return Template(parts["user"], parts.get("system", "")) if "user" in parts else Template(text)


def _fastchat(row: dict[str, Any], place: str) -> Template:
    user, system, defaults = row.get("prompt_template"), row.get("system_prompt", ""), row.get("defaults", {})
    if not isinstance(user, str) or not isinstance(system, str) or not isinstance(defaults, dict):
        raise ValueError(f"{place}: not a question of FastChat's: prompt_template and system_prompt must be texts")
    return Template(fill(user, {str(name): str(value) for name, value in defaults.items()}), system)


def _kind(template: Template, category: str, kinds: Kinds, place: str) -> str:
    """The kind whose placeholders a template has. Raises ValueError naming what is missing or unknown."""
    fits = [kind for kind, fields in kinds.items() if fields == template.fields]
    if fits:
        return category if category in fits else fits[0]
    nearest = min(kinds, key=lambda kind: len(kinds[kind] ^ template.fields))
    missing, unknown = kinds[nearest] - template.fields, template.fields - kinds[nearest]
    problems = [f"lacks {_braced(missing)}"] * bool(missing) + [f"has the unknown {_braced(unknown)}"] * bool(unknown)
    raise ValueError(f"{place}: the question {' and '.join(problems)}; it needs {_braced(kinds[nearest])}")


def _braced(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))
