"""How large, how fast to build and how fast to ask is a store of 100,000 passages?

    python -m benchmarks.rag_scale --texts xquad.en.json wikitext2_valid.txt \
        --questions xquad.en.json --passages 100000 --out scale

Passages are real text, repeated with unique edits: the first half of one text and the second half
of another. Times are of the clock, with processor time beside them where other work may disturb.
"""

import argparse
import csv
import random
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
from numpy.typing import NDArray

from benchmarks.rag_texts import passages_of
from benchmarks.rag_xquad import MODEL, MODES, Remembering, read
from tunesmith.models.embedder import Embedder, load_embedder
from tunesmith.retrieval.index import IndexedFolder, index
from tunesmith.retrieval.retrieve import SearchOptions, retrieve
from tunesmith.retrieval.store import TABLE, PassageStore, open_store

ROWS_IN_A_FILE = 100
LONGEST = 640  # characters: with its headings a passage is one chunk
CANDIDATES = 50
COLD = """
import time
start = time.perf_counter()
from tunesmith.conversation.documents import Documents
documents = Documents({uri!r})
opened = time.perf_counter()
for question in {questions!r}:
    before = time.perf_counter()
    documents.find(question)
    print(f"{{opened - start:.3f}} {{1e3 * (time.perf_counter() - before):.1f}}")
"""


@dataclass(slots=True)
class Timed:
    """An embedder, and the ``seconds`` it took."""

    inner: Embedder
    seconds: float = 0.0

    @property
    def folder(self) -> Path:
        """Of the model."""
        return self.inner.folder

    def embed(self, texts: Sequence[str], *, as_query: bool = False) -> NDArray[np.float32]:
        """[n, D], each of length 1."""
        start = time.perf_counter()
        found = self.inner.embed(texts, as_query=as_query)
        self.seconds += time.perf_counter() - start
        return found


def main() -> None:
    """Write the passages, index them, ask, and index again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--questions", type=Path, required=True, help="SQuAD's format")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--ask", type=int, default=200, help="how many questions")
    parser.add_argument("--out", type=Path, required=True, help="for files and store; kept")
    options = parser.parse_args()
    texts = [short for file in options.texts for text in passages_of(file) if (short := cut(text))]
    inner = load_embedder(MODEL)
    folder, uri = options.out / "files", str(options.out / "store")
    write_rows(folder, texts, options.passages)
    print(f"{len(texts):,} texts make {options.passages:,} passages", flush=True)
    build(folder, uri, Timed(inner))
    questions = [question for question, _ in read(options.questions)[1]]
    questions = random.Random(0).sample(questions, options.ask)
    store = open_store(uri)
    recall(store, inner.embed(questions, as_query=True))
    warm(store, inner, questions)
    cold(uri, questions[:5])
    unchanged(folder, uri)


def cut(text: str) -> str:
    """As many of its sentences as are no longer than a passage."""
    whole = re.match(rf".{{1,{LONGEST}}}[.?!](?=\s|$)", text, re.S)
    return whole[0] if whole else ""


def parents(number: int, count: int) -> tuple[int, int]:
    """Which two of ``count`` texts a passage is made of: another pair for each number."""
    return number % count, (number + 1 + number // count) % count


def write_rows(folder: Path, texts: Sequence[str], count: int) -> None:
    """Tables of passages, so that each is exactly one chunk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for start in range(0, count, ROWS_IN_A_FILE):
        with (folder / f"rows-{start:06}.csv").open("w", encoding="utf-8", newline="") as file:
            numbers = range(start, min(count, start + ROWS_IN_A_FILE))
            rows = ((number, _made(number, texts)) for number in numbers)
            csv.writer(file).writerows([("number", "text"), *rows])


def _made(number: int, texts: Sequence[str]) -> str:
    first, second = (texts[i].split() for i in parents(number, len(texts)))
    return " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])


def build(folder: Path, uri: str, embedder: Timed) -> None:
    """Index, and say how fast and how large."""
    shutil.rmtree(uri, ignore_errors=True)
    start, busy = time.perf_counter(), time.process_time()
    done = index(IndexedFolder(folder, MODEL, lambda: embedder), uri)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    before = size_of(uri)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody else uses the store
        lancedb.connect(uri).open_table(TABLE).optimize(cleanup_older_than=timedelta(0))
    size = size_of(uri)
    print(
        f"{done.chunks:,} chunks of {done.documents:,} files in {seconds:.1f} s ({busy:.1f} s of "
        f"processor time): {done.chunks / seconds:,.0f} chunks/s; {embedder.seconds:.1f} s of it "
        "is their embedding",
        flush=True,
    )
    print(
        f"store: {size / 1e6:,.1f} MB, {size / done.chunks:,.0f} bytes a chunk; "
        f"{before / 1e6:,.1f} MB with the versions that a later index forgets"
    )


def size_of(uri: str) -> int:
    """Bytes of all its files."""
    return sum(file.stat().st_size for file in Path(uri).rglob("*") if file.is_file())


def recall(store: PassageStore, vectors: NDArray[np.float32]) -> None:
    """The share of the truly nearest passages that the store finds."""
    table = lancedb.connect(store.uri).open_table(TABLE)
    held = table.search().select(["id", "vector"]).limit(None).to_arrow()
    every = held["vector"].combine_chunks().flatten().to_numpy().reshape(held.num_rows, -1)
    ids = np.array(held["id"].to_pylist())
    shares = []
    for vector in vectors:
        exact = set(ids[np.argsort(-(every @ vector), kind="stable")[:CANDIDATES]])
        found = {match.passage.id for match in store.nearest(vector, CANDIDATES)}
        shares.append(len(exact & found) / len(exact))
    print(
        f"recall@{CANDIDATES} of the nearest: mean {np.mean(shares):.4f}, least {min(shares):.2f}"
    )


def warm(store: PassageStore, embedder: Embedder, questions: Sequence[str]) -> None:
    """Milliseconds a question, after some that do not count."""
    remembering = Remembering(embedder, questions)
    ways: dict[str, Callable[[str], object]] = {
        "embedding alone": lambda text: embedder.embed([text], as_query=True),
        "hybrid, embedding included": lambda text: retrieve(store, embedder, text),
    }
    for mode in MODES:
        search = SearchOptions(mode=mode)
        ways[f"{mode}, vector known"] = lambda text, search=search: retrieve(  # type: ignore[misc]
            store, remembering, text, search
        )
    print("| warm, ms a question | p50 | p95 | processor time, mean |\n|---|---|---|---|")
    for name, way in ways.items():
        for question in questions[:10]:
            way(question)
        times, busy = [], time.process_time()
        for question in questions:
            start = time.perf_counter()
            way(question)
            times.append(1e3 * (time.perf_counter() - start))
        busy = 1e3 * (time.process_time() - busy) / len(questions)
        p50, p95 = np.percentile(times, [50, 95])
        print(f"| {name} | {p50:.1f} | {p95:.1f} | {busy:.1f} |")


def cold(uri: str, questions: Sequence[str]) -> None:
    """A new process: imports, model and store until it can be asked, then its first questions."""
    script = COLD.format(uri=uri, questions=list(questions))
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    lines = [line.split() for line in ran.stdout.splitlines()]
    print(f"cold: ready after {lines[0][0]} s; then ms: {', '.join(ms for _, ms in lines)}")


def unchanged(folder: Path, uri: str) -> None:
    """The command on a folder in which nothing changed, three times."""
    words = ["-m", "tunesmith", "rag", "index", str(folder), "--store", uri]
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        print(f"unchanged: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
