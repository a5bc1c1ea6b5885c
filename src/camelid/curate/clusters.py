"""Rows in clusters, and without the clusters that somebody looked at and does not want.

GPT4All's way (Anand et al. 2023): embed, cluster, look, leave out whole regions. The first run writes what the clusters
are (clusters.json: words, sizes, typical rows); the second, with the same seed and `exclude`, leaves some out.

    camelid clusters --rows pool.jsonl
    camelid clusters --rows pool.jsonl --set 'exclude=[3,7]'

`camelid data report` draws the map.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from camelid.curate.points import PointSettings, points_of
from camelid.curate.pool import instruction_of, read_pool, text_of_row
from camelid.durable import write_json, write_json_lines
from camelid.functional.k_means import k_means
from camelid.functional.text_space import telling_words, text_space
from camelid.runs import Run, Settings, derived_seed
from camelid.types import write_records

SHOWN_WORDS, SHOWN_ROWS, SHOWN_CHARACTERS = 8, 3, 200


class ClusterSettings(Settings):
    """Clusters of rows."""

    kind: Literal["conversations", "prompts", "preferences", "rankings"] = "conversations"
    """What the files hold."""
    compare: Literal["row", "instruction"] = "instruction"
    """Whole rows, answers included, or the user's first turn alone."""
    points: PointSettings = PointSettings()
    clusters: int = Field(default=20, ge=2)
    """How many."""
    exclude: tuple[int, ...] = ()
    """Clusters to leave out, by their number in clusters.json of a run with otherwise the same settings."""


def cluster_rows(run: Run) -> dict[str, Any]:
    """Stage: `rows`, optional `model` -> rows.jsonl, clusters.json, assigned.jsonl (id, cluster, distance)."""
    s: ClusterSettings = run.settings
    rows = read_pool(run, s.kind)
    texts = [text_of_row(row) if s.compare == "row" else instruction_of(row) for row in rows]
    found = k_means(points_of(run, texts, s.points), s.clusters, derived_seed(s.seed, "clusters"))
    sizes = np.bincount(found.labels).tolist()
    unknown = sorted(set(s.exclude) - set(range(len(sizes))))
    if unknown:
        raise ValueError(f"exclude = {list(s.exclude)}: clusters are numbered 0 to {len(sizes) - 1}; see clusters.json")
    words = telling_words(text_space(texts), found.labels, SHOWN_WORDS)
    about = []
    for cluster, size in enumerate(sizes):
        mine = np.flatnonzero(found.labels == cluster)
        typical = mine[np.argsort(found.distances[mine], kind="stable")][:SHOWN_ROWS]
        shown = [texts[i][:SHOWN_CHARACTERS] for i in typical]
        kept = cluster not in s.exclude
        about.append({"cluster": cluster, "rows": size, "kept": kept, "words": words[cluster], "typical": shown})
    write_json(run.path / "clusters.json", about)
    assigned = zip(rows, found.labels.tolist(), found.distances.tolist(), strict=True)
    write_json_lines(
        run.path / "assigned.jsonl", ({"id": row.id, "cluster": c, "distance": d} for row, c, d in assigned)
    )
    kept_rows = [row for row, c in zip(rows, found.labels.tolist(), strict=True) if c not in s.exclude]
    if not kept_rows:
        raise ValueError(f"exclude = {list(s.exclude)} leaves none of {len(rows)} rows")
    write_records(run.path / "rows.jsonl", kept_rows)
    return {
        "read": len(rows),
        "kept": len(kept_rows),
        "clusters": len(sizes),
        "largest": max(sizes),
        "smallest": min(sizes),
        "left_out_by_cluster": {str(cluster): sizes[cluster] for cluster in s.exclude},
    }
