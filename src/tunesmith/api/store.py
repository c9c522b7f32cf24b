"""`Store`: a folder of documents, indexed; its passages are searched, and answer questions."""

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.api.load import AdapterGiven, place_of
from tunesmith.api.show import Outcome, line, paragraph, sanitize
from tunesmith.api.work import OnEvent, working
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Notice, Progress

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.conversation.ask import Answer, Answerer
    from tunesmith.conversation.documents import Documents, FindSettings, FoundPassages
    from tunesmith.retrieval.index import Indexed
    from tunesmith.retrieval.retrieve import Hit

Mode = Literal["hybrid", "dense", "text"]
Where = Sequence[str] | Mapping[str, object]
MAX_ENDINGS = 8


@dataclass(frozen=True, slots=True)
class IndexDone(Outcome):
    """What a store holds now, and what changed."""

    found: "Indexed"
    store: str
    seconds: float

    def to_json(self) -> dict[str, object]:
        """What `rag index --json` prints."""
        done = self.found
        names = ("documents", "chunks", "added", "changed", "removed")
        return {
            "store": self.store,
            **{name: getattr(done, name) for name in names},
            "seconds": self.seconds,
            "refused": [
                {"source": name, "code": r.code, "message": r.message, "remedy": r.remedy}
                for name, r in sorted(done.refused.items())
            ],
            "left_out": done.left_out,
        }

    def show(self, console: "Console") -> None:
        """What there is, what could not be read, and what comes next."""
        done, store, seconds = self.found, self.store, self.seconds
        changes = f"{done.added:,} added, {done.changed:,} changed, {done.removed:,} removed"
        held = f"{pluralize(done.documents, 'document')}, {pluralize(done.chunks, 'passage')}"
        text = f"{sanitize(store)}: {held} ({changes}; {seconds:.1f} s)"
        line(console, text)
        if done.refused:
            paragraph(
                console, f"{pluralize(len(done.refused), 'file')} could not be read: see above."
            )
        if done.left_out:
            endings = sorted(done.left_out.items(), key=lambda item: -item[1])
            listed = ", ".join(
                f"{count:,} {sanitize(name)}" for name, count in endings[:MAX_ENDINGS]
            )
            more = ", ..." if len(endings) > MAX_ENDINGS else ""
            line(console, f"Skipped, because such files are not read: {listed}{more}")
        command_line = f'tunesmith rag ask "..." --store {shlex.quote(sanitize(store))}'
        line(console, f"Ask them: {command_line}")


@dataclass(frozen=True, slots=True)
class RagAnswer(Outcome):
    """An answer with its numbered sources, and what is wrong with its citations.

    ``explain``: also why each source was chosen; ``is_heard``: the text was streamed already, and
    whoever did so shows the ``notes``.
    """

    answer: "Answer"
    found: "FoundPassages"
    explain: bool = False
    is_heard: bool = False

    @property
    def text(self) -> str:
        """The answer."""
        return self.answer.text

    @property
    def sources(self) -> list[dict[str, object]]:
        """Number, source, page, text and score of each."""
        return self.answer.to_json()["sources"]  # type: ignore[return-value]

    def to_json(self) -> dict[str, object]:
        """What `rag ask --json` prints."""
        return self.answer.to_json()

    def show(self, console: "Console") -> None:
        """The answer, what is wrong with it, its sources."""
        if not self.is_heard:
            line(console, self.text)
            for text in self.notes:
                line(console, text, style="yellow")
        answer = self.answer
        for source, hit in zip(answer.sources, answer.hits, strict=True):
            style = "bold" if source.number in answer.citations.cited else "dim"
            line(console, f"[{source.number}] {source.place}", style=style)
            self._show_reason(hit, console)
        for hit in self.found.hits if self.found.refused and self.explain else ():
            line(console, f"near: {hit.passage.place}", style="dim")
            self._show_reason(hit, console)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must not be overlooked."""
        return tuple(self._warnings())

    def _warnings(self) -> Iterator[str]:
        if self.found.refused:
            yield f"No model was asked: {self.found.why}."
        elif self.explain:
            yield f"The model was asked: {self.found.why}."
        yield from (f"warning: {fault}" for fault in self.answer.faults())
        if self.answer.cut:
            yield "warning: the answer is cut; a larger max_new_tokens allows a longer one."
        if self.answer.left_out:
            yield f"{pluralize(self.answer.left_out, 'more source')} did not fit into the prompt."

    def _show_reason(self, hit: "Hit", console: "Console") -> None:
        if self.explain:
            line(console, f"    {hit.explain()}", style="dim")


class Store:
    """An indexed folder of documents that is kept open: searched, and asked.

    Raises RagError where ``path`` (a folder, or an address such as s3://...) holds no store.
    """

    def __init__(self, path: str | Path) -> None:
        from tunesmith.retrieval.store import open_store

        self.path = str(path)
        open_store(self.path)  # a mistyped name is refused before torch is loaded
        self._loaded: dict[FindSettings, Documents] = {}
        self._answerer: tuple[object, Answerer] | None = None

    def search(
        self,
        question: str,
        *,
        limit: int = 5,
        mode: Mode = "hybrid",
        where: Where = (),
        neighbours: int = 0,
    ) -> "list[Hit]":
        """The passages nearest to a question, best first.

        ``mode``: by meaning (dense), by words (text), or both. ``where``: only passages with this
        source (with * and ?), kind, heading or page.
        """
        from tunesmith.conversation.documents import FindSettings
        from tunesmith.retrieval.passage import parse_filter
        from tunesmith.retrieval.retrieve import SearchOptions

        search = SearchOptions(limit, mode, where=parse_filter(_conditions(where)))
        return self._documents(FindSettings(search, neighbours=neighbours)).find(question).hits

    def ask(  # noqa: PLR0913  # one keyword for each setting
        self,
        question: str,
        *,
        model: AdapterGiven | None = None,
        adapter: AdapterGiven | None = None,
        limit: int = 5,
        mode: Mode = "hybrid",
        where: Where = (),
        neighbours: int = 0,
        threshold: float | None = None,
        prompt_tokens: int = 2048,
        max_new_tokens: int = 256,
        explain: bool = False,
        on_text: Callable[[str], None] | None = None,
        on_event: OnEvent | None = None,
        progress: bool | None = None,
    ) -> RagAnswer:
        """Answer a question from the documents, with numbered sources.

        ``model``: a base or a run; ``adapter``: a run or an adapter's folder. Below the
        ``threshold`` of confidence (None: measured for the store's embedding model) no model is
        asked. ``on_text`` receives each piece of the answer as it is made. Citations must exist and
        quoted words must be in the sources: both are checked.
        """
        from tunesmith.retrieval.passage import parse_filter
        from tunesmith.retrieval.retrieve import SearchOptions

        search = SearchOptions(limit, mode, where=parse_filter(_conditions(where)))
        with working(on_event=on_event, progress=progress) as work:
            from tunesmith.conversation.ask import AskSettings, open_answerer, refuse
            from tunesmith.conversation.documents import FindSettings
            from tunesmith.generation.sampling import Sampling

            sampling = Sampling(max_new_tokens=max_new_tokens)
            finding = FindSettings(search, threshold, neighbours)
            found = self._documents(finding, work.progress).find(question)
            settings = AskSettings(prompt_tokens, sampling)
            if found.advice:
                work.emit(Notice("advice", found.advice))
            key = (named(model), named(adapter), settings)
            if not found.refused and (self._answerer is None or self._answerer[0] != key):
                self._answerer = None  # gone before the next one is loaded
                self._answerer = key, open_answerer(*key[:2], settings, progress=work.progress)
        tell = on_text or (lambda _: None)
        if found.refused or self._answerer is None:
            answer = refuse(found, on_text=tell)
        else:
            answer = self._answerer[1].answer(found, on_text=tell)
        return RagAnswer(answer, found, explain, is_heard=on_text is not None)

    def _documents(self, settings: "FindSettings", progress: Progress = SILENT) -> "Documents":
        from tunesmith.conversation.documents import Documents

        if settings not in self._loaded:
            self._loaded = {settings: Documents(self.path, settings, progress=progress)}
        else:
            self._loaded[settings].refresh()
        return self._loaded[settings]


def _conditions(where: Where) -> list[str]:
    """`KEY=VALUE` of each condition."""
    if isinstance(where, Mapping):
        return [f"{key}={value}" for key, value in where.items()]
    return list(where)


def named(adapter: AdapterGiven | None) -> str | None:
    """A run or an adapter as the layers below name it."""
    return None if adapter is None else str(place_of(adapter))


def index(  # noqa: PLR0913  # one keyword for each setting
    folder: str | Path,
    store: str | Path,
    *,
    embedding: str | None = None,
    chunk_tokens: int = 200,
    overlap: int = 40,
    processes: int | None = None,
    retry_failed: bool = False,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> IndexDone:
    """Bring a folder into a store: new files are embedded, deleted ones are removed.

    ``embedding``: all-minilm-l6-v2 (English, unless given), multilingual-e5-small (100 languages),
    or a folder. Passages have at most ``chunk_tokens`` and share ``overlap``. ``processes`` read
    files: half the cores unless given. ``retry_failed``: also
    files that could not be read before.
    """
    start = time.perf_counter()
    with working(on_event=on_event, progress=progress) as work:
        from tunesmith.conversation.documents import DEFAULT_EMBEDDING, IndexSettings, index_folder
        from tunesmith.retrieval.document import ChunkConfig
        from tunesmith.retrieval.read import Reading

        settings = IndexSettings(
            embedding or DEFAULT_EMBEDDING,
            ChunkConfig(chunk_tokens, overlap),
            Reading(processes or max((os.cpu_count() or 2) // 2, 1), retry_failed=retry_failed),
        )

        done = index_folder(Path(folder), str(store), settings, progress=work.progress)
        for name, refused in sorted(done.refused.items()):
            work.emit(Notice("refused", f"{name} {refused.message} {refused.remedy}"))
    return IndexDone(done, str(store), time.perf_counter() - start)


def ask(question: str, store: str | Path, **settings: Any) -> RagAnswer:
    """`Store.ask` of a store that is opened for it."""
    return Store(store).ask(question, **settings)


def search(question: str, store: str | Path, **settings: Any) -> "list[Hit]":
    """`Store.search` of a store that is opened for it."""
    return Store(store).search(question, **settings)
