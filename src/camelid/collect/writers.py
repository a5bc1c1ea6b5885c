"""Writing records in the field's formats. What a format cannot carry without corruption is an error, not a loss.

Ids, sources, licences and tags, and of preferences the rating, kind, safety labels and annotator, fit into camelid's
own format only; the others drop them. The table in `formats.py` says what each carries.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from camelid.collect.drafts import Unfit, to_draft
from camelid.collect.files import write_rows
from camelid.collect.formats import parser
from camelid.types import Ranking, Record


def write(rows: Iterable[Record], path: str | os.PathLike[str], format: str) -> int:
    """Write records as `format` into the container that the path's name asks for. Returns the number of rows.

    Raises ValueError, and writes nothing, at the first record that the format cannot carry.
    """
    rendered = [_render(row, number, format) for number, row in enumerate(rows, 1)]
    write_rows(path, rendered)
    return len(rendered)


def _render(record: Record, number: int, format: str) -> dict[str, Any]:
    if format == "camelid":
        return record.model_dump(mode="json")
    target = parser(format)
    try:
        if isinstance(record, Ranking) and format != "ranked":
            raise Unfit("no place for a ranking: write ranked or camelid, or convert it to preferences first")
        return target.render(to_draft(record))
    except Unfit as reason:
        raise ValueError(f"row {number} (id {record.id}) does not fit {format}: {reason}") from None
