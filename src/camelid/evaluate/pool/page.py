"""The page of a pool of rows: where they are from, how long they are, what they are about, which are nearly the same.

write_pool_page(rows, Path("report"), title="my rows", topics=12)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from camelid.durable import write_json
from camelid.evaluate.plain_page import Table, write_plain_page
from camelid.evaluate.pool.measures import MAPPED, Map, instruction, map_of, nearest_pairs, verbs
from camelid.evaluate.report.figure_style import Panel, Theme
from camelid.types import Conversation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_VERBS, SHOWN_NOUNS, SHOWN_PAIRS, SHOWN_SAMPLES, SHOWN_CHARACTERS = 20, 4, 15, 3, 140
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def write_pool_page(
    rows: Sequence[Conversation], folder: Path, *, title: str, topics: int, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Leave report.html, tables.md, figures/ and pool.json in `folder`. Returns what pool.json holds.

    Raises ValueError for no rows.
    """
    if not rows:
        raise ValueError("no rows: nothing to report on")
    folder.mkdir(parents=True, exist_ok=True)
    texts = [instruction(row) for row in rows]
    lengths = {
        "instruction": [len(text.split()) for text in texts],
        "answers": [sum(len(m.content.split()) for m in r.messages if m.role == "assistant") for r in rows],
    }
    found = verbs(texts)
    counts = {
        "source": Counter(row.source or "not stated" for row in rows),
        "licence": Counter(row.licence or "not stated" for row in rows),
        "turns": Counter(str(sum(m.role == "user" for m in row.messages)) for row in rows),
        "language": _languages(texts),
    }
    tables = [_counted(name, count, len(rows)) for name, count in counts.items() if count]
    tables.append(_length_table(lengths))
    panels = {"lengths": ("Words in instructions and answers", _length_panel(lengths))}
    if found:
        panels["verbs"] = ("What is asked for", _verb_panel(found))
        tables.append(_verb_table(found, len(rows)))
    mapped = None
    try:
        mapped, points = map_of(texts, topics)
    except ValueError as why:
        notes = [*notes, f"No map of topics: {why}."]
    if mapped is not None:
        panels["topics"] = ("Topics", _map_panel(mapped))
        tables += [_topic_table(mapped, texts), _pair_table(texts, nearest_pairs(points, mapped.places, SHOWN_PAIRS))]
    said = [f"{len(rows):,} rows.", *notes]
    if len(rows) > MAPPED and mapped is not None:
        said.append(f"Topics and nearest rows are of {len(mapped.places):,} rows, evenly spaced; counts are of all.")
    said.append("Verbs and nouns are told by rule from instructions that begin with an order; a parser would see more.")
    write_plain_page(folder, title, said, panels, tables)
    kept: dict[str, Any] = {
        "n": len(rows),
        **{name: dict(count.most_common()) for name, count in counts.items()},
        "words": {name: dict(zip(map(str, QUANTILES), _quantiles(v), strict=True)) for name, v in lengths.items()},
        "verbs": [[*pair, n] for pair, n in found.most_common()],
        "topics": [] if mapped is None else [{"rows": int(n), "words": w} for n, w in _sizes(mapped)],
    }
    write_json(folder / "pool.json", kept)
    return kept


def _languages(texts: Sequence[str]) -> Counter[str]:
    """Empty where py3langid is not installed: the page says nothing of languages then."""
    from camelid.languages import language_of

    try:
        return Counter(language_of(text) for text in texts)
    except ImportError:
        return Counter()


def _quantiles(values: Sequence[int]) -> list[float]:
    return [float(q) for q in np.quantile(values, QUANTILES)]


def _sizes(mapped: Map) -> list[tuple[int, list[str]]]:
    return list(zip(np.bincount(mapped.topics).tolist(), mapped.words, strict=True))


def _counted(name: str, count: Counter[str], n: int) -> Table:
    rows = [(key, f"{number:,}", f"{100 * number / n:.1f}") for key, number in count.most_common(30)]
    return Table(f"Rows by {name}", (name, "rows", "%"), rows)


def _length_table(lengths: dict[str, list[int]]) -> Table:
    heads = ("words", "least", "5%", "25%", "median", "75%", "95%", "most")
    return Table("Lengths", heads, [(name, *(f"{q:,.0f}" for q in _quantiles(v))) for name, v in lengths.items()])


def _verb_table(found: Counter[tuple[str, str]], n: int) -> Table:
    rows = [(verb, f"{number:,}", f"{100 * number / n:.1f}", nouns) for verb, number, nouns in _by_verb(found)]
    return Table("What is asked for", ("verb", "rows", "%", "of what"), rows)


def _by_verb(found: Counter[tuple[str, str]]) -> list[tuple[str, int, str]]:
    """The most frequent verbs, each with its most frequent nouns."""
    by_verb: Counter[str] = Counter()
    for (verb, _), number in found.items():
        by_verb[verb] += number
    told = []
    for verb, number in by_verb.most_common(SHOWN_VERBS):
        nouns = Counter({noun: k for (v, noun), k in found.items() if v == verb and noun}).most_common(SHOWN_NOUNS)
        told.append((verb, number, ", ".join(f"{noun} {k}" for noun, k in nouns)))
    return told


def _topic_table(mapped: Map, texts: Sequence[str]) -> Table:
    rows = []
    for topic, (size, words) in enumerate(_sizes(mapped)):
        mine = [place for place, label in zip(mapped.places, mapped.topics, strict=True) if label == topic]
        sample = " / ".join(_short(texts[i]) for i in mine[:SHOWN_SAMPLES])
        rows.append((str(topic), f"{size:,}", ", ".join(words), sample))
    return Table("Topics, with their words and some rows", ("topic", "rows", "words", "rows of it"), rows)


def _pair_table(texts: Sequence[str], pairs: Sequence[Any]) -> Table:
    rows = [
        (f"{p.similarity:.3f}", str(p.first + 1), _short(texts[p.first]), str(p.second + 1), _short(texts[p.second]))
        for p in pairs
    ]
    return Table("Nearest rows", ("similarity", "row", "instruction", "row", "instruction"), rows)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"


def _length_panel(lengths: dict[str, list[int]]) -> Panel:
    most = max(max(values) for values in lengths.values())
    edges = np.unique(np.round(np.geomspace(1, max(most, 2), 30)))

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set_xscale("log")
        for (name, values), colour in zip(lengths.items(), theme.series, strict=False):
            axes.hist(
                np.maximum(values, 1), edges.tolist(), histtype="stepfilled", alpha=0.35, color=colour, label=name
            )
        ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) if tick <= max(most, 2)]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("words")
        axes.set_ylabel("rows")
        axes.legend()

    medians = "; ".join(f"{name}: median {np.median(values):.0f} words" for name, values in lengths.items())
    return Panel("Rows by words; the scale is logarithmic, an empty text counts as one word.", f"{medians}.", draw)


def _verb_panel(found: Counter[tuple[str, str]]) -> Panel:
    told = _by_verb(found)

    def draw(axes: Axes, theme: Theme) -> None:
        heights = range(len(told))
        axes.barh(heights, [number for _, number, _ in told], color=theme.series[0], alpha=0.8)
        axes.set_yticks(heights, [verb for verb, _, _ in told])
        for height, (_, number, nouns) in zip(heights, told, strict=True):
            axes.text(number, height, f"  {nouns}", va="center", fontsize=7, color=theme.muted)
        axes.set_ylim(len(told) - 0.4, -0.6)
        axes.set_xlim(0, 1.9 * told[0][1])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("rows")

    listed = "; ".join(f"{verb} {number} ({nouns})" for verb, number, nouns in told)
    return Panel("The most frequent verbs, and what stands with them most often.", f"{listed}.", draw)


def _map_panel(mapped: Map) -> Panel:
    def draw(axes: Axes, theme: Theme) -> None:
        for topic in range(len(mapped.words)):
            mine = mapped.plane[mapped.topics == topic]
            colour = theme.series[topic % len(theme.series)]
            axes.scatter(mine[:, 0], mine[:, 1], s=5, alpha=0.35, color=colour, lw=0)
        for topic, words in enumerate(mapped.words):
            x, y = np.median(mapped.plane[mapped.topics == topic], axis=0)
            label = f"{topic}: {' '.join(words[:2])}"
            axes.annotate(label, (x, y), fontsize=8, ha="center", color=theme.ink, bbox=_paper(theme))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)

    listed = "; ".join(f"{topic}: {', '.join(words)}" for topic, words in enumerate(mapped.words))
    caption = "Instructions by their words; the two directions in which they differ most. Numbers are topics."
    return Panel(caption, f"Topics by their words. {listed}.", draw)


def _paper(theme: Theme) -> dict[str, Any]:
    return {"boxstyle": "round,pad=0.15", "fc": theme.paper, "ec": "none", "alpha": 0.75}
