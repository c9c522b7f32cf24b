"""`rag`: rows that train for retrieval, what retrieval adds, and the names of `ts.rag`."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.load import AdapterGiven
from tunesmith.api.show import Document, Outcome, line, print_table, show_next
from tunesmith.api.store import Mode, Store, ask, index, named, search
from tunesmith.api.work import OnEvent, working
from tunesmith.core.errors import UsageError
from tunesmith.core.language import current_language
from tunesmith.core.numbers import percent, pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.conversation.dataset import RagRows
    from tunesmith.conversation.written_questions import WrittenQuestions
    from tunesmith.core.progress import Progress
    from tunesmith.retrieval.questions import RetrievalQuestion

__all__ = ["Store", "rag"]

LISTED, SHOWN = 10, 3
STOPPED = "Stopped; answers are kept."
REASONS = {
    "no_passage": "without a passage in the store that answers it",
    "no_source": "whose source is not a file in the store, as `rag ask` names them",
    "too_long": "whose passage does not fit a prompt",
}


@dataclass(frozen=True, slots=True)
class DatasetDone(Outcome):
    """Rows that teach a model to answer from sources, and the command that comes next."""

    found: "RagRows"
    written: "WrittenQuestions | None"
    next: str

    def to_json(self) -> dict[str, object]:
        """What `rag dataset --json` prints."""
        written = self.written.to_json() if self.written else None
        return {**self.found.to_json(), "written": written, "next": [self.next]}

    def show(self, console: "Console") -> None:
        """Rows by kind, questions that were left out, what comes next."""
        if self.written is not None:
            _show_written(self.written, console)
        titles = ("", "right passage", "among others", "without it")
        rows = [
            (name, *(f"{n:,}" for n in kinds.values())) for name, kinds in self.found.rows.items()
        ]
        print_table(console, titles, rows=rows, numbers=titles[1:])
        for name, lines in self.found.left_out.items():
            if lines:
                line(console, f"Left out: {_missed(name, lines)}.", style="yellow")
        show_next(console, [self.next])


def _show_written(written: "WrittenQuestions", console: "Console") -> None:
    from tunesmith.conversation.written_questions import FAULTS

    kept = (
        f"{pluralize(len(written.questions), 'question')} of {pluralize(written.chunks, 'chunk')}"
    )
    line(console, f"{kept} are kept. Of the other replies:")
    for fault, count in sorted(written.faults.items(), key=lambda item: -item[1]):
        line(console, f"  {count:,} {FAULTS[fault]}")
    for each in written.questions[:SHOWN]:
        text = f"For example: {each.text} {each.answers[0]}"
        line(console, text, style="dim")


def _missed(reason: str, lines: Sequence[int]) -> str:
    """`3 questions without ... (lines 1, 2, 9)`."""
    listed = ", ".join(map(str, lines[:LISTED])) + (", ..." if len(lines) > LISTED else "")
    return f"{pluralize(len(lines), 'question')} {REASONS[reason]} (lines {listed})"


def dataset(  # noqa: PLR0913  # one keyword for each setting
    store: str | Path,
    out: str | Path,
    *,
    questions: str | Path | None = None,
    model: str | None = None,
    chunks: int | None = None,
    tries: int | None = None,
    top_k: int | None = None,
    right: float = 0.2,
    distractors: float = 0.5,
    unanswerable: float = 0.3,
    sources: int = 5,
    share: float = 0.1,
    group: str = "document",
    prompt_tokens: int = 2048,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> DatasetDone:
    """Make rows that teach ``model`` to answer from sources, to cite them, and to decline.

    ``questions``: a file with `question`, `answer` and, where known, `source` or `context`; without
    it the base writes ``tries`` questions about each of at most ``chunks`` chunks, and those stay
    that find it again among their ``top_k`` first hits. ``right``, ``distractors`` and
    ``unanswerable`` are shares of rows with the right passage alone, among others, and without it.
    ``share`` of the questions is held out, no passage on both sides. The same call gives the same
    rows.
    """
    from tunesmith.conversation.dataset import Shares

    shares = Shares(right, distractors, unanswerable)
    if not 0 < share < 1:
        raise UsageError(f"share must be above 0 and below 1 (given: {share:g}).")
    from tunesmith.conversation.dataset import DatasetSettings, make_dataset, require_free

    require_free(Path(out))
    base = model or _default_model()
    asked = {"chunks": chunks, "tries": tries, "top_k": top_k}
    few = {name: value for name, value in asked.items() if value is not None}
    with working(stopped=STOPPED, on_event=on_event, progress=progress) as work:
        if questions is None:
            if columns or group != "document":
                raise UsageError("columns and group are about a file of questions; none is given.")
            found, written = _written(str(store), base, {**few, "seed": seed}, work.progress)
        else:
            found, written = _read(questions, columns, group, few), None
        settings = DatasetSettings(shares, sources, share, prompt_tokens, seed)
        done = make_dataset(
            found, str(store), Path(out), model=base, settings=settings, progress=work.progress
        )
    words = ["--data", str(Path(out) / "train.jsonl"), "--data.eval", str(Path(out) / "eval.jsonl")]
    words += ["--model", model] if model else []
    return DatasetDone(done, written, f"tunesmith train {shlex.join(words)}")


def _read(
    file: str | Path, columns: Mapping[str, str] | None, group: str, few: Mapping[str, int]
) -> "Sequence[RetrievalQuestion]":
    """Questions of a file; UsageError for settings that apply to written ones."""
    from tunesmith.conversation.questions import read_questions

    if few:
        raise UsageError(f"{', '.join(few)}: questions are written only where no file is given.")
    column = None if group == "document" else group
    return read_questions(str(file), columns=dict(columns or {}), group=column)


def _written(
    store: str, model: str, settings: Mapping[str, int], progress: "Progress"
) -> "tuple[Sequence[RetrievalQuestion], WrittenQuestions]":
    from tunesmith.conversation.written_questions import Writing, write_questions

    written = write_questions(store, model=model, settings=Writing(**settings), progress=progress)
    return written.questions, written


def _default_model() -> str:
    from tunesmith.config import RunConfig

    return str(RunConfig.model_fields["model"].default)


@dataclass(frozen=True, slots=True)
class RagEvaluation(Outcome):
    """What retrieval finds, and what it and tuning add to the answers."""

    document: Document

    @property
    def report(self) -> Path:
        """Its page."""
        return Path(self.document["report"])

    def to_json(self) -> Document:
        """What `rag evaluate --json` prints."""
        return self.document

    def show(self, console: "Console") -> None:
        """Retrievers, cells, and what each of the two adds."""
        document = self.document
        from tunesmith.report.rag_page import MEASURES, SCORES

        for part, names in (("retrieval", MEASURES), ("cells", SCORES)):
            titles = ("", *(name.replace("_", " ") for name in names))
            rows = [
                (key, *(_share(each[name]) for name in names))
                for key, each in _rows_of(document, part)
            ]
            print_table(console, titles, rows=rows, numbers=titles[1:])
        for reason in ("no_passage", "no_source"):
            if lines := document[f"{reason}_lines"]:
                line(console, f"Counted as missed: {_missed(reason, lines)}.", style="yellow")
        for effect in document["effects"].values():
            line(console, effect["text"])
        if (fitted := document["fitted_threshold"]) is not None:
            line(
                console,
                f"By these questions --threshold {fitted['score']:.2f} would refuse "
                f"{percent(fitted['refusals'])} of those that nothing shown answers and "
                f"{percent(fitted['false_refusals'])} of the others.",
            )
        line(console, str(document["report"]))


def _rows_of(document: Document, part: str) -> Iterator[tuple[str, Document]]:
    """Retrievers, or cells and what they are when questions below the threshold are refused."""
    for name, each in document[part].items():
        if each is not None:
            yield name, each
            if "with_threshold" in each:
                yield f"{name}, threshold {document['threshold']:.2f}", each["with_threshold"]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def evaluate(  # noqa: PLR0913  # one keyword for each setting
    questions: str | Path,
    store: str | Path,
    *,
    model: AdapterGiven | None = None,
    adapter: AdapterGiven | None = None,
    out: str | Path | None = None,
    mode: Mode = "hybrid",
    sources: int = 5,
    removed: float = 0.3,
    threshold: float | None = None,
    prompt_tokens: int = 2048,
    max_new_tokens: int = 48,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> RagEvaluation:
    """The base and the adapter answer every question without and with retrieval.

    A share ``removed`` is asked once more with what answers them taken out of the sources. The
    page, the document and all answers go into ``out``, runs/rag-evaluation unless given. Answers
    are cached: a cancelled call resumes from them.
    """
    from tunesmith.conversation.questions import read_questions
    from tunesmith.conversation.rag_evaluation import TrialSettings, evaluate_retrieval
    from tunesmith.core.files import replace_text
    from tunesmith.report.rag_page import rag_page
    from tunesmith.runs.own_folder import own_folder

    asked = read_questions(str(questions), columns=dict(columns or {}))
    settings = TrialSettings(mode, sources, prompt_tokens, max_new_tokens, removed, threshold, seed)
    with (
        own_folder(out, "rag-evaluation") as folder,
        working(stopped=STOPPED, on_event=on_event, progress=progress) as work,
    ):
        document = evaluate_retrieval(
            asked,
            str(store),
            folder,
            participants=(named(model), named(adapter)),
            settings=settings,
            progress=work.progress,
        )
    evaluation = RagEvaluation(document)
    name, language = folder.resolve().name, current_language()
    replace_text(evaluation.report, rag_page(document, name=name, language=language))
    return evaluation


class rag:  # written `ts.rag.ask(...)`, as a module would be
    """Documents in, answers with sources out."""

    index = staticmethod(index)
    search = staticmethod(search)
    ask = staticmethod(ask)
    dataset = staticmethod(dataset)
    evaluate = staticmethod(evaluate)
