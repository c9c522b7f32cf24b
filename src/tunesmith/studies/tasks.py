"""What adapters were trained for: held-out questions and the first check of each one's run.

The mean loss of a task's held-out answers under the combination, less that under the task's own
adapter, in nats a token.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunesmith.adapters.loaded_base import LoadedBase, attach_folder
from tunesmith.config import RunConfig
from tunesmith.core.errors import DataError
from tunesmith.core.progress import Progress
from tunesmith.evaluation.answers import Question, questions_of
from tunesmith.evaluation.arms import BASE, arm_of, without_room
from tunesmith.evaluation.checks.check import Check, fit_checks, require_references
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.likelihoods import losses_of_rows
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.rows import load_rows, require_files
from tunesmith.training.job import Rows

READ = 30  # held-out rows whose answers are read


@dataclass(frozen=True, slots=True)
class Task:
    """What an adapter is asked, and the check that decides; ``own`` are answers it trained on, and
    ``rows`` some of those held out, with their answers.
    """

    name: str  # the adapter's
    config: RunConfig
    questions: tuple[Question, ...]
    check: Check
    own: Sequence[str]
    rows: Rows

    def fitted(self, base: Sequence[str]) -> Check:
        """The check, fitted on the data's own answers and the base's where it learns."""
        return fit_checks([self.check], own=self.own, base=base)[0]


@dataclass(frozen=True, slots=True)
class Runs:
    """The config of each adapter's run, and why others have no task."""

    configs: Mapping[str, RunConfig]
    left_out: Mapping[str, str]


def runs_of(folders: Mapping[str, Path]) -> Runs:
    """Which adapters come from a run whose checks and held-out rows are still there."""
    configs: dict[str, RunConfig] = {}
    left_out: dict[str, str] = {}
    for name, folder in folders.items():
        found = _config_of(folder)
        if isinstance(found, str):
            left_out[name] = found
        else:
            configs[name] = found
    return Runs(configs, left_out)


def _config_of(folder: Path) -> RunConfig | str:
    """The config of the run that an adapter lies in, or why there is nothing to ask."""
    run = RunFolder(folder.resolve().parent)
    if folder.resolve() != run.adapter or not run.config.is_file():
        return "it lies in no run, so nothing says what it must still be able to do"
    config = run.read_config()
    if not config.evaluate.checks:
        return "its run has no checks"
    if not config.data.eval:
        return "its run held no rows out"
    try:
        require_files(config.data)
    except DataError as error:
        return f"its rows are gone: {error.message}"
    return config


def read_task(
    name: str, config: RunConfig, loaded: LoadedBase, *, limit: int, progress: Progress
) -> Task | str:
    """The task of a run, of at most ``most`` questions; why there is none, where no row can be
    asked. Raises DataError for rows that a run would refuse.
    """
    tokenizer = loaded.base.tokenizer
    rows = load_rows(
        config.data,
        tokenizer,
        context=loaded.base.context,
        seed=config.train.seed,
        progress=progress,
    )
    limit = min(limit, config.evaluate.rows)
    questions = questions_of(rows.held_conversations, tokenizer, limit=limit)
    if questions:
        full = set(without_room(arm_of(loaded, BASE, questions), 0))
        questions = tuple(each for i, each in enumerate(questions) if i not in full)
    if not questions or rows.held is None:
        return "none of its held-out rows can be asked"
    check = build_checks(config.evaluate.checks)[0]
    references = [question.reference for question in questions]
    require_references([check], references, [question.text for question in questions])
    read = rows.held.take(np.arange(min(len(rows.held), READ)))
    return Task(name, config, questions, check, rows.own_answers, read)


Lost = Mapping[str, float]  # nats a token of each task, by its name


class Keeping:
    """Tasks over a base, with what each one's own adapter loses on its rows."""

    def __init__(
        self, loaded: LoadedBase, tasks: Sequence[Task], folders: Mapping[str, Path]
    ) -> None:
        self._loaded, self._tasks = loaded, tasks
        self._own = {t.name: self._losses(folders[t.name], [t])[t.name] for t in tasks}

    def lost(self, folder: Path) -> Lost:
        """By the adapter in a folder, of every task; below 0 where it is better than its own."""
        losses = self._losses(folder, self._tasks)
        return {name: loss - self._own[name] for name, loss in losses.items()}

    def _losses(self, folder: Path, tasks: Sequence[Task]) -> dict[str, float]:
        adapter = attach_folder(self._loaded, folder, name=str(folder))
        try:
            return {task.name: self._loss(task, adapter.name) for task in tasks}
        finally:
            adapter.detach()

    def _loss(self, task: Task, adapter: str) -> float:
        return statistics.mean(losses_of_rows(self._loaded, task.rows, adapter=adapter))
