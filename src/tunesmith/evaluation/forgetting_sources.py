"""Which probes are meant by their names? Bundled ones, files, and tasks of lm-eval."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from tunesmith.core.errors import ConfigError, TunesmithError
from tunesmith.core.extras import require
from tunesmith.data.faults import Fault, refuse
from tunesmith.data.files.source import Source
from tunesmith.data.files.text import open_text
from tunesmith.data.records import READERS, read_records
from tunesmith.data.rows import ReadOptions, Record
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.forgetting_probes import (
    ChoiceQuestion,
    MultipleChoice,
    PlainText,
    ProbeAnswers,
    ProbeMeasure,
    compare_answers,
)
from tunesmith.evaluation.forgetting_prompts import ProbePrompt, PromptProbe
from tunesmith.evaluation.given_rows import ChoiceRow, PromptRow, TextRow, given_rows
from tunesmith.evaluation.likelihoods import Logs, Reader, ScoredSpan
from tunesmith.evaluation.probe_names import GROUPS, LM_EVAL, is_probe_file

MIN_CHARACTERS = 1000  # of a text probe: an interval needs some rows


class Probe(Protocol):
    """Texts that both arms score, and what their scores say."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def spans(self, reader: Reader) -> tuple[ScoredSpan, ...]:
        """What is scored."""

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> ProbeMeasure:
        """Both arms compared, from the log-likelihoods of the spans in their order."""


def read_probe(path: Path, *, name: str | None = None) -> Probe | PromptProbe:
    """The probe of a `.jsonl` file of questions, texts or prompts, or of a `.txt` file, which is
    one text.

    Raises FaultyData with every fault. Its name is the file's unless given.
    """
    records, title = list(read_records(path, readers=PROBES)), name or path.stem
    has = {key for record in records for key in record.values or ()}
    if has & {"checks", "open"} and not has & {"choices", "text"}:
        return PromptProbe(title, tuple(_prompts(given_rows(records, PromptRow, path), path)))
    if "text" not in has:
        rows = given_rows(records, ChoiceRow, path)
        questions = (ChoiceQuestion(row.query, tuple(row.choices), row.gold) for row in rows)
        return MultipleChoice(title, tuple(questions))
    probe = PlainText(title, tuple(row.text for row in given_rows(records, TextRow, path)))
    refuse(_too_little(probe, str(path)))
    return probe


OTHER_CHECK = "Use a kind that needs no answer of the data, such as regex, json or refusal."


def _prompts(rows: Sequence[PromptRow], path: Path) -> Iterator[ProbePrompt]:
    """The prompts; raises FaultyData with every check that cannot be used."""
    faults: list[Fault] = []
    for number, row in enumerate(rows, start=1):
        try:
            checks = build_checks(row.checks)
        except TunesmithError as error:
            message = error.message.replace("evaluate.checks", "checks")
            remedy = error.remedy or OTHER_CHECK
            faults.append(Fault("check", message, remedy).at(str(path), number))
            continue
        faults += [
            Fault("check", f"the check `{check.name}`: {why}.", OTHER_CHECK).at(str(path), number)
            for check in checks
            if (why := check.reference_fault(None, row.query)) is not None
        ]
        yield ProbePrompt(row.query, checks, tuple(row.tools), is_open=row.open)
    refuse(faults)


def _whole_text(source: Source, options: ReadOptions) -> Iterator[Record]:
    text, lines = open_text(source, options), []
    for number, raw in text.lines():
        line = raw if isinstance(raw, Fault) else text.decoded(raw)
        if isinstance(line, Fault):
            yield Record(number, None, line)
            return
        lines.append(line)
    yield Record(1, {"text": "".join(lines)})


def _too_little(probe: PlainText, file: str) -> list[Fault]:
    """A fault where the texts are too short for an interval."""
    characters = sum(map(len, probe.texts))
    if characters >= MIN_CHARACTERS:
        return []
    message = f"holds {characters} characters of text."
    remedy = f"A perplexity with an interval needs {MIN_CHARACTERS:,} or more."
    return [Fault("too_little", message, remedy).at(file, None)]


PROBES = {".jsonl": READERS[".jsonl"], ".txt": _whole_text}


FEWSHOT_SEED = 1234  # lm-eval's own
CHOICES, ROLLING = "multiple_choice", "loglikelihood_rolling"


class LmEvalRequest(Protocol):
    """A request of lm-eval."""

    doc: object
    doc_id: int
    idx: int
    args: tuple[str, ...]


class LmEvalTask(Protocol):
    """What is used of a task of lm-eval."""

    OUTPUT_TYPE: str
    instances: Sequence[LmEvalRequest]

    def set_fewshot_seed(self, seed: int) -> None: ...

    def build_all_requests(self) -> None: ...

    def process_results(self, doc: object, results: object) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class ChoiceTask:
    """A task of questions with choices."""

    name: str
    task: LmEvalTask
    documents: tuple[tuple[LmEvalRequest, ...], ...]

    def spans(self, reader: Reader) -> tuple[ScoredSpan, ...]:
        """What is scored: each choice after its context, those of one context together."""
        pairs = [
            (context, [each.args[1] for each in group])
            for document in self.documents
            for context, group in itertools.groupby(document, key=lambda each: each.args[0])
        ]
        return tuple(reader.continuations(pairs))

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> ProbeMeasure:
        """Both arms compared, by the task's own `acc` and `acc_norm`."""
        return compare_answers(self.name, self._answered(base), self._answered(tuned), seed=seed)

    def _answered(self, logs: Sequence[Logs]) -> ProbeAnswers:
        sums = iter([(float(each.sum(dtype="float64")), False) for each in logs])
        right, norm = [], []
        for document in self.documents:
            results = list(itertools.islice(sums, len(document)))
            found = self.task.process_results(document[0].doc, results)
            right.append(round(float(str(found["acc"]))))
            norm.append(round(float(str(found.get("acc_norm", found["acc"])))))
        return ProbeAnswers(tuple(right), tuple(norm))


Documents = tuple[tuple[LmEvalRequest, ...], ...]


def _own_counts(task: LmEvalTask, documents: Documents) -> dict[str, float]:
    """Words and bytes as the task counts them, by the name of the perplexity that does."""
    counts: dict[str, float] = {}
    for document in documents:
        values = task.process_results(document[0].doc, [0.0])
        for key in ("word_perplexity", "byte_perplexity"):
            weighted = values.get(key)
            if isinstance(weighted, tuple):
                counts[key] = counts.get(key, 0.0) + float(weighted[1])
    return counts


def lm_eval_probes(name: str) -> Iterator[Probe]:
    """The probes of a task or group of lm-eval, or of a task's own YAML file.

    Raises ConfigError where lm-eval is not installed, has no such task, cannot fetch its rows, or
    where the task needs answers that are generated.
    """
    what = f"evaluate.forgetting.probes: `lm_eval:{name}`"
    library = require("lm_eval.tasks", "lm-eval", ConfigError, what=what)
    path = Path(name)
    is_file = path.suffix in (".yaml", ".yml")
    try:
        manager = library.TaskManager(include_path=str(path.parent) if is_file else None)
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


def _probe(name: str, task: LmEvalTask) -> Probe:
    ordered = sorted(task.instances, key=lambda each: (each.doc_id, each.idx))
    groups = itertools.groupby(ordered, key=lambda each: each.doc_id)
    documents = tuple(tuple(group) for _, group in groups)
    if task.OUTPUT_TYPE == CHOICES:
        return ChoiceTask(name, task, documents)
    if task.OUTPUT_TYPE == ROLLING:
        texts = tuple(document[0].args[0] for document in documents)
        return PlainText(name, texts, _own_counts(task, documents))
    raise ConfigError(
        f"evaluate.forgetting.probes: the task `{name}` of lm-eval asks for {task.OUTPUT_TYPE}.",
        remedy=f"Name one of kind {CHOICES} or {ROLLING}.",
    )


def probes_named(names: Sequence[str]) -> tuple[Probe | PromptProbe, ...]:
    """The probes in the order of their names; ConfigError with every fault of every one."""
    probes: list[Probe | PromptProbe] = []
    faults: list[str] = []
    for name in names:
        try:
            probes += _named(name)
        except TunesmithError as error:
            faults.append(str(error))
    counts = Counter(probe.name for probe in probes)
    faults += [
        f"evaluate.forgetting.probes: more than one probe is called {name}."
        for name, count in counts.items()
        if count > 1
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(probes)


def _named(name: str) -> Iterator[Probe | PromptProbe]:
    if is_probe_file(name):
        probe = read_probe(Path(name))
        yield probe.mixed() if isinstance(probe, MultipleChoice) else probe
    elif name.startswith(LM_EVAL):
        yield from lm_eval_probes(name.removeprefix(LM_EVAL))
    else:
        yield from map(_bundled, GROUPS.get(name, (name,)))


def _bundled(name: str) -> Probe | PromptProbe:
    return read_probe(Path(str(files("tunesmith.evaluation") / "probes" / f"{name}.jsonl")))
