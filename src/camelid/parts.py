"""The parts of a record, whatever its type: its turns, its answers, its words."""

from __future__ import annotations

from camelid.types import Comparison, Conversation, Messages, Preference, Ranking, Record, RuleJudgement


def messages_of(record: Record) -> Messages:
    """The turns of a record, without the answers of a preference, comparison or ranking."""
    return record.messages if isinstance(record, Conversation) else getattr(record, "prompt", ())


def answers_of(record: Record) -> tuple[str, ...]:
    """The answers that the record is about: a conversation's last turn, a preference's chosen and rejected."""
    if isinstance(record, RuleJudgement):
        return (record.completion,)
    if isinstance(record, Conversation):
        return (record.messages[-1].content,)
    if isinstance(record, Preference):
        return (record.chosen, record.rejected)
    if isinstance(record, Ranking):
        return record.completions
    return (record.first, record.second) if isinstance(record, Comparison) else ()


def words_in(record: Record) -> int:
    """Words of all turns and answers, parted by white space."""
    turns = [message.content for message in messages_of(record)]
    answers = () if isinstance(record, Conversation) else answers_of(record)
    return sum(len(text.split()) for text in (*turns, *answers))
