"""A passage was edited: does the answer follow the new text, without any training?

    python -m benchmarks.rag_edited --data xquad.en.json --out edited [--count 100] [--adapter RUN]

In each of some XQuAD passages the answer to one question is replaced in the text by one of the
same kind from another passage. The folder is indexed before and after; only what changed may be
embedded. The base and, with `--adapter`, the tuned model answer with retrieval before and after,
and without retrieval.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rag_xquad import MODEL, read, write
from tunesmith.conversation.rag_evaluation import ANSWERS, TrialSettings, evaluate_retrieval
from tunesmith.models.embedder import Embedder, load_embedder
from tunesmith.retrieval.index import IndexedFolder, index
from tunesmith.retrieval.questions import RetrievalQuestion
from tunesmith.retrieval.scores import says

NUMBER = re.compile(r"\d[\d,.]*\d|\d")
NAME = re.compile(r"[A-Z][a-z]+(?: [A-Z][a-z]+)*")


@dataclass(frozen=True, slots=True)
class Edit:
    """A question about the passage in ``file``, its answer before and after."""

    file: str
    question: str
    old: str
    new: str


@dataclass(slots=True)
class Counting:
    """An embedder that remembers which documents it embedded."""

    inner: Embedder
    folder: Path
    texts: list[str] = field(default_factory=list)

    def embed(self, texts: Sequence[str], *, as_query: bool = False) -> NDArray[np.float32]:
        """[n, D], each of length 1."""
        self.texts += texts
        return self.inner.embed(texts, as_query=as_query)


def main() -> None:
    """Index, ask, edit, index again, ask again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100, help="most passages that are edited")
    parser.add_argument("--model", help="the base; the default one unless given")
    parser.add_argument("--adapter", help="an adapter's or a run's folder")
    parser.add_argument("--sources", type=int, default=5, help="shown with each question")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a new folder; kept")
    options = parser.parse_args()
    passages, _ = read(options.data)
    edits = choose(options.data, passages, options.count, seed=options.seed)
    folder, uri = options.out / "files", str(options.out / "store")
    write(folder, passages)
    inner = load_embedder(MODEL)
    embedder = Counting(inner, inner.folder)
    source = IndexedFolder(folder, MODEL, lambda: embedder)
    index(source, uri)
    participants = options.model, options.adapter
    settings = TrialSettings(sources=options.sources, removed=0.0)
    before = ask(edits, uri, options.out / "before", participants, settings)
    edited = {edit.file: changed(passages[edit.file], edit) for edit in edits}
    write(folder, edited)
    embedder.texts.clear()
    done = index(source, uri)
    require_only(edited, embedder.texts)
    print(f"{len(edits)} passages edited; {done.embedded_chunks} of {done.chunks} chunks embedded")
    show(edits, before, ask(edits, uri, options.out / "after", participants, settings))


def choose(file: Path, passages: dict[str, str], count: int, *, seed: int) -> list[Edit]:
    """One question of each passage whose answer is a number or a name that stands there once."""
    found: dict[str, list[tuple[str, str]]] = {}
    names = {text: name for name, text in passages.items()}
    for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answer = qa["answers"][0]["text"]
                if kind(answer) and len(whole(answer).findall(paragraph["context"])) == 1:
                    found.setdefault(names[paragraph["context"]], []).append(
                        (qa["question"], answer)
                    )
    rng = random.Random(seed)
    files = sorted(rng.sample(sorted(found), min(count, len(found))))
    edits = []
    for name in files:
        question, old = rng.choice(found[name])
        others = sorted(
            {answer for each in found.values() for _, answer in each if kind(answer) == kind(old)}
        )
        new = rng.choice([a for a in others if not says(passages[name], a) and not says(old, a)])
        edits.append(Edit(name, question, old, new))
    return edits


def kind(answer: str) -> str:
    """`number` of so many digits, or `name` of so many words; empty for anything else."""
    if NUMBER.fullmatch(answer):
        return f"number {len(answer)}"
    return f"name {len(answer.split())}" if NAME.fullmatch(answer) else ""


def whole(answer: str) -> re.Pattern[str]:
    """The answer as words of their own."""
    return re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")


def changed(text: str, edit: Edit) -> str:
    """The passage with the new answer in the place of the old one."""
    return whole(edit.old).sub(lambda _: edit.new, text)


def require_only(edited: dict[str, str], embedded: Sequence[str]) -> None:
    """Stop where a text was embedded that is no part of an edited passage."""
    texts = [text for text in embedded if not any(text in each for each in edited.values())]
    # The first text that is embedded is the one by which a store knows its model.
    assert len(texts) <= 1, texts


def ask(
    edits: Sequence[Edit],
    uri: str,
    out: Path,
    participants: tuple[str | None, str | None],
    settings: TrialSettings,
) -> list[dict[str, str]]:
    """What each cell says to each question."""
    questions = [
        RetrievalQuestion(edit.question, (edit.old, edit.new), edit.file) for edit in edits
    ]
    evaluate_retrieval(questions, uri, out, participants=participants, settings=settings)
    lines = (out / ANSWERS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["said"] for line in lines]


def show(
    edits: Sequence[Edit], before: Sequence[dict[str, str]], after: Sequence[dict[str, str]]
) -> None:
    """The shares of answers that say what stood there, and what stands there now."""
    print("| cell | before: old | before: new | after: old | after: new | follows, of right ones |")
    print("|---|---|---|---|---|---|")
    for cell in before[0]:
        said = [(b[cell], a[cell]) for b, a in zip(before, after, strict=True)]
        told = [
            (says(b, e.old), says(b, e.new), says(a, e.old), says(a, e.new))
            for e, (b, a) in zip(edits, said, strict=True)
        ]
        right = [each for each in told if each[0]]
        follows = f"{np.mean([each[3] for each in right]):.3f}" if right else "-"
        shares = " | ".join(f"{share:.3f}" for share in np.mean(told, axis=0))
        print(f"| {cell} | {shares} | {follows} of {len(right)} |")


if __name__ == "__main__":
    main()
