"""`tunesmith rag`: documents in, answers with sources out; train for it, and see what it adds."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith.api.show import Outcome, sanitize
from tunesmith.cli.command import AsJson, command
from tunesmith.cli.console import say

app = typer.Typer(help="Documents in, answers with sources out.")

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


@app.command("index")
@command
def index(  # noqa: PLR0913  # one parameter for each flag
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The documents.")],
    store: StoreOption,
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Embedding model: all-minilm-l6-v2 (English, unless given), "
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
        int | None, typer.Option(min=1, help="That read files; half the cores unless given.")
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try files once more that could not be read before."),
    ] = False,
) -> Outcome:
    """Bring a folder into a store: what is new is embedded, what is gone leaves.

    Reads text, Markdown, HTML, PDF, DOCX, CSV rows and source code. A stop at any moment leaves a
    store that opens; the same command goes on.
    """
    from tunesmith.api.rag import rag

    return rag.index(
        folder,
        store,
        embedding=embedding,
        chunk_tokens=chunk_tokens,
        overlap=overlap,
        processes=processes,
        retry_failed=retry_failed,
        progress=True,
    )


@app.command("ask")
@command
def ask(  # noqa: PLR0913  # one parameter for each flag
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    store: StoreOption,
    model: Annotated[
        str | None, typer.Option(metavar="M", help="A base, or a run's folder.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(metavar="A", help="An adapter's or a run's folder.")
    ] = None,
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, help="Most sources.")] = 5,
    mode: Annotated[
        Literal["hybrid", "dense", "text"],
        typer.Option(help="By meaning (dense), by words (text), or both."),
    ] = "hybrid",
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Only passages with this source (with * and ?), kind, heading or page. Can be "
            "repeated.",
        ),
    ] = None,
    neighbours: Annotated[
        int, typer.Option(min=0, help="Passages before and behind each, shown with it.")
    ] = 0,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="Least confidence; below it the documents do not say. Unless given, the one "
            "measured for the store's embedding model.",
        ),
    ] = None,
    prompt_tokens: Annotated[
        int, typer.Option("--prompt-tokens", min=64, help="Longest prompt, sources included.")
    ] = 2048,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")
    ] = 256,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why each source is one, and why there is none.")
    ] = False,
    as_json: AsJson = False,
) -> Outcome:
    """Answer a question from the documents of a store, with numbered sources.

    Citations are checked to exist, quoted words to stand in the sources.
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
    from tunesmith.api.rag import rag
    from tunesmith.cli.keys import pairs_of

    return rag.dataset(
        store,
        out,
        questions=file,
        model=model,
        chunks=chunks,
        tries=tries,
        top_k=top_k,
        right=right,
        distractors=distractors,
        unanswerable=unanswerable,
        sources=sources,
        share=share,
        group=group,
        prompt_tokens=prompt_tokens,
        seed=seed,
        columns=pairs_of("data.map", columns),
        progress=True,
    )


@app.command("evaluate")
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
    from tunesmith.api.rag import rag
    from tunesmith.cli.keys import pairs_of

    return rag.evaluate(
        file,
        store,
        model=model,
        adapter=adapter,
        out=out,
        mode=mode,
        sources=sources,
        removed=removed,
        threshold=threshold,
        prompt_tokens=prompt_tokens,
        max_new_tokens=max_new_tokens,
        seed=seed,
        columns=pairs_of("data.map", columns),
        progress=True,
    )
