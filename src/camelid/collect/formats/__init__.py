"""The field's row formats, a module each with `parse(row)` and `render(draft)`; here they are named and told apart.

| format | carries | loses |
|---|---|---|
| camelid | everything | nothing |
| openai | conversations, prompts | ids, tags, a prompt's answer (trl carries it), an empty system turn |
| sharegpt, alpaca, trl | conversations, prompts, preferences | the same; ratings, safety labels, annotators |
| hh | preferences | the same; refuses a system turn and a speaker's mark inside a turn |
| ranked | rankings, and their pairs as preferences | the same; safety labels, annotators |
| judged | preferences of published comparisons | only read |
| questions | prompts of evaluation sets | only read |
| rationales | prompts with their answer; conversations that reason, then answer | only read |
| xstest | prompts with their kind as tags | only read |

Left out: tool calls, images, unpaired labels and step labels, which our records have no place for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from camelid.collect.drafts import Draft, Row
from camelid.collect.formats import alpaca, hh, judged, openai, questions, ranked, rationales, sharegpt, trl, xstest
from camelid.collect.own import is_own

FormatName = Literal[
    "camelid", "openai", "sharegpt", "alpaca", "hh", "trl", "ranked", "judged", "questions", "rationales", "xstest"
]


class Format(NamedTuple):
    """A foreign format. `parse` and `render` raise Unfit; render(parse(row)) means what row means."""

    parse: Callable[[Row], Draft]
    render: Callable[[Draft], Row]


FORMATS: dict[str, Format] = {
    "openai": Format(openai.parse, openai.render),
    "sharegpt": Format(sharegpt.parse, sharegpt.render),
    "alpaca": Format(alpaca.parse, alpaca.render),
    "hh": Format(hh.parse, hh.render),
    "trl": Format(trl.parse, trl.render),
    "ranked": Format(ranked.parse, ranked.render),
    "judged": Format(judged.parse, judged.render),
    "questions": Format(questions.parse, questions.render),
    "rationales": Format(rationales.parse, rationales.render),
    "xstest": Format(xstest.parse, xstest.render),
}
"""The foreign formats; `camelid` itself is read and written as records."""


def recognise(row: Row) -> FormatName | None:
    """The format that a row's keys show, or None. The order matters: many rows carry the keys of several."""
    if is_own(row):
        return "camelid"
    if hh.is_hh(row):
        return "hh"
    if isinstance(row.get("chosen"), list) and isinstance(row.get("rejected"), list):
        return "trl"  # before openai: UltraFeedback's rows have `messages` too
    if ranked.is_ranked(row):
        return "ranked"
    if isinstance(row.get("messages"), list):
        return "openai"
    if isinstance(row.get("conversations"), list):
        return "sharegpt"
    if judged.is_judged(row):
        return "judged"
    if isinstance(row.get("instruction"), str):
        return "alpaca"
    if xstest.is_xstest(row):
        return "xstest"
    if row.get("prompt") is not None:
        return "trl"
    if rationales.is_reasoned(row):
        return "rationales"
    return "questions" if questions.is_question(row) else None


def detect(rows: Iterable[Row]) -> FormatName | None:
    """The format of most rows, or None where no row shows any."""
    votes = Counter(name for row in rows if (name := recognise(row)))
    return votes.most_common(1)[0][0] if votes else None


def parser(name: str) -> Format:
    """The foreign format of that name. Raises ValueError for an unknown one."""
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}; one of camelid, {', '.join(FORMATS)}, or auto")
    return FORMATS[name]
