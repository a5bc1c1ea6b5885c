"""How many rows each source gives to a mixture."""

from __future__ import annotations

from collections.abc import Mapping


def mixture_sizes(
    available: Mapping[str, float], weights: Mapping[str, float], *, whole: str = "", max_rows: float = 0
) -> dict[str, int]:
    """Rows of each source, none taken twice, so that shares are as the weights, rounded.

    The mixture is the largest that its scarcest source allows, or `max_rows` where that is less. With `whole` that
    source gives all of its rows instead and the others are measured by it; one that has too few gives what it has.
    Raises ValueError for names that differ, weights that are not positive, `whole` with `max_rows`, an empty source.
    """
    if set(available) != set(weights):
        raise ValueError(
            f"weights are given for {', '.join(sorted(weights)) or 'nothing'}, and the sources are "
            f"{', '.join(sorted(available)) or 'none'}; name each source once in both"
        )
    wrong = [name for name, weight in weights.items() if not weight > 0]
    if wrong:
        raise ValueError(f"source {wrong[0]} has weight {weights[wrong[0]]}; weights are above 0, or leave it out")
    empty = [name for name, number in available.items() if not number]
    if empty:
        raise ValueError(f"source {empty[0]} has no row left to mix; leave it out")
    if whole and whole not in weights:
        raise ValueError(f"whole = {whole!r} is no source; there are {', '.join(weights)}")
    if whole and max_rows:
        raise ValueError(f"max_rows = {max_rows:g} would cut the source {whole!r}, which is to be whole; give one")
    unit = available[whole] / weights[whole] if whole else min(available[name] / weights[name] for name in weights)
    if max_rows:
        unit = min(unit, max_rows / sum(weights.values()))
    return {name: round(min(available[name], unit * weight)) for name, weight in weights.items()}
