"""What every foreign format is reduced to before it becomes a record, and what keeps a row from becoming one.

A reason reads `category: detail; mend`; rows are counted by the category.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from camelid.types import Conversation, Message, Messages, Preference, Prompt, Ranking, Record, Role, reasons

Row = dict[str, Any]
R = TypeVar("R", bound=Record)

ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
"""Names of the speakers in the field's files. Tools and functions are missing: our records have no such turns."""


class Unfit(ValueError):
    """A row that cannot become the record that was asked for, as `category: detail; mend`."""


class Draft(NamedTuple):
    """A row's turns, not yet checked, with the two answers of a preference or the K completions of a ranking."""

    turns: Messages
    chosen: str | None = None
    rejected: str | None = None
    tags: tuple[str, ...] = ()
    undecided: str = ""
    """Why a comparison has no verdict, as a reason; such a row only gives its prompt."""
    completions: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    """One a completion, the smallest for the best."""
    answer: str = ""
    """What a verifiable reward compares with (`types.Prompt.answer`)."""


def text(value: Any, field: str) -> str:
    """`value` if it is text that can be stored; raises Unfit naming the field."""
    if not isinstance(value, str):
        kind = "missing" if value is None else f"a {type(value).__name__}"
        raise Unfit(f"no text: {field} is {kind}; write text there")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit(
                f"broken character: {field} holds half of a surrogate pair; write the character whole"
            ) from None
    return value


def message(role: Any, content: Any, number: int) -> Message:
    """A turn from a foreign role name and its text. `number` counts the list's entries from 1."""
    known = ROLES.get(role.casefold()) if isinstance(role, str) else None
    if known is None:
        raise Unfit(f"unknown role: {role!r} in entry {number}; roles are {', '.join(ROLES)}")
    return Message(role=known, content=text(content, f"entry {number} ({role})"))


def entries(value: Any, field: str) -> list[Row]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Unfit(f"no list of turns: {field} must be a list of objects")
    return value


def conversation_turns(turns: list[Message], system: str = "") -> Messages:
    """Turns with the system text that stands beside them. An empty system text is none."""
    if turns and turns[0].role == "system" and not turns[0].content.strip():
        turns = turns[1:]
    if not system.strip():
        return tuple(turns)
    if turns and turns[0].role == "system":
        raise Unfit("two system texts: one beside the turns and one among them; keep one")
    return (Message(role="system", content=system), *turns)


def pair(chosen: Messages, rejected: Messages) -> Draft:
    """The preference in two whole conversations, which may differ in their last turn only."""
    if chosen[:-1] != rejected[:-1]:
        shared = zip(chosen[:-1], rejected[:-1], strict=False)
        same = next((i for i, (a, b) in enumerate(shared) if a != b), min(len(chosen), len(rejected)) - 1)
        raise Unfit(
            f"unequal prompts: chosen has {len(chosen)} turns, rejected {len(rejected)}, "
            f"and they part at turn {same + 1}, before the answer; a pair needs one prompt"
        )
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns or turns[-1].role != "assistant":
            raise Unfit(f"no answer: {name} does not end with the assistant; add the answer or drop the pair")
    return Draft(chosen[:-1], chosen[-1].content, rejected[-1].content)


def check(messages: Messages, last: Role) -> None:
    """Raise Unfit, naming turn and mend, where `types.check_turns` would refuse.

    Turns count from 1 without the system's.
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise Unfit("no turns: the conversation is empty; drop the row")
    if turns[0].role == "assistant":
        raise Unfit("starts with the assistant: turn 1; drop it or put the user's turn before it")
    for number, (turn, before) in enumerate(zip(turns, (None, *turns), strict=False), 1):
        if turn.role == "system":
            raise Unfit(
                f"system message inside: turn {number}; only the first message may be the system's, move it there"
            )
        if before is not None and turn.role == before.role:
            raise Unfit(
                f"two turns in a row by one role: turns {number - 1} and {number} ({turn.role}); merge them or drop one"
            )
        if not turn.content.strip():
            answer = number == len(turns) and turn.role == "assistant"
            what = "empty answer" if answer else "empty turn"
            raise Unfit(f"{what}: turn {number} ({turn.role}) has no text; write it or drop the row")
    if turns[-1].role != last:
        mend = "cut it off or add the answer" if last == "assistant" else "cut it off or ask for conversations"
        raise Unfit(f"ends with the {turns[-1].role}: turn {len(turns)}; {mend}")


def natural(draft: Draft) -> type[Record]:
    """The record that a draft is by itself."""
    if draft.completions:
        return Ranking
    if draft.chosen is not None:
        return Preference
    return Conversation if draft.turns and draft.turns[-1].role == "assistant" else Prompt


def to_record(draft: Draft, want: type[R], *, source: str, licence: str) -> R:
    """The record of type `want` in a draft. A conversation or a preference gives its prompt where prompts are wanted.

    Raises Unfit where the draft holds no such record.
    """
    fields: Row = {"source": source, "licence": licence, "tags": draft.tags}
    if want is Prompt:
        answered = (
            draft.chosen is None and not draft.completions and draft.turns and draft.turns[-1].role == "assistant"
        )
        prompt = draft.turns[:-1] if answered else draft.turns
        check(prompt, last="user")
        return want.model_validate(fields | {"prompt": prompt, "answer": draft.answer})
    if want is Conversation:
        if draft.chosen is not None or draft.completions:
            what = "ranking" if draft.completions else "preference"
            raise Unfit(f"a {what}: a conversation was asked for; ask for {what}s or prompts")
        check(draft.turns, last="assistant")
        return want.model_validate(fields | {"messages": draft.turns})
    if want is Preference:
        return want.model_validate(fields | _answers(draft))
    if want is Ranking:
        try:
            return want.model_validate(fields | _ranked(draft))
        except ValidationError as error:
            raise Unfit(f"no order: {reasons(error)}") from None
    raise Unfit(
        f"no {want.__name__}: only the format camelid carries it; ask for preferences, conversations or prompts"
    )


def _answers(draft: Draft) -> Row:
    if draft.undecided:
        raise Unfit(draft.undecided)
    if draft.chosen is None or draft.rejected is None:
        raise Unfit("no preference: the row has no two answers; ask for conversations or prompts")
    check(draft.turns, last="user")
    for name, answer in (("chosen", draft.chosen), ("rejected", draft.rejected)):
        if not answer.strip():
            raise Unfit(f"empty answer: {name} has no text; write it or drop the pair")
    if draft.chosen == draft.rejected:
        raise Unfit("equal answers: chosen and rejected are the same; drop the pair")
    return {"prompt": draft.turns, "chosen": draft.chosen, "rejected": draft.rejected}


def _ranked(draft: Draft) -> Row:
    if not draft.completions:
        raise Unfit("no ranking: the row has no completions with ranks; ask for preferences, conversations or prompts")
    check(draft.turns, last="user")
    empty = [place for place, text in enumerate(draft.completions, 1) if not text.strip()]
    if empty:
        raise Unfit(f"empty answer: completion {empty[0]} has no text; write it or leave it out with its rank")
    return {"prompt": draft.turns, "completions": draft.completions, "ranks": draft.ranks}


def to_draft(record: Record) -> Draft:
    """The draft from which `to_record` makes `record` again, less its rating, safety labels, annotator, id and tags."""
    if isinstance(record, Conversation):
        return Draft(record.messages)
    if isinstance(record, Preference):
        return Draft(record.prompt, record.chosen, record.rejected)
    if isinstance(record, Ranking):
        return Draft(record.prompt, completions=record.completions, ranks=record.ranks)
    if type(record) is Prompt:
        return Draft(record.prompt, answer=record.answer)
    raise Unfit(f"no place: only the format camelid carries a {type(record).__name__}; write that")
