"""Which English passages are at hand? Running text and rows of any kind, cut to about one length.

Short texts (messages, sentences about restaurants) are joined until they are as long as a passage.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

SHORTEST = 400  # characters: shorter texts are joined
# What a row says, in this order; labels, scores and slots are left out.
COLUMNS = ("title", "source", "context", "query", "question", "text", "ref", "choices", "answer")


def passages_of(file: Path) -> list[str]:
    """Passages of a file: paragraphs of .txt, contexts of SQuAD's .json, rows of .jsonl and .csv.

    CLINC's .json of message lists is read too. Every passage once.
    """
    readers = {".txt": _paragraphs, ".json": _contexts, ".jsonl": _lines, ".csv": _rows}
    return list(dict.fromkeys(_joined(readers[file.suffix](file))))


def _joined(texts: Iterator[str]) -> Iterator[str]:
    held = ""
    for text in texts:
        held = f"{held} {text}".strip()
        if len(held) >= SHORTEST:
            yield held
            held = ""


def _paragraphs(file: Path) -> Iterator[str]:
    yield from (line.strip() for line in file.read_text(encoding="utf-8").splitlines())


def _contexts(file: Path) -> Iterator[str]:
    document = json.loads(file.read_text(encoding="utf-8"))
    if "data" in document:
        yield from (p["context"] for article in document["data"] for p in article["paragraphs"])
    else:
        yield from (message for part in document.values() for message, _ in part)


def _lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8") as lines:
        yield from (_said(json.loads(line)) for line in lines)


def _rows(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", newline="") as lines:
        yield from (_said(row) for row in csv.DictReader(lines))


def _said(row: Mapping[str, object]) -> str:
    values = (row[name] for name in COLUMNS if name in row)
    texts = (" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in values)
    return " ".join(texts)
