"""What cleaning and filtering data costs; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from camelid.costs import Cost
from camelid.expected import BYTES_A_TOKEN, Left, Reads, Rows

CLEANED_BYTES_A_SECOND = {"auto": 4.9e6, "never": 4.9e6, "always": 2.7e6}
"""Of ShareGPT's 125 MB on one core, languages and tokens told (26 and 46 s); HTML takes what `always` takes."""
KEPT_BYTES = 0.68
"""Of a file of ShareGPT's, the text that is left."""
FULL = 0.6
"""How full segments are: their mean length by the longest there may be."""


def clean_sharegpt(s: Any, reads: Reads, cost: Cost) -> Left:
    """A file is taken to be as ShareGPT's: a sixth of a segment's tokens in its last answer."""
    size = sum(path.stat().st_size for path in reads.sources("data") if isinstance(path, Path))
    cost.seconds += size / CLEANED_BYTES_A_SECOND[s.html]
    length = FULL * (s.max_tokens or 2048)
    number = KEPT_BYTES * size / BYTES_A_TOKEN / length
    return {"rows.jsonl": Rows(number, length * 5 / 6, length / 6)}


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.collect.sharegpt.stage.clean_sharegpt": clean_sharegpt,
}
"""By module and name of the stage's function."""
