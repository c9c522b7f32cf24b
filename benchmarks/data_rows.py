"""Which rows `data_speed.py` reads: any number of chat rows of about a kilobyte, all different.

python -m benchmarks.data_rows OUT.jsonl --rows 1000000

Sentences of GSM8K (`data/`) in a random order, every number drawn anew: natural text, so that
tokenizers meet the words that they meet elsewhere.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent / "data" / "gsm8k_test_first104.jsonl"
QUESTION_CHARACTERS, ANSWER_CHARACTERS = 390, 420
SYSTEM_SHARE, SECOND_TURN_SHARE = 0.2, 0.1
NUMBER = re.compile(r"\d+")


def sentences(column: str) -> list[str]:
    """Every sentence of a column."""
    rows = [json.loads(line) for line in SOURCE.read_text(encoding="utf-8").splitlines()]
    found = (part.strip() for row in rows for part in re.split(r"(?<=[.?!])\s|\n", row[column]))
    return [part for part in found if len(part) > 20]


def rows(count: int, *, seed: int = 0) -> Iterator[dict[str, object]]:
    """Chat rows; some have a system message, some a second turn."""
    rng = random.Random(seed)
    asked, said = sentences("question"), sentences("answer")

    def text(parts: list[str], characters: int) -> str:
        chosen: list[str] = []
        length, wanted = 0, rng.randint(characters // 2, 3 * characters // 2)
        while length < wanted:
            chosen.append(NUMBER.sub(lambda _: str(rng.randint(2, 999)), rng.choice(parts)))
            length += len(chosen[-1])
        return " ".join(chosen)

    for number in range(count):
        messages = []
        if rng.random() < SYSTEM_SHARE:
            messages.append({"role": "system", "content": f"You help customer {number}. Be brief."})
        turns = 2 if rng.random() < SECOND_TURN_SHARE else 1
        for _ in range(turns):
            question = text(asked, QUESTION_CHARACTERS // turns)
            answer = text(said, ANSWER_CHARACTERS // turns)
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer})
        yield {"messages": messages}


def write(path: Path, count: int, *, seed: int = 0) -> None:
    """A JSONL file of so many rows."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows(count, seed=seed)
        )


def main() -> None:
    """Write the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.out, given.rows, seed=given.seed)


if __name__ == "__main__":
    main()
