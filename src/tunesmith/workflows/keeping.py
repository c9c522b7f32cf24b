"""How much of what each adapter learned does a combination keep? Read, without any answer made.

Of a task's held-out answers, with mean losses L of the base, of the task's own adapter and of the
combination: kept = (L_base - L_combination) / (L_base - L_own), 1 where nothing is lost and 0 where
nothing is left.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith.workflows.opening import Opened, attach_folder
from tunesmith.workflows.row_losses import losses_of_rows
from tunesmith.workflows.tasks import Task

Shares = Mapping[str, float]  # what is kept of each task, by its name


class Keeping:
    """Tasks over a base, with what the base and each task's own adapter lose on their rows."""

    def __init__(self, opened: Opened, tasks: Sequence[Task], folders: Mapping[str, Path]) -> None:
        self._opened, self._tasks = opened, tasks
        self._base = {task.name: self._loss(task, None) for task in tasks}
        own = {task.name: self._losses(folders[task.name], [task])[task.name] for task in tasks}
        self._gain = {name: loss - own[name] for name, loss in self._base.items()}

    def shares(self, folder: Path) -> Shares:
        """Of the adapter in a folder; NaN for a task whose own adapter gained nothing."""
        losses = self._losses(folder, self._tasks)
        return {
            name: (self._base[name] - loss) / gain if (gain := self._gain[name]) > 0 else math.nan
            for name, loss in losses.items()
        }

    def _losses(self, folder: Path, tasks: Sequence[Task]) -> dict[str, float]:
        adapter = attach_folder(self._opened, folder, name=str(folder))
        try:
            return {task.name: self._loss(task, adapter.name) for task in tasks}
        finally:
            adapter.detach()

    def _loss(self, task: Task, adapter: str | None) -> float:
        losses = losses_of_rows(self._opened, task.rows, adapter=adapter, go_on=lambda _: True)
        assert losses is not None  # nothing says stop
        return statistics.mean(losses)


def least(shares: Shares) -> float:
    """What is kept of the task that loses most; NaN where nothing can be said of any."""
    return min((share for share in shares.values() if not math.isnan(share)), default=math.nan)
