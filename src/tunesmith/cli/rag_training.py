"""`tunesmith rag dataset` and `rag evaluate`: train for retrieval, and see what it adds."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.console import harmless, say
from tunesmith.cli.outcome import Outcome, command
from tunesmith.cli.tables import print_table
from tunesmith.counts import many
from tunesmith.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rich.console import Console

    from tunesmith.workflows.rag_dataset import Dataset

StoreOption = Annotated[
    str, typer.Option(metavar="S", help="The store: a folder, or an address such as s3://...")
]
FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Rows with `question` and `answer` or `answers` (none: nothing answers it) and, "
        "where known, `source` (a file in the store) or `context` (the text that answers).",
    ),
]
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
REASONS = {
    "no_passage": "without a passage in the store that answers it",
    "too_long": "whose passage does not fit a prompt",
}


@command
def dataset(  # noqa: PLR0913  # one parameter for each flag
    file: FileArgument,
    store: StoreOption,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder for the rows.")],
    model: Annotated[
        str | None, typer.Option(metavar="M", help="The base to be trained: its tokens count.")
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
    from tunesmith.rag.training import Shares

    shares = Shares(right, distractors, none)
    if not 0 < share < 1:
        raise UsageError(f"--share must be above 0 and below 1 (given: {share:g}).")
    from tunesmith.workflows.rag_dataset import DatasetSettings, make_dataset
    from tunesmith.workflows.rag_questions import read_questions

    column = None if group == "document" else group
    done = make_dataset(
        read_questions(file, columns=_columns(columns), group=column),
        store,
        out,
        model=model or _default_model(),
        settings=DatasetSettings(shares, sources, share, prompt_tokens, seed),
        emit=say,
    )
    document = done.to_json()
    words = ["--data", str(out / "train.jsonl"), "--data.eval", str(out / "eval.jsonl")]
    words += ["--model", model] if model else []
    following = f"tunesmith train {shlex.join(words)}"
    return Outcome(
        {**document, "next": [following]},
        show=lambda console: _show_dataset(done, following, console),
    )


def _default_model() -> str:
    from tunesmith.config import RunConfig

    return str(RunConfig.model_fields["model"].default)


def _columns(pairs: list[str] | None) -> dict[str, str]:
    if wrong := [pair for pair in pairs or [] if "=" not in pair]:
        raise UsageError(f"--data.map takes OURS=THEIRS (given: {', '.join(wrong)}).")
    return dict(pair.split("=", 1) for pair in pairs or [])


def _show_dataset(done: "Dataset", following: str, console: "Console") -> None:
    titles = ("", "right passage", "among others", "without it")
    rows = [(name, *(f"{n:,}" for n in kinds.values())) for name, kinds in done.rows.items()]
    print_table(console, titles, rows=rows, numbers=titles[1:])
    for name, lines in done.left_out.items():
        if lines:
            listed = ", ".join(map(str, lines[:LISTED])) + (", ..." if len(lines) > LISTED else "")
            text = f"Left out: {many(len(lines), 'question')} {REASONS[name]} (lines {listed})."
            console.print(text, style="yellow", soft_wrap=True)
    console.print("\nNext:", style="bold")
    console.print(f"  {harmless(following)}", soft_wrap=True)


@command
def evaluate(  # noqa: PLR0913  # one parameter for each flag
    file: FileArgument,
    store: StoreOption,
    model: Annotated[
        str | None, typer.Option(metavar="M", help="The base, or a run's folder.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(metavar="A", help="What is tuned: an adapter's or run's folder.")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="For the page, the document and all answers.")
    ] = Path("rag-evaluation"),
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
    from tunesmith.workflows.rag_evaluate import TrialSettings, evaluate_retrieval
    from tunesmith.workflows.rag_questions import read_questions

    document = evaluate_retrieval(
        read_questions(file, columns=_columns(columns)),
        store,
        out,
        voices=(model, adapter),
        settings=TrialSettings(
            mode, sources, prompt_tokens, max_new_tokens, removed, threshold, seed
        ),
        emit=say,
    )
    return Outcome(document, show=lambda console: _show_evaluation(document, console))


RETRIEVAL = ("recall_at_1", "recall_at_5", "mrr", "ndcg_at_10")
SCORES = ("exact_match", "f1", "refusal", "false_refusal", "citation_precision", "faithfulness")


def _show_evaluation(document: "Mapping[str, Any]", console: "Console") -> None:
    for part, names in (("retrieval", RETRIEVAL), ("cells", SCORES)):
        titles = ("", *(name.replace("_", " ") for name in names))
        rows = [
            (key, *(_share(each[name]) for name in names))
            for key, each in document[part].items()
            if each is not None
        ]
        print_table(console, titles, rows=rows, numbers=titles[1:])
    for effect in document["effects"].values():
        console.print(effect["text"], soft_wrap=True)
    console.print(harmless(str(document["report"])), soft_wrap=True)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
