"""52,000 instructions against 52,000 by exact ROUGE-L, and self-instruct's loop over the rouge-score package.

    python benchmarks/rouge.py [--size 52000] [--copies 1000] [--pairs 20000]

Instructions are those of the public files in CAMELID_DATA, the questions of the benchmarks among them, each once and
drawn at random; `--copies` of one list are near copies of the other's (a word changed). Three ways: a list against
itself (`near_copies`), one list against another (`near_copies_between`), and a pool that grows text by text, as
self-instruct's does. The package's loop is timed on `--pairs` pairs, prepared as Alpaca's code prepares them (tokens
made once; self-instruct's makes them for every pair), on one core; its rate is what all pairs would take at. Prints
one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from camelid.collect.files import raw_rows
from camelid.curate.instructions import instruction_of
from camelid.functional.near_copies import near_copies, near_copies_between
from camelid.functional.near_index import NearIndex
from camelid.functional.rouge import rouge_words

DATA = Path(os.environ.get("CAMELID_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
FIELDS = ("question", "query", "context", "text", "input")


def instructions() -> Iterator[str]:
    """Of conversations, prompts and teachers' answers; questions of benchmarks and explanations."""
    for folder in ("conversations", "prompts", "teachers", "benchmarks", "safety"):
        for file in sorted((DATA / folder).rglob("*.json*")):
            for raw in raw_rows(file):
                if isinstance(raw.value, dict):
                    found = instruction_of(raw.value) or next((raw.value[n] for n in FIELDS if n in raw.value), "")
                    yield from (found,) if isinstance(found, str) else ()
    for file in sorted((DATA / "explanations").glob("*.tsv")):
        yield from (line.split("\t")[0] for line in file.read_text(encoding="utf-8").splitlines())


def timed(work):
    """Seconds and the result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def grow(texts: list[list[str]]) -> int:
    """Self-instruct's pool: what repeats nothing is kept. The number kept."""
    pool = NearIndex(texts[:175])
    for words in texts[175:]:
        if not pool.find(words):
            pool.add(words)
    return len(pool)


def package_rate(texts: list[str], pairs: int) -> float:
    """Pairs a second of rouge-score's inner function on tokens made beforehand."""
    from rouge_score import rouge_scorer

    rng = random.Random(1)
    tokenizer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)._tokenizer
    tokens = [tokenizer.tokenize(text) for text in texts[:2000]]
    chosen = [(rng.choice(tokens), rng.choice(tokens)) for _ in range(pairs)]
    seconds, _ = timed(lambda: [rouge_scorer._score_lcs(a, b) for a, b in chosen])
    return pairs / seconds


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--size", type=int, default=52_000)
    words.add_argument("--copies", type=int, default=1000)
    words.add_argument("--pairs", type=int, default=20_000)
    asked = words.parse_args()
    rng = random.Random(0)
    texts = sorted({text for text in instructions() if 3 < len(text.split()) <= 150})
    rng.shuffle(texts)
    texts = texts[: asked.size]
    lists = [rouge_words(text) for text in texts]
    second = [list(one) for one in lists]
    rng.shuffle(second)
    for words_of_copy in second[: asked.copies]:
        if words_of_copy:
            words_of_copy[rng.randrange(len(words_of_copy))] = "zzyzx"
    own_seconds, own = timed(lambda: near_copies(lists))
    across, found = timed(lambda: near_copies_between(second, lists))
    grow_seconds, kept = timed(lambda: grow(lists))
    n = len(lists)
    rate = package_rate(texts, asked.pairs)
    print(
        json.dumps(
            {
                "texts": n,
                "mean_words": round(sum(map(len, lists)) / n, 1),
                "itself": {"pairs": n * (n - 1) // 2, "seconds": round(own_seconds, 1), "near": len(own)},
                "two_lists": {
                    "pairs": n * n,
                    "seconds": round(across, 1),
                    "near": len(found),
                    "with_a_near_copy": len({pair.first for pair in found}),
                    "pairs_a_second": round(n * n / across),
                },
                "growing": {"seconds": round(grow_seconds, 1), "kept": kept},
                "rouge_score_pairs_a_second": round(rate),
                "times_as_fast": round(n * n / across / rate),
            }
        )
    )


if __name__ == "__main__":
    main()
