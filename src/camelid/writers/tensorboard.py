"""TensorBoard's event files, by tensorboardX: `tensorboard --logdir RUN/log-to/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping

from tensorboardX import SummaryWriter

from camelid.writers.mirror import Log

SECONDS_BETWEEN_WRITES = 5


class Sink:
    """Event files of a stage, begun anew each time; a TensorBoard that has read the old ones forgets them."""

    keeps = False

    def __init__(self, log: Log):
        folder = log.folder / log.place
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.writer = SummaryWriter(str(folder), purge_step=0, flush_secs=SECONDS_BETWEEN_WRITES)

    def write(self, step: int, numbers: Mapping[str, float], seconds: float) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step, walltime=seconds)

    def close(self) -> None:
        self.writer.close()
