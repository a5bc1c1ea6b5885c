"""All ways of asking, by name."""

from __future__ import annotations

from camelid.judges.alpaca_eval import ALPACA_EVAL, ALPACA_EVAL_WEIGHTED
from camelid.judges.lima import LIMA, LIMA_SINGLE
from camelid.judges.mt_bench import MT_BENCH, MT_BENCH_SINGLE
from camelid.judges.vicuna import VICUNA
from camelid.judges.way import Way

WAYS = {
    way.name: way for way in (LIMA, LIMA_SINGLE, VICUNA, MT_BENCH, MT_BENCH_SINGLE, ALPACA_EVAL, ALPACA_EVAL_WEIGHTED)
}


def way_named(name: str) -> Way:
    """A way of asking. Raises ValueError naming those that there are."""
    if name not in WAYS:
        problem = f"no way of asking {name!r}" if name else "--way names a way of asking"
        raise ValueError(f"{problem}; there are {', '.join(WAYS)}")
    return WAYS[name]
