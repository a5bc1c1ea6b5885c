"""TRL's rows (its dataset_formats.md): a preference, a prompt with its completion, or a prompt alone.

    {"prompt": ..., "chosen": ..., "rejected": ...}    {"prompt": ..., "completion": ...}    {"prompt": ...}

Each value is text or a list of messages. Without a prompt, `chosen` and `rejected` are whole conversations that part at
the last turn. Written as lists of messages. A prompt alone may have an `answer`, which verifiable rewards compare with:
a text or a number; anything else there is left out, as other columns are.
"""

from __future__ import annotations

from typing import Any

from camelid.collect.drafts import Draft, Row, Unfit, conversation_turns, message, pair, text
from camelid.collect.formats import hh
from camelid.collect.formats.openai import dump, openai_messages
from camelid.types import Message, Messages


def parse(row: Row) -> Draft:
    prompt = _trl_prompt(row.get("prompt"))
    if row.get("label") is False:
        raise Unfit(
            "labelled as bad: this completion is no demonstration; camelid has no unpaired preferences, drop it"
        )
    if row.get("chosen") is not None or row.get("rejected") is not None:
        return pair(*(_with_answer(prompt, row.get(name), name) for name in ("chosen", "rejected")))
    if row.get("completion") is not None:
        return Draft(_with_answer(prompt, row["completion"], "completion"))
    answer = row.get("answer")
    return Draft(prompt, answer=str(answer) if type(answer) in (str, int, float) else "")


def _trl_prompt(value: Any) -> Messages:
    if value is None:
        return ()
    if isinstance(value, list):
        return conversation_turns(openai_messages(value, "prompt"))
    if hh.is_dialogue(value) and value.rstrip(" ").endswith("\n\nAssistant:"):
        return hh.parse_dialogue(value.rstrip(" ").removesuffix("\n\nAssistant:"))
    return (message("user", value, 1),)


def _with_answer(prompt: Messages, answer: Any, field: str) -> Messages:
    """The whole conversation; the answer may be text, the messages after the prompt, or already the whole."""
    if not isinstance(answer, list):
        return (*prompt, Message(role="assistant", content=text(answer, field)))
    turns = conversation_turns(openai_messages(answer, field))
    if not turns or turns[0].role == "assistant":
        return (*prompt, *turns)
    if any(turn not in turns for turn in prompt):
        raise Unfit(f"two prompts: {field} is a whole conversation, and the prompt beside it is not in it; keep one")
    return turns


def render(draft: Draft) -> Row:
    def answer(words: str | None) -> list[Row]:
        return [{"role": "assistant", "content": words}]

    if draft.chosen is not None:
        return {"prompt": dump(draft.turns), "chosen": answer(draft.chosen), "rejected": answer(draft.rejected)}
    if draft.turns[-1].role == "user":
        return {"prompt": dump(draft.turns)} | ({"answer": draft.answer} if draft.answer else {})
    return {"prompt": dump(draft.turns[:-1]), "completion": dump(draft.turns[-1:])}
