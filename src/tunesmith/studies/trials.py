"""How well does each adapter's task go, with the base, the adapter and every combination of them?

All of them stand beside one base, and answer in one stream.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.adapters.loaded_base import LoadedBase, attach_folder
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.data.tokenizer import encode
from tunesmith.evaluation.answering import (
    AnswerCache,
    CachedAnswer,
    answer_arms,
    fingerprint,
    open_cache,
    unanswered,
)
from tunesmith.evaluation.answers import score, text_of
from tunesmith.evaluation.arms import BASE, Arm, arm_of
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.duration import AnsweringWork, describe, speed_of
from tunesmith.evaluation.intervals import Interval
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling
from tunesmith.studies.tasks import Task

ALONE = "alone"


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
            arms[name] = {
                "score": found.mean,
                "low": found.low,
                "high": found.high,
                "n": found.n,
            }
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
        return self.task.config.evaluate.max_new_tokens


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
    participants = _Speakers(loaded)
    asked: dict[str, _Asked] = {}
    for task in tasks:
        for name, folder in {BASE: None, ALONE: folders[task.name], **combinations}.items():
            adapter = participants.attach(folder)
            # Prompts of one adapter that begin alike are those of one task.
            arm = arm_of(loaded, task.name, task.questions, adapter=adapter)
            asked[_key(task, name)] = _Asked(task, arm, participants.by_adapter[adapter])
    said = _answered(loaded, asked, progress)
    participants.detach()
    return [_scored(loaded, task, [BASE, ALONE, *combinations], said) for task in tasks]


def _key(task: Task, arm: str) -> str:
    return f"{task.name}: {arm}"


class _Speakers:
    """Adapters beside one base, each attached once, and the hash of who answers."""

    def __init__(self, loaded: LoadedBase) -> None:
        self._loaded = loaded
        self._names: dict[Path, str] = {}
        self._detach: list[Callable[[], object]] = []
        self.by_adapter: dict[str | None, str] = {None: fingerprint(loaded.base)}

    def attach(self, folder: Path | None) -> str | None:
        """The name under which a folder's adapter answers; None for the base."""
        if folder is None:
            return None
        if folder not in self._names:
            name = str(folder)
            adapter = attach_folder(self._loaded, folder, name=name)
            self._detach.append(adapter.detach)
            self.by_adapter[name] = fingerprint(self._loaded.base, adapter, folder)
            self._names[folder] = name
        return self._names[folder]

    def detach(self) -> None:
        """Take all of them off the base."""
        for each in self._detach:
            each()


def _answered(
    loaded: LoadedBase, asked: Mapping[str, _Asked], progress: Progress
) -> dict[str, tuple[CachedAnswer, ...]]:
    """Every arm's answers; those that may be equally long share a stream."""
    said: dict[str, tuple[CachedAnswer, ...]] = {}
    for longest in dict.fromkeys(each.longest for each in asked.values()):
        group = {key: each for key, each in asked.items() if each.longest == longest}
        sampling, stop_ids = Sampling(max_new_tokens=longest), loaded.base.stop_ids
        # Tasks may ask one voice the same: then it is answered, and known, once.
        participants = {each.participant for each in group.values()}
        by_voice = {
            participant: open_cache(participant, sampling, stop_ids) for participant in participants
        }
        caches = {key: by_voice[each.participant] for key, each in group.items()}
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
    """Say about how long answering will take."""
    waiting: list[Prompt] = [prompt for _, prompt in unanswered(arms, caches)]
    if not waiting:
        return
    references = [question.reference for task in tasks for question in task.questions]
    lengths = [len(ids) for ids in encode(loaded.base.tokenizer, references)]
    longest = tasks[0].config.evaluate.max_new_tokens
    work = AnsweringWork(waiting, expected=sum(lengths) / len(lengths), longest=longest)
    seconds = work.seconds(speed_of(loaded.engine, waiting))
    each = len(arms) // len(tasks)
    counts = {f"{pluralize(each, 'arm')} of {t.name}": each * len(t.questions) for t in tasks}
    progress.notice("judging", describe(seconds, work, arms=counts))


def _scored(
    loaded: LoadedBase,
    task: Task,
    names: Sequence[str],
    said: Mapping[str, tuple[CachedAnswer, ...]],
) -> TaskScores:
    """The adapter alone stands for what is tuned: differences are to it."""
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
