"""A store with a fact in each of many files, and questions about them."""

import json
from pathlib import Path

from tests.retrieval.toy import ToyEmbedder, toy_folder
from tunesmith.retrieval.index import IndexedFolder, index

NAMES = ("amber", "birch", "cedar", "dahlia", "elm", "fern", "ginger", "hazel", "iris", "juniper")


def fact_store(folder: Path) -> tuple[str, Path]:
    """The store's address and the toy model's folder."""
    documents = folder / "docs"
    documents.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        text = f"The {name} room is on floor {i} and was painted by {name}son in 19{i}0."
        (documents / f"{name}.txt").write_text(text)
    model = toy_folder(folder / "toy")
    index(IndexedFolder(documents, "toy", lambda: ToyEmbedder(model)), str(folder / "store"))
    return str(folder / "store"), model


def facts_file(path: Path, **more: object) -> Path:
    """Two questions about each file, the second one known by its source."""
    rows = []
    for name in NAMES:
        rows.append({"question": f"Who painted the {name} room?", "answer": f"{name}son", **more})
        year = f"19{NAMES.index(name)}0"
        rows.append(
            {
                "question": f"When was the {name} room painted?",
                "answers": {"text": [year], "answer_start": [0]},
                "source": f"{name}.txt",
                **more,
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
