"""`tunesmith rag`: documents in, answers with sources out."""

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import AsJson, Outcome, command
from tunesmith.cli.console import harmless, messages, say
from tunesmith.cli.rag_training import StoreOption, dataset, evaluate
from tunesmith.core.numbers import many

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.conversation.ask import Answer
    from tunesmith.conversation.documents import FoundPassages
    from tunesmith.retrieval.index import Indexed, Progress
    from tunesmith.retrieval.retrieve import Hit

app = typer.Typer(help="Documents in, answers with sources out.")

MOST_ENDINGS = 8


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
    again: Annotated[
        bool, typer.Option("--again", help="Try files once more that could not be read before.")
    ] = False,
) -> Outcome:
    """Bring a folder into a store: what is new is embedded, what is gone leaves.

    Reads text, Markdown, HTML, PDF, DOCX, CSV rows and source code. A stop at any moment leaves a
    store that opens; the same command goes on.
    """
    from tunesmith.cli.progress_display import LiveLine
    from tunesmith.conversation.documents import DEFAULT_EMBEDDING, IndexSettings, index_folder
    from tunesmith.retrieval.chunk import Cutting
    from tunesmith.retrieval.reading import Reading

    settings = IndexSettings(
        embedding or DEFAULT_EMBEDDING,
        Cutting(chunk_tokens, overlap),
        Reading(processes or max((os.cpu_count() or 2) // 2, 1), again=again),
    )
    line = LiveLine(messages())
    start = time.perf_counter()
    line.start()
    try:
        done = index_folder(
            folder,
            store,
            settings,
            emit=lambda progress: line.update(_progress(progress, time.perf_counter() - start)),
            tell=line.say,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped; the same command goes on where it was.") from None
    finally:
        line.stop()
    seconds = time.perf_counter() - start
    for name, refused in sorted(done.refused.items()):
        say(f"{name} {refused.message} {refused.remedy}", style="yellow")
    return Outcome(
        _index_document(done, store, seconds),
        show=lambda console: _show_index(done, console, store=store, seconds=seconds),
    )


def _progress(progress: "Progress", seconds: float) -> str:
    from tunesmith.core.numbers import clock

    left = progress.total - progress.done
    rest = f", {clock(seconds / progress.done * left)} left" if progress.done and left else ""
    files = f"{progress.done:,} of {many(progress.total, 'file')}"
    return f"{files}, {many(progress.chunks, 'passage')}{rest} ..."


def _index_document(done: "Indexed", store: str, seconds: float) -> dict[str, object]:
    return {
        "store": store,
        "documents": done.documents,
        "chunks": done.chunks,
        "added": done.added,
        "changed": done.changed,
        "removed": done.removed,
        "seconds": seconds,
        "refused": [
            {"source": name, "code": r.code, "message": r.message, "remedy": r.remedy}
            for name, r in sorted(done.refused.items())
        ],
        "left_out": done.left_out,
    }


def _show_index(done: "Indexed", console: "Console", *, store: str, seconds: float) -> None:
    changes = f"{done.added:,} added, {done.changed:,} changed, {done.removed:,} removed"
    held = f"{many(done.documents, 'document')}, {many(done.chunks, 'passage')}"
    line = f"{harmless(store)}: {held} ({changes}; {seconds:.1f} s)"
    console.print(line, soft_wrap=True)
    if done.refused:
        console.print(f"{many(len(done.refused), 'file')} could not be read: see above.")
    if done.left_out:
        endings = sorted(done.left_out.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{count:,} {harmless(name)}" for name, count in endings[:MOST_ENDINGS])
        more = ", ..." if len(endings) > MOST_ENDINGS else ""
        console.print(f"Left out, for such files are not read: {listed}{more}", soft_wrap=True)
    command_line = f'tunesmith rag ask "..." --store {shlex.quote(harmless(store))}'
    console.print(f"Ask them: {command_line}", soft_wrap=True)


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
    from tunesmith.retrieval.passage import parse_filter
    from tunesmith.retrieval.retrieve import Search
    from tunesmith.retrieval.store import open_store

    search = Search(limit, mode, where=parse_filter(where or []))
    open_store(store)  # a mistyped name is told before torch is there
    from tunesmith.conversation.ask import AskSettings, open_answerer, refuse
    from tunesmith.conversation.documents import Documents, FindSettings
    from tunesmith.generation.sampling import Sampling

    finding = FindSettings(search, threshold, neighbours)
    settings = AskSettings(prompt_tokens, Sampling(max_new_tokens=max_new_tokens))
    found = Documents(store, finding, emit=say).find(question)
    if found.advice:
        say(found.advice, style="yellow")
    tell = _silent if as_json else _stream
    if found.refused:
        answer = refuse(found, say=tell)
    else:
        answer = open_answerer(model, adapter, settings, emit=say).answer(found, say=tell)
    return Outcome(
        answer.to_json(), show=lambda console: _show_answer(answer, found, console, explain=explain)
    )


def _silent(_: str) -> None:
    """For those who want one document alone."""


def _stream(piece: str) -> None:
    print(harmless(piece), end="", flush=True)


def _show_answer(
    answer: "Answer", found: "FoundPassages", console: "Console", *, explain: bool
) -> None:
    print()
    if found.refused:
        say(f"No model was asked: {found.why}.", style="yellow")
    elif explain:
        say(f"The model was asked: {found.why}.")
    for fault in answer.citations.faults():
        say(f"warning: {fault}", style="yellow")
    if answer.cut:
        say("warning: the answer is cut; --max-new-tokens allows a longer one.", style="yellow")
    if answer.left_out:
        say(f"{many(answer.left_out, 'more source')} found no room in the prompt.", style="yellow")
    for source, hit in zip(answer.sources, answer.hits, strict=True):
        cited = source.number in answer.citations.cited
        style = "bold" if cited else "dim"
        console.print(harmless(f"[{source.number}] {source.place}"), style=style, soft_wrap=True)
        if explain:
            _show_reason(hit, console)
    for hit in found.hits if found.refused and explain else ():
        console.print(harmless(f"near: {hit.passage.place}"), style="dim", soft_wrap=True)
        _show_reason(hit, console)


def _show_reason(hit: "Hit", console: "Console") -> None:
    console.print(harmless(f"    {hit.explain()}"), style="dim", soft_wrap=True)


app.command("dataset")(dataset)
app.command("evaluate")(evaluate)
