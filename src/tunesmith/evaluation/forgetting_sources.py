"""Which probes are meant by their names? Bundled ones, files, and tasks of lm-eval."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from tunesmith.core.errors import ConfigError, TunesmithError
from tunesmith.data.faults import Fault, Problem, refuse
from tunesmith.data.files.source import Source
from tunesmith.data.files.text import open_text
from tunesmith.data.records import READERS, read_records
from tunesmith.data.rows import ReadOptions, Record, kind_of
from tunesmith.evaluation.forgetting import Answered, Measured
from tunesmith.evaluation.forgetting_probes import (
    Logs,
    MultipleChoice,
    PlainText,
    Question,
    compare_answers,
)
from tunesmith.evaluation.likelihoods import Reader, Span

QUESTION = '{"query": "...", "choices": ["...", "..."], "gold": 0}'
TEXT = '{"text": "..."}'
LEAST_CHARACTERS = 1000  # of a text probe: an interval needs some rows

Row = Mapping[str, object]


class Probe(Protocol):
    """Texts that both arms score, and what their scores say."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def spans(self, reader: Reader) -> tuple[Span, ...]:
        """What is scored."""

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> Measured:
        """Both arms compared, from the log-likelihoods of the spans in their order."""


def read_probe(path: Path, *, name: str | None = None) -> Probe:
    """The probe of a `.jsonl` file of questions or texts, or of a `.txt` file, which is one text.

    Raises FaultyData with every fault. Its name is the file's unless given.
    """
    file = str(path)
    records = list(read_records(path, readers=PROBES))
    faults = [fault for record in records if (fault := record.fault(file))]
    rows = [(record.line, record.values) for record in records if record.values is not None]
    holds_texts = any("text" in row for _, row in rows)
    problems_of = _text_problems if holds_texts else _question_problems
    for line, row in rows:
        faults += [problem.at(file, line) for problem in problems_of(row)]
    refuse(sorted(faults, key=lambda fault: fault.line or 0))
    title = name or path.stem
    if not holds_texts:
        return MultipleChoice(title, tuple(_question(row) for _, row in rows))
    probe = PlainText(title, tuple(str(row["text"]) for _, row in rows))
    refuse(_too_little(probe, file))
    return probe


def _whole_text(source: Source, options: ReadOptions) -> Iterator[Record]:
    text, lines = open_text(source, options), []
    for number, raw in text.lines():
        line = raw if isinstance(raw, Problem) else text.decoded(raw)
        if isinstance(line, Problem):
            yield Record(number, None, line)
            return
        lines.append(line)
    yield Record(1, {"text": "".join(lines)})


def _question_problems(row: Row) -> Iterator[Problem]:
    missing = [key for key in ("query", "choices", "gold") if key not in row]
    if missing:
        found = ", ".join(row) or "nothing"
        message = f"{' and '.join(missing)} missing (found: {found})."
        yield Problem("missing_column", message, f"A row is {QUESTION}, or {TEXT}.")
        return
    query, choices, gold = row["query"], row["choices"], row["gold"]
    if not isinstance(query, str):
        yield Problem(
            "wrong_type", f'"query" must be text, this is {kind_of(query)}.', f"Write {QUESTION}."
        )
    if not isinstance(choices, list) or not all(isinstance(each, str) for each in choices):
        yield Problem("wrong_type", '"choices" must be a list of texts.', f"Write {QUESTION}.")
        return
    if len(choices) < 2 or not all(each.strip() for each in choices):
        message = f'"choices" must be two or more, none of them blank (found: {choices}).'
        yield Problem("empty", message, "Mend or remove the row.")
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(choices):
        message = (
            f'"gold" must be the place of a choice, 0 to {len(choices) - 1} (found: {gold!r}).'
        )
        yield Problem("wrong_gold", message, "Places count from 0.")


def _question(row: Row) -> Question:
    choices, gold = row["choices"], row["gold"]
    assert isinstance(choices, list)
    assert isinstance(gold, int)
    return Question(str(row["query"]), tuple(map(str, choices)), gold)


def _text_problems(row: Row) -> Iterator[Problem]:
    text = row.get("text")
    if not isinstance(text, str):
        found = ", ".join(row) or "nothing"
        message = f'"text" must be text; other rows have it (found: {found}).'
        yield Problem("wrong_type", message, "A probe holds questions or texts, not both.")
    elif not text.strip():
        yield Problem("empty", "the text is blank.", "Remove it.")


def _too_little(probe: PlainText, file: str) -> list[Fault]:
    """A fault where the texts are too short for an interval."""
    characters = sum(map(len, probe.texts))
    if characters >= LEAST_CHARACTERS:
        return []
    message = f"holds {characters} characters of text."
    remedy = f"A perplexity with an interval needs {LEAST_CHARACTERS:,} or more."
    return [Problem("too_little", message, remedy).at(file, None)]


PROBES = {".jsonl": READERS[".jsonl"], ".txt": _whole_text}


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


DEFAULT = "default"
BUNDLED = ("arc_easy", "piqa", "copa", "wikitext")  # probes/README.md
LM_EVAL = "lm_eval:"


def probes_named(names: Sequence[str]) -> tuple[Probe, ...]:
    """The probes in the order of their names; ConfigError with every fault of every one."""
    probes: list[Probe] = []
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


def _named(name: str) -> Iterator[Probe]:
    if name == DEFAULT:
        yield from (_bundled(each) for each in BUNDLED)
    elif name in BUNDLED:
        yield _bundled(name)
    elif name.startswith(LM_EVAL):
        yield from lm_eval_probes(name.removeprefix(LM_EVAL))
    elif Path(name).suffix or Path(name).exists():
        yield read_probe(Path(name))
    else:
        raise ConfigError(
            f"evaluate.forgetting.probes: there is no probe `{name}`.",
            remedy=f"Bundled are {', '.join(BUNDLED)}, all of them `{DEFAULT}`; a file is named by "
            f"its path; a task of lm-eval is {LM_EVAL}NAME.",
        )


def _bundled(name: str) -> Probe:
    return read_probe(Path(str(files("tunesmith.evaluation") / "probes" / f"{name}.jsonl")))
