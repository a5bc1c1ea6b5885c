"""The stage that drops rows which repeat an earlier row, word by word or nearly.

    camelid deduplicate --rows a.jsonl b.jsonl --set threshold=0.7

Equal rows are found by their words and signs (`functional/words.py`). Near ones share most of their runs of five words:
MinHash and bands propose pairs, and the Jaccard similarity of the runs themselves decides, so that no row is dropped
that is not so near; of pairs at the threshold at most one in a hundred is missed (`recall`). Rows are taken in order
and compared with those that were kept: no two kept rows are known to be near each other, and a chain of small changes
does not drop what differs from all that is kept. Texts of fewer than five words are compared whole.

Left out: paraphrases, translations, and scripts without spaces between words, in which only equal sentences are found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field

from camelid.curate.pool import instruction_of, read_pool, text_of_row
from camelid.functional.minhash import (
    band_keys,
    candidate_probability,
    choose_bands,
    jaccard,
    shingles,
    signatures,
)
from camelid.functional.words import words_and_signs_of
from camelid.runs import Run, Settings, derived_seed
from camelid.types import write_records


class NearSettings(BaseModel):
    """What counts as near."""

    model_config = Settings.model_config

    threshold: float = Field(default=0.7, gt=0, le=1)
    """Least Jaccard similarity of the runs of words at which a row repeats another; 1 leaves near rows alone."""
    shingle_words: int = Field(default=5, ge=1)
    """Words in a run."""
    num_hashes: int = Field(default=128, ge=1)
    """Values that stand for a row; more find more."""
    recall: float = Field(default=0.99, gt=0, lt=1)
    """Least probability with which a pair at the threshold is found; one that is nearer is found more surely."""


class DeduplicateSettings(Settings):
    """Dropping rows that repeat another."""

    kind: Literal["conversations", "prompts", "preferences", "rankings"] = "conversations"
    """What the files hold."""
    compare: Literal["row", "instruction"] = "row"
    """Whole rows, answers included, or the user's first turn alone."""
    near: NearSettings = NearSettings()


class Repeat(NamedTuple):
    """A text that repeats an earlier one, by their places. `exact`: in all words and signs."""

    place: int
    of: int
    similarity: float
    exact: bool


class Dropped(BaseModel):
    """A row that was dropped, and the row that it repeats."""

    id: str
    repeats: str
    """Id of the row that was kept."""
    similarity: float
    exact: bool
    text: str


def deduplicate(run: Run) -> dict[str, Any]:
    """Stage: `rows` (one file or several) -> rows.jsonl, the first of each; dropped.jsonl, what it repeats; counts."""
    s: DeduplicateSettings = run.settings
    rows = read_pool(run, s.kind)
    texts = [text_of_row(row) if s.compare == "row" else instruction_of(row) for row in rows]
    with run.progress("rows", len(rows)) as tick:
        repeats = find_repeats(texts, s.near, seed=derived_seed(s.seed, "minhash"), tick=tick)
    away = {repeat.place for repeat in repeats}
    write_records(run.path / "rows.jsonl", (row for i, row in enumerate(rows) if i not in away))
    write_records(
        run.path / "dropped.jsonl",
        (
            Dropped(id=rows[r.place].id, repeats=rows[r.of].id, similarity=r.similarity, exact=r.exact, text=texts[i])
            for r in repeats
            for i in (r.place,)
        ),
    )
    sizes = Counter(repeat.of for repeat in repeats)
    bands, height = choose_bands(s.near.threshold, s.near.num_hashes, s.near.recall)
    return {
        "read": len(rows),
        "kept": len(rows) - len(repeats),
        "exact": sum(repeat.exact for repeat in repeats),
        "near": sum(not repeat.exact for repeat in repeats),
        "repeated_rows": len(sizes),
        "most_repeats_of_a_row": max(sizes.values(), default=0),
        "bands": bands,
        "values_a_band": height,
        "found_at_threshold": candidate_probability(s.near.threshold, bands, height),
    }


def find_repeats(
    texts: Sequence[str],
    near: NearSettings | None = None,
    *,
    seed: int = 0,
    tick: Callable[[int], None] = lambda texts: None,
) -> list[Repeat]:
    """Every text that repeats an earlier one which itself repeats none, with the most similar such one, in order."""
    near = near or NearSettings()
    words = [words_and_signs_of(text) for text in texts]
    # A text of nothing but other characters is equal only to itself.
    first_with: dict[str, int] = {}
    twins = [
        first_with.setdefault(" ".join(w) or text, i) for i, (w, text) in enumerate(zip(words, texts, strict=True))
    ]
    distinct = [i for i, twin in enumerate(twins) if i == twin and words[i]] if near.threshold < 1 else []
    leaders = _near_leaders({i: words[i] for i in distinct}, near, seed)
    found = []
    for i, twin in enumerate(twins):
        of, similarity = leaders.get(twin, (twin, 1.0))
        if i != twin or twin in leaders:
            found.append(Repeat(i, of, similarity, exact=similarity == 1.0 and i != twin))
        tick(1)
    return found


def _near_leaders(words: dict[int, list[str]], near: NearSettings, seed: int) -> dict[int, tuple[int, float]]:
    """For each text that is near an earlier kept one: the nearest such one, and how near."""
    if not words:
        return {}
    bands, height = choose_bands(near.threshold, near.num_hashes, near.recall)
    sets = {i: shingles(w, near.shingle_words) for i, w in words.items()}
    keys = band_keys(signatures(list(sets.values()), near.num_hashes, seed), height).tolist()
    kept: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in range(bands)]
    leaders: dict[int, tuple[int, float]] = {}
    for i, bands_of_i in zip(sets, keys, strict=True):
        # Only kept rows lie in the bands: a template that thousands of rows share is one entry, not thousands.
        likely = {j for band, key in zip(kept, bands_of_i, strict=True) for j in band.get(key, ())}
        best = max(((jaccard(sets[i], sets[j]), -j) for j in likely), default=(0.0, 0))
        if best[0] >= near.threshold:
            leaders[i] = (-best[1], best[0])
            continue
        for band, key in zip(kept, bands_of_i, strict=True):
            band[key].append(i)
    return leaders
