"""trackio, in its own database (TRACKIO_DIR) or wherever its variables point: `trackio show` opens it."""

from __future__ import annotations

from collections.abc import Mapping

import trackio

from camelid.writers.mirror import Log


class Sink:
    """A run of the project that is named as ours; a resumed stage goes on in the same."""

    keeps = True

    def __init__(self, log: Log):
        self.run = trackio.init(
            project=log.project,
            name=log.place,
            config=log.settings,
            resume="allow" if log.sent else "never",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def write(self, step: int, numbers: Mapping[str, float], seconds: float) -> None:
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()
