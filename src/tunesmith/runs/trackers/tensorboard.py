"""TensorBoard: its files lie in the run's folder, `tensorboard/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.runs.trackers import Started


@dataclass(slots=True)
class TensorBoard:
    """A writer of its event files."""

    writer: Any

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A point for each value, on disk at once."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def end(
        self, values: Mapping[str, float], tags: Mapping[str, str], _: Sequence[Path], /
    ) -> None:
        """Numbers and texts; files have no place there."""
        for name, value in values.items():
            self.writer.add_scalar(name, value)
        for name, text in tags.items():
            self.writer.add_text(name, text)
        self.writer.close()


def start(run: Started) -> TensorBoard:
    """Write into the run's folder; a resumed run adds to what is there."""
    from torch.utils.tensorboard import SummaryWriter

    return TensorBoard(SummaryWriter(str(run.folder / "tensorboard")))
