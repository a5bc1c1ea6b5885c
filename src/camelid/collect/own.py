"""camelid's own rows (`types.py`), the one format that carries ids, ratings, safety labels, annotators and tags."""

from __future__ import annotations

from pydantic import ValidationError

from camelid.collect.drafts import R, Row, Unfit
from camelid.types import Comparison, Conversation, Preference, Prompt, Ranking, Record, RuleJudgement, reasons


def is_own(row: Row) -> bool:
    """Whether a row is ours: it names its licence, or has answers in plain text beside a prompt in turns."""
    if "licence" in row:
        return "messages" in row or "prompt" in row
    answers = row.get("chosen"), row.get("first")
    return isinstance(row.get("prompt"), list) and any(isinstance(answer, str) for answer in answers)


def parse_own(row: Row, want: type[R], *, source: str, licence: str) -> R:
    """A row of camelid's own format. Its source and licence stay; where it has none, those given are filled in."""
    kind = own_kind(row)
    fields = {name: value for name, value in row.items() if value is not None}  # Parquet fills absent keys with null
    try:
        record = kind.model_validate(fields)
    except ValidationError as error:
        raise Unfit(f"not a {kind.__name__}: {reasons(error)}") from None
    record = record.model_copy(update={"source": record.source or source, "licence": record.licence or licence})
    if type(record) is want:
        return record
    if want is Prompt:
        prompt = record.messages[:-1] if isinstance(record, Conversation) else getattr(record, "prompt", ())
        labels = {"source": record.source, "licence": record.licence, "tags": record.tags}
        return want.model_validate({"prompt": prompt, "answer": getattr(record, "answer", ""), **labels})
    raise Unfit(f"a {kind.__name__}: a {want.__name__} was asked for; ask for what the file holds")


def own_kind(row: Row) -> type[Record]:
    """The record type of a row in camelid's own format, by its keys."""
    if row.get("messages") is not None:
        return Conversation
    if row.get("chosen") is not None:
        return Preference
    if row.get("completions") is not None:
        return Ranking
    if row.get("violated") is not None:
        return RuleJudgement
    return Comparison if row.get("first") is not None else Prompt
