"""Features of many texts, kept on disk a chunk at a time: a run that is stopped goes on where it was.

features = stored_features(folder, texts, model.of, key="which model, which layers")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camelid.types import content_hash

CHUNK_ROWS = 500


def stored_features(
    folder: Path,
    texts: Sequence[str],
    features: Callable[[Sequence[str]], NDArray[np.float32]],
    key: str,
    tick: Callable[[int], None] = lambda rows: None,
) -> NDArray[np.float32]:
    """(N, width). A chunk's file is named by its texts and by `key`, so that only what is the same is taken again."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(texts), CHUNK_ROWS):
        chunk = list(texts[start : start + CHUNK_ROWS])
        path = folder / f"{content_hash([key, chunk])[:16]}.npy"
        if not path.exists():
            aside = path.with_suffix(".partial.npy")
            np.save(aside, features(chunk))
            aside.replace(path)
        parts.append(np.load(path, allow_pickle=False))
        tick(len(chunk))
    return np.concatenate(parts)
