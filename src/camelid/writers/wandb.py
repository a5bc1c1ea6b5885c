"""Weights & Biases, online or offline as WANDB_MODE says; offline files are in RUN/log-to/wandb."""

from __future__ import annotations

from collections.abc import Mapping

import wandb

from camelid.writers.mirror import Log


class Sink:
    """A run of the project that is named as ours; a resumed stage goes on in the same."""

    keeps = True

    def __init__(self, log: Log):
        self.run = wandb.init(
            project=log.project,
            name=log.place,
            id=log.id,
            resume="allow",
            dir=log.folder,
            config=log.settings,
            settings=wandb.Settings(console="off", x_disable_stats=True, disable_git=True),
        )

    def write(self, step: int, numbers: Mapping[str, float], seconds: float) -> None:
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()
