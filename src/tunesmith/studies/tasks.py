"""What adapters were trained for, and how well each task goes with the base and combinations.

A task is the held-out questions and the first check of an adapter's run. All adapters are attached
to one base, and answer in one stream.
"""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tunesmith.adapters.loaded_base import LoadedBase, attach_folder
from tunesmith.config import RunConfig
from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.data.thinking import text_of
from tunesmith.data.tokenizer import encode
from tunesmith.evaluation.answering import (
    AnswerCache,
    CachedAnswer,
    answer_arms,
    fingerprint,
    open_cache,
    unanswered,
)
from tunesmith.evaluation.answers import Question, questions_of, score, with_answer_length
from tunesmith.evaluation.arms import Arm, arm_of, without_room
from tunesmith.evaluation.checks.check import Check, fit_checks, require_references
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.comparison import BASE, TUNED
from tunesmith.evaluation.duration import (
    EvaluationWork,
    describe,
    expected_length,
    speed_of,
    to_answer,
)
from tunesmith.evaluation.intervals import Interval
from tunesmith.evaluation.likelihoods import losses_of_rows
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.inputs import require_files
from tunesmith.runs.rows import load_rows_for
from tunesmith.training.job import Rows

ALONE = "alone"
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
        return "it lies in no run, so what it must still be able to do is not known"
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
    """The task of a run, of at most ``limit`` questions; why there is none, where no row can be
    asked. Raises DataError for rows that a run would refuse.
    """
    rows = load_rows_for(config, loaded, None, progress)
    limit = min(limit, config.evaluate.rows)
    questions = questions_of(rows.held_conversations, loaded.base.tokenizer, limit=limit)
    if questions:
        full = set(without_room(arm_of(loaded, BASE, questions), 0))
        questions = tuple(each for i, each in enumerate(questions) if i not in full)
    if not questions or rows.held is None:
        return "none of its held-out rows can be asked"
    check = build_checks(config.evaluate.checks)[0]
    references = [question.reference for question in questions]
    require_references([check], references, [question.text for question in questions])
    read = rows.held.take(np.arange(min(len(rows.held), READ)))
    return Task(
        name, with_answer_length(config, rows.held), questions, check, rows.own_answers, read
    )


Lost = Mapping[str, float]  # nats a token of each task, by its name


class Keeping:
    """Tasks over a base, with what each one's own adapter loses on its rows.

    That is the mean loss of a task's held-out answers, in nats a token.
    """

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
            return {
                task.name: statistics.mean(
                    losses_of_rows(self._loaded, task.rows, adapter=adapter.name)
                )
                for task in tasks
            }
        finally:
            adapter.detach()


@dataclass(frozen=True, slots=True)
class TaskScores:
    """One adapter's task: the score of the base, of the adapter alone and of each combination.

    ``drops``: alone minus the combination, on the same rows; none where fewer than two rows
    have a score in both.
    """

    task: str
    check: str
    rows: int
    arms: Mapping[str, Interval]
    drops: Mapping[str, Interval]

    def to_json(self) -> dict[str, object]:
        """With `score`, `low`, `high` and `n` of every arm, and the drop of each combination."""
        arms: dict[str, dict[str, object]] = {}
        for name, found in self.arms.items():
            arms[name] = {**found.to_json("score")}
            if name in self.drops:
                arms[name]["drop"] = asdict(self.drops[name])
        return {"adapter": self.task, "check": self.check, "rows": self.rows, "arms": arms}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One arm of a task, and the hash of who answers."""

    task: Task
    arm: Arm
    participant: str

    @property
    def longest(self) -> int:
        """Tokens of the longest answer."""
        return self.task.config.evaluate.longest_answer


def try_all(
    loaded: LoadedBase,
    tasks: Sequence[Task],
    folders: Mapping[str, Path],
    combinations: Mapping[str, Path],
    progress: Progress,
) -> list[TaskScores]:
    """The scores of every task, in order.

    ``folders`` are those of the adapters that the tasks belong to, by name. What was answered is
    kept: Cancelled loses nothing.
    """
    asked: dict[str, _Asked] = {}
    participants: dict[str | None, str] = {None: fingerprint(loaded.base)}  # by adapter
    with ExitStack() as attached:
        for task in tasks:
            for name, folder in {BASE: None, ALONE: folders[task.name], **combinations}.items():
                adapter = None if folder is None else str(folder)
                if folder is not None and adapter not in participants:
                    one = attach_folder(loaded, folder, name=str(folder))
                    attached.callback(one.detach)
                    participants[adapter] = fingerprint(loaded.base, one, folder)
                # Prompts of one adapter that begin alike are those of one task.
                arm = arm_of(loaded, task.name, task.questions, adapter=adapter)
                asked[_key(task, name)] = _Asked(task, arm, participants[adapter])
        said = _answered(loaded, asked, progress)
    return [_scored(loaded, task, [BASE, ALONE, *combinations], said) for task in tasks]


def _key(task: Task, arm: str) -> str:
    return f"{task.name}: {arm}"


def _answered(
    loaded: LoadedBase, asked: Mapping[str, _Asked], progress: Progress
) -> dict[str, tuple[CachedAnswer, ...]]:
    """Every arm's answers; those that may be equally long share a stream."""
    said: dict[str, tuple[CachedAnswer, ...]] = {}
    for longest in dict.fromkeys(each.longest for each in asked.values()):
        group = {key: each for key, each in asked.items() if each.longest == longest}
        sampling, stop_ids = Sampling(max_new_tokens=longest), loaded.base.stop_ids
        # Tasks may ask one participant the same: then it is answered, and known, once.
        participants = {each.participant for each in group.values()}
        opened = {each: open_cache(each, sampling, stop_ids) for each in participants}
        caches = {key: opened[each.participant] for key, each in group.items()}
        tasks = list({each.task.name: each.task for each in group.values()}.values())
        arms = {key: each.arm for key, each in group.items()}
        names = ", ".join(task.name for task in tasks)
        _estimate(loaded, tasks, arms, caches, progress)
        said |= answer_arms(
            loaded.engine,
            arms,
            caches,
            sampling=sampling,
            stop_ids=stop_ids,
            phase=progress.quiet_phase(f"answering held-out questions ({names})"),
        )
    return said


def _estimate(
    loaded: LoadedBase,
    tasks: Sequence[Task],
    arms: Mapping[str, Arm],
    caches: Mapping[str, AnswerCache],
    progress: Progress,
) -> None:
    """Report about how long answering will take."""
    waiting: list[Prompt] = [prompt for _, prompt in unanswered(arms, caches)]
    if not waiting:
        return
    references = [question.reference for task in tasks for question in task.questions]
    lengths = [len(ids) for ids in encode(loaded.base.tokenizer, references)]
    longest = tasks[0].config.evaluate.longest_answer
    own = sum(lengths) / len(lengths)
    low, high = (
        EvaluationWork(answers=[to_answer(waiting, length, longest=longest)])
        for length in (own, expected_length(BASE, own, longest))
    )
    work, speed = low, speed_of(loaded.engine, waiting)
    seconds = (
        low.seconds(loaded.engine, speed)[0],
        high.seconds(loaded.engine, speed)[0],
    )
    each = len(arms) // len(tasks)
    counts = {f"{pluralize(each, 'arm')} of {t.name}": each * len(t.questions) for t in tasks}
    progress.notice("judging", describe(seconds, work, arms=counts))


def _scored(
    loaded: LoadedBase,
    task: Task,
    names: Sequence[str],
    said: Mapping[str, tuple[CachedAnswer, ...]],
) -> TaskScores:
    """The adapter alone is the tuned arm: differences are to it."""
    texts = {
        TUNED if name == ALONE else name: tuple(
            text_of(loaded.base.tokenizer, each.ids) for each in said[_key(task, name)]
        )
        for name in names
    }
    check = task.fitted(texts[BASE])
    answers = score(task.questions, texts, [check], seed=task.config.train.seed)
    found = answers.summary.checks[0]
    arms = {ALONE if arm == TUNED else arm: each for arm, each in found.arms.items()}
    drops = {arm: each for arm, each in found.differences.items() if arm != BASE}
    ordered = {name: arms[name] for name in names if name in arms}
    return TaskScores(task.name, check.name, len(task.questions), ordered, drops)
