"""`tunesmith rag`: documents in, answers with sources out; train for it, and see what it adds."""

import functools
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith.api.show import Outcome, sanitize
from tunesmith.cli.command import (
    LONGEST_ANSWER,
    AsJson,
    Columns,
    Share,
    calls,
    command,
    pairs_of,
    say,
)

app = typer.Typer(help="Documents in, answers with sources out.")

StoreOption = Annotated[
    str, typer.Option(metavar="S", help="The store: a folder, or an address such as s3://...")
]
ROWS = (
    "Rows with `question` and `answer` or `answers` (none: nothing answers it) and, where known, "
    "`source` (a file in the store) or `context` (the text that answers)."
)
SeedOption = Annotated[int, typer.Option(min=0, max=2**63, help="Of what is drawn.")]
PromptTokens = Annotated[
    int, typer.Option("--prompt-tokens", min=64, help="Longest prompt, sources included.")
]
Sources = Annotated[int, typer.Option(min=1, help="Most sources in a prompt.")]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=-1,
        max=1,
        help="Smallest confidence; below it the documents do not answer the question. By default "
        "the one measured for the store's embedding model.",
    ),
]
Retriever = Annotated[
    Literal["hybrid", "dense", "text"],
    typer.Option(help="How passages are found: by meaning (dense), by words (text), or both."),
]
Model = Annotated[str | None, typer.Option(metavar="M", help="A base, or a run's folder.")]
Adapter = Annotated[str | None, typer.Option(metavar="A", help="An adapter's or a run's folder.")]
MAPPED = functools.partial(pairs_of, "data.map")


@app.command("index")
@calls("rag.index")
def index(  # noqa: PLR0913  # one parameter for each flag
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The documents.")],
    store: StoreOption,
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Embedding model: all-minilm-l6-v2 (English, the default), "
            "multilingual-e5-small (100 languages), or a folder.",
        ),
    ] = None,
    chunk_tokens: Annotated[
        int, typer.Option("--chunk-tokens", min=8, help="Most tokens of a passage.")
    ] = 200,
    overlap: Annotated[
        int, typer.Option(min=0, help="Tokens that a passage may share with the one before.")
    ] = 40,
    processes: Annotated[
        int | None, typer.Option(min=1, help="That read files; half the cores by default.")
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try files once more that could not be read before."),
    ] = False,
) -> None:
    """Bring a folder into a store: new files are embedded, deleted ones are removed.

    Reads text, Markdown, HTML, PDF, DOCX, CSV rows and source code. The store stays valid if the
    command is stopped at any moment; the same command resumes.
    """


@app.command("ask")
@command
def ask(  # noqa: PLR0913  # one parameter for each flag
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    store: StoreOption,
    model: Model = None,
    adapter: Adapter = None,
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, help="Most sources.")] = 5,
    mode: Retriever = "hybrid",
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Only passages with this source (with * and ?), kind, heading or page. Can be "
            "repeated.",
        ),
    ] = None,
    neighbours: Annotated[
        int, typer.Option(min=0, help="Passages before and after each, shown with it.")
    ] = 0,
    threshold: Threshold = None,
    prompt_tokens: PromptTokens = 2048,
    max_new_tokens: Annotated[int, LONGEST_ANSWER] = 256,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Explain why each source was chosen."),
    ] = False,
    as_json: AsJson = False,
) -> Outcome:
    """Answer a question from the documents of a store, with numbered sources.

    Citations must exist, and quoted words must be in the sources: both are checked.
    """
    from tunesmith.api.rag import rag

    asked = rag.ask(
        question,
        store,
        model=model,
        adapter=adapter,
        limit=limit,
        mode=mode,
        where=where or [],
        neighbours=neighbours,
        threshold=threshold,
        prompt_tokens=prompt_tokens,
        max_new_tokens=max_new_tokens,
        explain=explain,
        on_text=_silent if as_json else _stream,
        progress=True,
    )
    if not as_json:
        print()
        for note in asked.notes:
            say(note, style="yellow")
    return asked


def _silent(_: str) -> None:
    """For those who want one document alone."""


def _stream(piece: str) -> None:
    print(sanitize(piece), end="", flush=True)


@app.command("dataset")
@calls("rag.dataset", columns=MAPPED)
def dataset(  # noqa: PLR0913  # one parameter for each flag
    store: StoreOption,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder for the rows.")],
    questions: Annotated[
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
        typer.Option(min=1, help="Chunks that questions are written about; all by default."),
    ] = None,
    tries: Annotated[
        int | None, typer.Option(min=1, help="At a question for each of them; 3 by default.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="First hits that a question finds its chunk in; 5 by default."),
    ] = None,
    right: Annotated[float, typer.Option(help="Share with the right passage alone.")] = 0.2,
    distractors: Annotated[
        float, typer.Option(help="Share with the right passage among others.")
    ] = 0.5,
    unanswerable: Annotated[
        float, typer.Option(help="Share without it, where the answer is the refusal.")
    ] = 0.3,
    sources: Sources = 5,
    share: Share = 0.1,
    group: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What stays on one side: document, or also the questions with the same value "
            "of a column.",
        ),
    ] = "document",
    prompt_tokens: PromptTokens = 2048,
    seed: SeedOption = 0,
    columns: Columns = None,
) -> None:
    """Make rows that teach a model to answer from sources, to cite them, and to decline.

    No passage is both in a training row and in a held-out one. The same call gives the same rows.
    """


@app.command("evaluate")
@calls("rag.evaluate", columns=MAPPED)
def evaluate(  # noqa: PLR0913  # one parameter for each flag
    questions: Annotated[str, typer.Argument(metavar="FILE", help=ROWS)],
    store: StoreOption,
    model: Model = None,
    adapter: Adapter = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For the page, the document and all answers; runs/rag-evaluation by default.",
        ),
    ] = None,
    mode: Retriever = "hybrid",
    sources: Sources = 5,
    removed: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share asked once more with what answers taken out of the sources."
        ),
    ] = 0.3,
    threshold: Threshold = None,
    prompt_tokens: PromptTokens = 2048,
    max_new_tokens: Annotated[int, LONGEST_ANSWER] = 48,
    seed: SeedOption = 0,
    columns: Columns = None,
) -> None:
    """Measure what retrieval finds, and what it and tuning add to the answers.

    The base and the adapter answer every question without and with retrieval.
    """
