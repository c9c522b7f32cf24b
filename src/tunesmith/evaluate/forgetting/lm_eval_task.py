"""A task of EleutherAI's lm-eval as a probe: it makes the requests and reads the answers."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tunesmith.errors import ConfigError
from tunesmith.evaluate.forgetting.findings import Answered, Measured
from tunesmith.evaluate.forgetting.multiple_choice import Logs, compare_answers
from tunesmith.evaluate.forgetting.plain_text import PlainText
from tunesmith.evaluate.forgetting.spans import Reader, Span

FEWSHOT_SEED = 1234  # lm-eval's own
CHOICES, ROLLING = "multiple_choice", "loglikelihood_rolling"


class Instance(Protocol):
    """A request of lm-eval."""

    doc: object
    doc_id: int
    idx: int
    args: tuple[str, ...]


class Task(Protocol):
    """What is used of a task of lm-eval."""

    OUTPUT_TYPE: str
    instances: Sequence[Instance]

    def set_fewshot_seed(self, seed: int) -> None: ...

    def build_all_requests(self) -> None: ...

    def process_results(self, doc: object, results: object) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class ChoiceTask:
    """A task of questions with choices."""

    name: str
    task: Task
    documents: tuple[tuple[Instance, ...], ...]

    def spans(self, reader: Reader) -> tuple[Span, ...]:
        """What is scored: each choice after its context, those of one context together."""
        pairs = [
            (context, [each.args[1] for each in group])
            for document in self.documents
            for context, group in itertools.groupby(document, key=lambda each: each.args[0])
        ]
        return tuple(reader.continuations(pairs))

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> Measured:
        """Both arms compared, by the task's own `acc` and `acc_norm`."""
        return compare_answers(self.name, self._answered(base), self._answered(tuned), seed=seed)

    def _answered(self, logs: Sequence[Logs]) -> Answered:
        sums = iter([(float(each.sum(dtype="float64")), False) for each in logs])
        right, norm = [], []
        for document in self.documents:
            results = list(itertools.islice(sums, len(document)))
            found = self.task.process_results(document[0].doc, results)
            right.append(round(float(str(found["acc"]))))
            norm.append(round(float(str(found.get("acc_norm", found["acc"])))))
        return Answered(tuple(right), tuple(norm))


@dataclass(frozen=True, slots=True)
class TextTask:
    """A task of plain texts; the task itself counts words and bytes."""

    plain: PlainText
    task: Task
    documents: tuple[tuple[Instance, ...], ...]

    @property
    def name(self) -> str:
        """The task's."""
        return self.plain.name

    def spans(self, reader: Reader) -> tuple[Span, ...]:
        """What is scored: every token of every text once."""
        return self.plain.spans(reader)

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> Measured:
        """Both arms compared, with the task's own perplexities by word and by byte."""
        found = self.plain.measured(base, tuned, seed=seed)
        counts = self._counts()
        tokens = sum(len(each) for each in base)
        own = {
            key: {
                "base": math.exp(math.log(found.base) * tokens / count),
                "tuned": math.exp(math.log(found.tuned) * tokens / count),
            }
            for key, count in counts.items()
        }
        return replace(found, details={**found.details, **own})

    def _counts(self) -> dict[str, float]:
        """Words and bytes by the name of the perplexity that counts them."""
        counts: dict[str, float] = {}
        for document in self.documents:
            values = self.task.process_results(document[0].doc, [0.0])
            for key in ("word_perplexity", "byte_perplexity"):
                weighted = values.get(key)
                if isinstance(weighted, tuple):
                    counts[key] = counts.get(key, 0.0) + float(weighted[1])
        return counts


def lm_eval_probes(name: str) -> Iterator[ChoiceTask | TextTask]:
    """The probes of a task or group of lm-eval, or of a task's own YAML file.

    Raises ConfigError where lm-eval is not installed, has no such task, cannot fetch its rows, or
    where the task needs answers that are generated.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ConfigError(
            f"evaluate.forgetting.probes: `lm_eval:{name}` needs lm-eval, which is not installed "
            f"({error}).",
            remedy="pip install 'tunesmith[lm-eval]'",
        ) from None
    path = Path(name)
    is_file = path.suffix in (".yaml", ".yml")
    try:
        manager = TaskManager(include_path=str(path.parent) if is_file else None)
        tasks = manager.load([path.stem if is_file else name])["tasks"]
        for task in tasks.values():
            task.set_fewshot_seed(seed=FEWSHOT_SEED)
            task.build_all_requests()
    except Exception as error:  # whatever a task's own code, its YAML or a download raises
        raise ConfigError(
            f"evaluate.forgetting.probes: lm-eval cannot make the task `{name}`: "
            f"{type(error).__name__}: {error}",
            remedy="`lm_eval ls tasks` lists the tasks; their rows come from a hub.",
        ) from error
    for title, task in tasks.items():
        yield _probe(title, task)


def _probe(name: str, task: Task) -> ChoiceTask | TextTask:
    ordered = sorted(task.instances, key=lambda each: (each.doc_id, each.idx))
    groups = itertools.groupby(ordered, key=lambda each: each.doc_id)
    documents = tuple(tuple(group) for _, group in groups)
    if task.OUTPUT_TYPE == CHOICES:
        return ChoiceTask(name, task, documents)
    if task.OUTPUT_TYPE == ROLLING:
        texts = tuple(document[0].args[0] for document in documents)
        return TextTask(PlainText(name, texts), task, documents)
    raise ConfigError(
        f"evaluate.forgetting.probes: the task `{name}` of lm-eval asks for {task.OUTPUT_TYPE}.",
        remedy=f"Name one of kind {CHOICES} or {ROLLING}.",
    )
