"""How much of what each adapter learned does a combination lose? Read, without any answer made.

The mean loss of a task's held-out answers under the combination, less that under the task's own
adapter, in nats a token.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith.workflows.opening import Opened, attach_folder
from tunesmith.workflows.row_losses import losses_of_rows
from tunesmith.workflows.tasks import Task

Lost = Mapping[str, float]  # nats a token of each task, by its name


class Keeping:
    """Tasks over a base, with what each one's own adapter loses on its rows."""

    def __init__(self, opened: Opened, tasks: Sequence[Task], folders: Mapping[str, Path]) -> None:
        self._opened, self._tasks = opened, tasks
        self._own = {t.name: self._losses(folders[t.name], [t])[t.name] for t in tasks}

    def lost(self, folder: Path) -> Lost:
        """By the adapter in a folder, of every task; below 0 where it is better than its own."""
        losses = self._losses(folder, self._tasks)
        return {name: loss - self._own[name] for name, loss in losses.items()}

    def _losses(self, folder: Path, tasks: Sequence[Task]) -> dict[str, float]:
        adapter = attach_folder(self._opened, folder, name=str(folder))
        try:
            return {task.name: self._loss(task, adapter.name) for task in tasks}
        finally:
            adapter.detach()

    def _loss(self, task: Task, adapter: str) -> float:
        losses = losses_of_rows(self._opened, task.rows, adapter=adapter, go_on=lambda _: True)
        assert losses is not None  # nothing says stop
        return statistics.mean(losses)
