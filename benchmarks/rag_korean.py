"""Are Korean passages found whatever particles and spelling a question has?

    python -m benchmarks.rag_korean --data ChatbotData.csv [--count 500]

Each row (question and answer) is a passage. Its question is asked as it is, with another particle
behind each noun-like word, without blanks, and with one letter in three words wrong.
"""

import argparse
import csv
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.rag_xquad import Remembering, threshold
from tunesmith.core.progress import Progress
from tunesmith.models.embedder import load_embedder
from tunesmith.retrieval.index import IndexedFolder, index
from tunesmith.retrieval.retrieve import Mode, SearchOptions, retrieve
from tunesmith.retrieval.scores import recall_at, reciprocal_rank
from tunesmith.retrieval.store import open_store

MODEL = "multilingual-e5-small"
MODES: tuple[Mode, ...] = ("dense", "text", "hybrid")
PARTICLES = ("은", "는", "이", "가", "을", "를", "도", "만", "에서", "한테", "에게는", "까지")
FIRST, LAST, VOWELS, FINALS = 0xAC00, 0xD7A3, 21, 28


def main() -> None:
    """Index the rows, ask each question in four ways of three retrievers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with options.data.open(encoding="utf-8", newline="") as file:
        rows = list({row["Q"]: row for row in csv.DictReader(file)}.values())
    rng = random.Random(options.seed)
    rows = rng.sample(rows, options.count)
    ways: dict[str, Callable[[str], str]] = {
        "as it is": str,
        "particles": lambda text: with_particles(text, rng),
        "no blanks": lambda text: text.replace(" ", ""),
        "misspelt": lambda text: misspelt(text, rng),
    }
    asked = {name: [way(row["Q"]) for row in rows] for name, way in ways.items()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "files"
        folder.mkdir()
        with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("Q", "A"), *((row["Q"], row["A"]) for row in rows)])
        model = load_embedder(MODEL)
        index(
            IndexedFolder(folder, MODEL, lambda: model),
            str(Path(scratch) / "store"),
            progress=Progress(print),
        )
        store = open_store(str(Path(scratch) / "store"))
        every = list(dict.fromkeys(text for texts in asked.values() for text in texts))
        embedder = Remembering(model, every)
        print("| questions | retriever | recall@1 | recall@5 | MRR |\n|---|---|---|---|---|")
        for way, texts in asked.items():
            for mode in MODES:
                found = [retrieve(store, embedder, text, SearchOptions(10, mode)) for text in texts]
                ranked = [[hit.passage.heading for hit in hits] for hits in found]
                names = [f"row {number:,}" for number in range(1, len(rows) + 1)]
                pairs = [(each, {name}) for each, name in zip(ranked, names, strict=True)]
                figures = [
                    np.mean([recall_at(1, *pair) for pair in pairs]),
                    np.mean([recall_at(5, *pair) for pair in pairs]),
                    np.mean([reciprocal_rank(*pair) for pair in pairs]),
                ]
                cells = " | ".join(f"{float(figure):.3f}" for figure in figures)
                print(f"| {way} | {mode} | {cells} |")
            questions = list(zip(texts, names, strict=True))
            threshold(found, questions, model=MODEL, name_of=lambda hit: hit.passage.heading)


def with_particles(text: str, rng: random.Random) -> str:
    """Each word with two letters or more gets a particle, in place of one that it has."""
    return " ".join(_with_particle(word, rng) for word in text.split())


def _with_particle(word: str, rng: random.Random) -> str:
    bare = next((word[: -len(p)] for p in PARTICLES if word.endswith(p)), word)
    bare = bare if len(bare) > 1 else word
    return bare + rng.choice(PARTICLES) if len(bare) > 1 and _is_hangul(bare[-1]) else word


def misspelt(text: str, rng: random.Random) -> str:
    """One syllable in every third word has another vowel, or loses or gets a final consonant."""
    words = text.split()
    for i in range(0, len(words), 3):
        places = [at for at, letter in enumerate(words[i]) if _is_hangul(letter)]
        if places:
            at = rng.choice(places)
            words[i] = words[i][:at] + _other(words[i][at], rng) + words[i][at + 1 :]
    return " ".join(words)


def _other(syllable: str, rng: random.Random) -> str:
    """The same with another vowel, or without its final consonant, or with one (ㅅ)."""
    code = ord(syllable) - FIRST
    initial, vowel, final = code // FINALS // VOWELS, code // FINALS % VOWELS, code % FINALS
    if rng.random() < 0.5:
        vowel = (vowel + rng.choice((1, VOWELS - 1))) % VOWELS
    else:
        final = 0 if final else 19
    return chr(FIRST + (initial * VOWELS + vowel) * FINALS + final)


def _is_hangul(letter: str) -> bool:
    return FIRST <= ord(letter) <= LAST


if __name__ == "__main__":
    main()
