"""Does retrieval find the passage that answers a question? XQuAD, with or without distractors.

    python -m benchmarks.rag_xquad --data xquad.en.json [--model multilingual-e5-small]
        [--distractors wikitext2_valid.txt scitldr/*.jsonl ... --count 10000]

Each passage is a file; the passage that a question was asked about is the relevant one. Rankings
are of passages, by their best chunk. Metrics are computed here and by ir_measures, and must agree.
Distractors are taken from the files in the order in which they are named.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ir_measures
import numpy as np
from ir_measures import RR, R, nDCG
from numpy.typing import NDArray

from benchmarks.rag_texts import passages_of
from tunesmith.core.progress import Progress
from tunesmith.models.embedder import Embedder, load_embedder
from tunesmith.retrieval.confidence import confidence, fit_threshold, known_threshold
from tunesmith.retrieval.index import IndexedFolder, index
from tunesmith.retrieval.retrieve import Hit, Mode, SearchOptions, retrieve
from tunesmith.retrieval.scores import ndcg_at, recall_at, reciprocal_rank
from tunesmith.retrieval.store import PassageStore, open_store

MODES: tuple[Mode, ...] = ("dense", "text", "hybrid")
MODEL = "all-minilm-l6-v2"
CHUNKS = 30  # of which the passages are ranked


class Remembering:
    """An embedder that embeds the questions once, for all retrievers."""

    def __init__(self, inner: Embedder, texts: Sequence[str]) -> None:
        self.folder = inner.folder
        self._known = dict(zip(texts, inner.embed(texts, as_query=True), strict=True))

    def embed(self, texts: Sequence[str], *, as_query: bool = False) -> NDArray[np.float32]:
        """[n, D] of known questions."""
        assert as_query
        return np.stack([self._known[text] for text in texts])


def main() -> None:
    """Index, ask every question of each retriever, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=MODEL, help="embedding model")
    parser.add_argument("--distractors", type=Path, nargs="+", default=[], help="other texts")
    parser.add_argument("--count", type=int, default=10_000, help="most distractors")
    parser.add_argument("--questions", type=int, help="so many, evenly spread; all unless given")
    parser.add_argument("--modes", choices=MODES, nargs="+", default=MODES)
    parser.add_argument("--store", type=Path, help="kept, and gone on with")
    parser.add_argument("--hits", type=Path, help="every question's first hits, as JSON lines")
    options = parser.parse_args()
    passages, questions = read(options.data)
    count = min(options.questions or len(questions), len(questions))
    questions = [questions[i * len(questions) // count] for i in range(count)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.store / "files" if options.store else Path(scratch) / "files"
        write(folder, passages)
        write(folder, distractors(options.distractors, options.count))
        uri = str(options.store / "store" if options.store else Path(scratch) / "store")
        inner = load_embedder(options.model)
        start = time.perf_counter()
        done = index(
            IndexedFolder(folder, options.model, lambda: inner), uri, progress=Progress(print)
        )
        seconds = time.perf_counter() - start
        print(f"{done.documents} passages, {done.chunks} chunks, indexed in {seconds:.1f} s")
        embedder = Remembering(inner, [question for question, _ in questions])
        report(open_store(uri), embedder, questions, options)


def read(file: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Passages by file name, and (question, file name of its passage)."""
    articles = json.loads(file.read_text(encoding="utf-8"))["data"]
    every = [paragraph for article in articles for paragraph in article["paragraphs"]]
    named = {f"passage-{number:03}.txt": each for number, each in enumerate(every)}
    questions = [(qa["question"], name) for name, each in named.items() for qa in each["qas"]]
    return {name: each["context"] for name, each in named.items()}, questions


def distractors(files: Sequence[Path], count: int) -> dict[str, str]:
    """At most ``count`` passages of other texts; how many each file gave is told."""
    found: list[str] = []
    for file in files:
        some = passages_of(file)[: count - len(found)]
        found += some
        print(f"{len(some):,} distractors of {file.parent.name}/{file.name}")
    print(f"{len(found):,} distractors in all")
    return {f"distractor-{number:05}.txt": text for number, text in enumerate(found)}


def write(folder: Path, texts: dict[str, str]) -> None:
    """A file for each text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def report(
    store: PassageStore,
    embedder: Remembering,
    questions: list[tuple[str, str]],
    options: argparse.Namespace,
) -> None:
    """The table, the agreement with ir_measures, and the threshold that follows."""
    print("| retriever | recall@1 | recall@5 | MRR | nDCG@10 | ms a question (p50, p95) |")
    print("|---|---|---|---|---|---|")
    for mode in options.modes:
        found, times = [], []
        for question, _ in questions:
            start = time.perf_counter()
            found.append(retrieve(store, embedder, question, SearchOptions(CHUNKS, mode)))
            times.append(1e3 * (time.perf_counter() - start))
        rankings = [list(dict.fromkeys(hit.passage.source for hit in each)) for each in found]
        wanted = [{name} for _, name in questions]
        means = measured(rankings, wanted)
        agree(rankings, wanted, means)
        p50, p95 = np.percentile(times, [50, 95])
        print(f"| {mode} | {' | '.join(f'{m:.4f}' for m in means)} | {p50:.0f}, {p95:.0f} |")
    threshold(found, questions, model=options.model)
    if options.hits:
        with options.hits.open("w", encoding="utf-8") as file:
            for (question, name), each in zip(questions, found, strict=True):
                file.write(json.dumps({"q": question, "of": name, "hits": list(map(plain, each))}))
                file.write("\n")


def plain(hit: Hit) -> dict[str, object]:
    """What a hit is judged by."""
    words = hit.text.score if hit.text else None
    return {"source": hit.passage.source, "cosine": hit.cosine, "bm25": words, "score": hit.score}


def measured(rankings: list[list[str]], wanted: list[set[str]]) -> list[float]:
    """Means of recall@1, recall@5, reciprocal rank and nDCG@10."""
    both = list(zip(rankings, wanted, strict=True))
    return [
        float(np.mean([recall_at(1, r, w) for r, w in both])),
        float(np.mean([recall_at(5, r, w) for r, w in both])),
        float(np.mean([reciprocal_rank(r, w) for r, w in both])),
        float(np.mean([ndcg_at(10, r, w) for r, w in both])),
    ]


def agree(rankings: list[list[str]], wanted: list[set[str]], means: list[float]) -> None:
    """Stop where ir_measures finds other means."""
    judged = {str(i): dict.fromkeys(names, 1) for i, names in enumerate(wanted)}
    run = {
        str(i): {name: float(-rank) for rank, name in enumerate(ranking)}
        for i, ranking in enumerate(rankings)
    }
    theirs = ir_measures.calc_aggregate([R @ 1, R @ 5, RR, nDCG @ 10], judged, run)
    assert np.allclose([theirs[m] for m in (R @ 1, R @ 5, RR, nDCG @ 10)], means), theirs


def threshold(
    found: list[list[Hit]],
    questions: list[tuple[str, str]],
    *,
    model: str,
    name_of: Callable[[Hit], str] = lambda hit: hit.passage.source,
) -> None:
    """What follows from confidences with the right passage in the store, and with it left out.

    ``questions`` are with the name of their passage, as ``name_of`` gives it of a hit.
    """
    right = [sure(question, each) for each, (question, _) in zip(found, questions, strict=True)]
    without = [
        sure(question, [hit for hit in each if name_of(hit) != name])
        for each, (question, name) in zip(found, questions, strict=True)
    ]
    scores = {"from every other question": fit_threshold(right[::2], without[::2]).score}
    built_in = known_threshold(model)
    if built_in is not None:
        scores["built in"] = built_in
    for origin, score in scores.items():
        refused, falsely = (np.mean(np.array(each[1::2]) < score) for each in (without, right))
        print(
            f"threshold {score:.3f}, {origin}: of the others it refuses {refused:.1%} without "
            f"their passage, {falsely:.1%} with it"
        )


def sure(question: str, hits: list[Hit]) -> float:
    """The confidence, -1 without a hit."""
    found = confidence(question, hits)
    return -1.0 if found is None else found


if __name__ == "__main__":
    main()
