"""What do retrieval, tuning and both add on XQuAD? Documents and questions for the commands.

    python -m benchmarks.rag_cells --data xquad.en.json --out xquad

Each passage is a file; the questions of an article stay on one side.
"""

import argparse
import json
from pathlib import Path

from benchmarks.rag_xquad import read, write

COMMANDS = """\
cd {0}
tunesmith rag index files --store store
tunesmith rag dataset questions.jsonl --store store --out rows --group article --share 0.25
tunesmith train --data rows/train.jsonl --data.eval rows/eval.jsonl --out run
tunesmith rag evaluate rows/questions.jsonl --store store --adapter run --out cells"""


def main() -> None:
    """Write both, and say what comes next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    passages, _ = read(options.data)
    write(options.out / "files", passages)
    rows = questions(options.data, {text: name for name, text in passages.items()})
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (options.out / "questions.jsonl").write_text(lines, encoding="utf-8")
    print(COMMANDS.format(options.out))


def questions(file: Path, names: dict[str, str]) -> list[dict[str, object]]:
    """A row for each question; ``names`` are the files of the passages."""
    articles = json.loads(file.read_text(encoding="utf-8"))["data"]
    return [
        {
            "question": qa["question"],
            "answers": qa["answers"],
            "source": names[paragraph["context"]],
            "article": number,
        }
        for number, article in enumerate(articles)
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


if __name__ == "__main__":
    main()
