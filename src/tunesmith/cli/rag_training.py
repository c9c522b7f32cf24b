"""`tunesmith rag dataset` and `rag evaluate`: train for retrieval, and see what it adds."""

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import Outcome, command
from tunesmith.cli.console import harmless, messages, print_table, stop_on_signal
from tunesmith.core.errors import UsageError
from tunesmith.core.numbers import many, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from rich.console import Console

    from tunesmith.conversation.dataset import RagRows
    from tunesmith.conversation.written_questions import WrittenQuestions
    from tunesmith.core.progress import Course
    from tunesmith.retrieval.questions import RetrievalQuestion

StoreOption = Annotated[
    str, typer.Option(metavar="S", help="The store: a folder, or an address such as s3://...")
]
ROWS = (
    "Rows with `question` and `answer` or `answers` (none: nothing answers it) and, where known, "
    "`source` (a file in the store) or `context` (the text that answers)."
)
MapOption = Annotated[
    list[str] | None,
    typer.Option("--data.map", metavar="OURS=THEIRS", help="A column's name in the file."),
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**63, help="Of what is drawn.")]
PromptOption = Annotated[
    int, typer.Option("--prompt-tokens", min=64, help="Longest prompt, sources included.")
]
SourcesOption = Annotated[int, typer.Option(min=1, help="Most sources in a prompt.")]
LISTED = 10
SHOWN = 3
STOPPING = "stopping; press again to stop at once (what was answered stays)"
STOPPED = "Stopped; answers are kept. The same command goes on from them."
REASONS = {
    "no_passage": "without a passage in the store that answers it",
    "no_source": "whose source is no file in the store, as `rag ask` names them",
    "too_long": "whose passage does not fit a prompt",
}


@command
def dataset(  # noqa: PLR0913  # one parameter for each flag
    store: StoreOption,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder for the rows.")],
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help=f"{ROWS} Without a file, the base writes a question about each chunk of the "
            "store, and those stay that find it again.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="M", help="The base to be trained: its tokens count. It writes the questions."
        ),
    ] = None,
    chunks: Annotated[
        int | None,
        typer.Option(min=1, help="Chunks that questions are written about; all unless given."),
    ] = None,
    tries: Annotated[
        int | None, typer.Option(min=1, help="At a question for each of them; 3 by default.")
    ] = None,
    among: Annotated[
        int | None,
        typer.Option(min=1, help="First hits that a question finds its chunk in; 5 by default."),
    ] = None,
    right: Annotated[float, typer.Option(help="Share with the right passage alone.")] = 0.2,
    distractors: Annotated[
        float, typer.Option(help="Share with the right passage among others.")
    ] = 0.5,
    none: Annotated[
        float, typer.Option(help="Share without it, where the answer is the refusal.")
    ] = 0.3,
    sources: SourcesOption = 5,
    share: Annotated[float, typer.Option(help="Of the questions that are held out.")] = 0.1,
    group: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What stays on one side: document, or also the questions with the same value "
            "of a column.",
        ),
    ] = "document",
    prompt_tokens: PromptOption = 2048,
    seed: SeedOption = 0,
    columns: MapOption = None,
) -> Outcome:
    """Make rows that teach a model to answer from sources, to cite them, and to decline.

    No passage is both in a row to train on and in one held out. The same call gives the same rows.
    """
    from tunesmith.conversation.dataset import Shares

    shares = Shares(right, distractors, none)
    if not 0 < share < 1:
        raise UsageError(f"--share must be above 0 and below 1 (given: {share:g}).")
    from tunesmith.conversation.dataset import DatasetSettings, make_dataset, require_free

    require_free(out)
    asked = {"chunks": chunks, "tries": tries, "among": among}
    few = {name: value for name, value in asked.items() if value is not None}
    with _working() as course:
        questions, written = _questions(
            file, store, model or _default_model(), (columns, group), {**few, "seed": seed}, course
        )
        done = make_dataset(
            questions,
            store,
            out,
            model=model or _default_model(),
            settings=DatasetSettings(shares, sources, share, prompt_tokens, seed),
            course=course,
        )
    words = ["--data", str(out / "train.jsonl"), "--data.eval", str(out / "eval.jsonl")]
    words += ["--model", model] if model else []
    following = f"tunesmith train {shlex.join(words)}"
    document = {**done.to_json(), "written": written.to_json() if written else None}
    return Outcome(
        {**document, "next": [following]},
        show=lambda console: _show_dataset(done, written, following, console),
    )


@contextlib.contextmanager
def _working() -> "Iterator[Course]":
    """Shows how far the work is; a stop is told with what stays."""
    from tunesmith.cli.progress_display import RunDisplay
    from tunesmith.core.progress import Course

    with RunDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            yield Course(emit=display, stop=stop)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(STOPPED) from None


def _questions(
    file: str | None,
    store: str,
    model: str,
    reading: tuple[list[str] | None, str],
    writing: "Mapping[str, int]",
    course: "Course",
) -> "tuple[Sequence[RetrievalQuestion], WrittenQuestions | None]":
    """Those of a file, with the columns and the group of ``reading``; else what a base writes.

    Raises UsageError for settings of the one that were given with the other.
    """
    columns, group = reading
    few = [f"--{name}" for name in writing if name != "seed"]
    if file is not None and few:
        raise UsageError(f"{', '.join(few)}: questions are written where no file holds them.")
    if file is None and (columns or group != "document"):
        raise UsageError("--data.map and --group name columns of a file of questions.")
    if file is not None:
        from tunesmith.conversation.questions import read_questions

        column = None if group == "document" else group
        return read_questions(file, columns=_columns(columns), group=column), None
    from tunesmith.conversation.written_questions import Writing, write_questions

    written = write_questions(store, model=model, settings=Writing(**writing), course=course)
    return written.questions, written


def _default_model() -> str:
    from tunesmith.config import RunConfig

    return str(RunConfig.model_fields["model"].default)


def _columns(pairs: list[str] | None) -> dict[str, str]:
    if wrong := [pair for pair in pairs or [] if "=" not in pair]:
        raise UsageError(f"--data.map takes OURS=THEIRS (given: {', '.join(wrong)}).")
    return dict(pair.split("=", 1) for pair in pairs or [])


def _show_dataset(
    done: "RagRows", written: "WrittenQuestions | None", following: str, console: "Console"
) -> None:
    if written is not None:
        _show_written(written, console)
    titles = ("", "right passage", "among others", "without it")
    rows = [(name, *(f"{n:,}" for n in kinds.values())) for name, kinds in done.rows.items()]
    print_table(console, titles, rows=rows, numbers=titles[1:])
    for name, lines in done.left_out.items():
        if lines:
            listed = f"{many(len(lines), 'question')} {REASONS[name]} (lines {_listed(lines)})"
            text = f"Left out: {listed}."
            console.print(text, style="yellow", soft_wrap=True)
    console.print("\nNext:", style="bold")
    console.print(f"  {harmless(following)}", soft_wrap=True)


def _listed(lines: "Sequence[int]") -> str:
    return ", ".join(map(str, lines[:LISTED])) + (", ..." if len(lines) > LISTED else "")


def _show_written(written: "WrittenQuestions", console: "Console") -> None:
    from tunesmith.conversation.written_questions import FAULTS

    kept = f"{many(len(written.questions), 'question')} of {many(written.chunks, 'chunk')}"
    console.print(f"{kept} may stay. Of the other replies:", soft_wrap=True)
    for fault, count in sorted(written.faults.items(), key=lambda item: -item[1]):
        console.print(f"  {count:,} {FAULTS[fault]}", soft_wrap=True)
    for each in written.questions[:SHOWN]:
        text = f"For example: {each.text} {each.answers[0]}"
        console.print(harmless(text), style="dim", soft_wrap=True)


@command
def evaluate(  # noqa: PLR0913  # one parameter for each flag
    file: Annotated[str, typer.Argument(metavar="FILE", help=ROWS)],
    store: StoreOption,
    model: Annotated[
        str | None, typer.Option(metavar="M", help="The base, or a run's folder.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(metavar="A", help="What is tuned: an adapter's or run's folder.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For the page, the document and all answers; runs/rag-evaluation unless given.",
        ),
    ] = None,
    mode: Annotated[
        Literal["hybrid", "dense", "text"],
        typer.Option(help="Retriever whose passages are shown."),
    ] = "hybrid",
    sources: SourcesOption = 5,
    removed: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share asked once more with what answers taken out of the sources."
        ),
    ] = 0.3,
    threshold: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Confidence of `rag ask`.")
    ] = None,
    prompt_tokens: PromptOption = 2048,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")
    ] = 48,
    seed: SeedOption = 0,
    columns: MapOption = None,
) -> Outcome:
    """Say what retrieval finds, and what it and tuning add to the answers.

    The base and the adapter answer every question without and with retrieval.
    """
    from tunesmith.conversation.questions import read_questions
    from tunesmith.conversation.rag_evaluation import TrialSettings, evaluate_retrieval
    from tunesmith.core import files
    from tunesmith.report.rag_page import rag_page
    from tunesmith.runs.folder import free_folder

    questions = read_questions(file, columns=_columns(columns))
    out = out or free_folder("rag-evaluation")
    settings = TrialSettings(mode, sources, prompt_tokens, max_new_tokens, removed, threshold, seed)
    with _working() as course:
        document = evaluate_retrieval(
            questions, store, out, voices=(model, adapter), settings=settings, course=course
        )
    files.write_text(Path(str(document["report"])), rag_page(document, name=out.resolve().name))
    return Outcome(document, show=lambda console: _show_evaluation(document, console))


def _show_evaluation(document: "Mapping[str, Any]", console: "Console") -> None:
    from tunesmith.report.rag_page import MEASURES, SCORES

    for part, names in (("retrieval", MEASURES), ("cells", SCORES)):
        titles = ("", *(name.replace("_", " ") for name in names))
        rows = [
            (key, *(_share(each[name]) for name in names)) for key, each in _rows_of(document, part)
        ]
        print_table(console, titles, rows=rows, numbers=titles[1:])
    for reason in ("no_passage", "no_source"):
        if lines := document[f"{reason}_lines"]:
            listed = f"{many(len(lines), 'question')} {REASONS[reason]} (lines {_listed(lines)})"
            console.print(f"Counted as missed: {listed}.", style="yellow", soft_wrap=True)
    for effect in document["effects"].values():
        console.print(effect["text"], soft_wrap=True)
    if (fitted := document["fitted_threshold"]) is not None:
        console.print(
            f"By these questions --threshold {fitted['score']:.2f} would refuse "
            f"{percent(fitted['refusals'])} of those that nothing shown answers and "
            f"{percent(fitted['false_refusals'])} of the others.",
            soft_wrap=True,
        )
    console.print(harmless(str(document["report"])), soft_wrap=True)


def _rows_of(document: "Mapping[str, Any]", part: str) -> "Iterator[tuple[str, Mapping[str, Any]]]":
    """Retrievers, or cells and what they are when questions below the threshold are refused."""
    for name, each in document[part].items():
        if each is not None:
            yield name, each
            if "with_threshold" in each:
                yield f"{name}, threshold {document['threshold']:.2f}", each["with_threshold"]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
