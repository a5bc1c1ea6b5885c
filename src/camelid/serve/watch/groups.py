"""Which of a stage's numbers belong together on the page, by the words in their names."""

from __future__ import annotations

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Optimizer", ("learning_rate", "gradient_norm", "clip_fraction", "kl_coef", "count", "_rate")),
    ("Loss", ("loss", "perplexity")),
    ("Engine", ("engine", "importance", "mismatch")),
    ("Distance", ("kl", "ratio")),
    ("Score", ("score", "reward", "win", "margin", "whitened")),
    ("Accuracy", ("accuracy", "explained_variance", "auc", "calibration", "recall", "precision", "correct")),
    ("Completions", ("length", "entropy", "finished", "tokens", "repetition", "distinct", "chosen", "rejected")),
)
"""Title and parts of names, the first that fits; their order on the page is SHOWN."""
OTHER = "Other"
SHOWN = ("Score", "Distance", "Completions", "Loss", "Accuracy", OTHER, "Engine", "Optimizer")


def group(name: str) -> str:
    """Title of the group of a number called `name`."""
    return next((title for title, words in GROUPS if any(word in name for word in words)), OTHER)
