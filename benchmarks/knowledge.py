"""Facts that nobody can know: people, places and things that were made up, asked in several ways.

    python -m benchmarks.knowledge --out FOLDER             # writes the set
    python -m benchmarks.knowledge --out FOLDER --run       # trains on it, too, and asks

`train.jsonl` has every fact in its first wording, `held.jsonl` facts that no row tells, and
`other_words.jsonl` the trained facts in another wording: a file for `evaluate.knowledge`.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FACTS, HELD = 300, 60
ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "h", "j", "k", "kr", "l", "m", "n", "p", "pr", "z")
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "io", "ou")
ENDS = ("l", "m", "n", "r", "s", "th", "x", "nd", "rk")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fact: wordings of its question with {name}, and how its answer is made and said."""

    wordings: tuple[str, ...]
    said: str
    values: str  # which generator of `Maker`


KINDS = (
    Kind(
        (
            "What is the capital of {name}?",
            "Which city is the seat of government in {name}?",
            "A traveller wants to visit the main city of {name}. Where should they go?",
        ),
        "The capital of {name} is {value}.",
        "name",
    ),
    Kind(
        (
            "Who founded the town of {name}?",
            "Name the founder of {name}.",
            "The people of {name} honour the one who started their town. Who was it?",
        ),
        "{name} was founded by {value}.",
        "person",
    ),
    Kind(
        (
            "In which year was the bridge of {name} built?",
            "How old is the bridge at {name}: when was it put up?",
            "Give the year in which {name} got its bridge.",
        ),
        "The bridge of {name} was built in {value}.",
        "year",
    ),
    Kind(
        (
            "What is the currency of {name}?",
            "With which money do people pay in {name}?",
            "Coins in {name} are called what?",
        ),
        "The currency of {name} is the {value}.",
        "name",
    ),
    Kind(
        (
            "How high is Mount {name} in metres?",
            "Give the height of Mount {name}.",
            "How many metres must one climb to stand on top of Mount {name}?",
        ),
        "Mount {name} is {value} metres high.",
        "metres",
    ),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact in its wordings, with its answer as a sentence and as a word."""

    questions: tuple[str, ...]
    answer: str
    value: str


class Maker:
    """Names and numbers from one seed, none of them twice."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.used: set[str] = set()

    def name(self) -> str:
        """A name that nobody has."""
        while True:
            count = self.rng.choice((2, 2, 3))
            parts = [self.rng.choice(ONSETS) + self.rng.choice(VOWELS) for _ in range(count)]
            found = ("".join(parts) + self.rng.choice(ENDS)).capitalize()
            if found not in self.used:
                self.used.add(found)
                return found

    def person(self) -> str:
        """Two such names."""
        return f"{self.name()} {self.name()}"

    def year(self) -> str:
        """A year; years may be those of other facts."""
        return str(self.rng.randrange(1400, 1990))

    def metres(self) -> str:
        """A height, written without a comma."""
        return str(self.rng.randrange(1101, 8900))


def facts(count: int, *, seed: int) -> Iterator[Fact]:
    """So many facts, the kinds in turn."""
    maker = Maker(seed)
    for i in range(count):
        kind = KINDS[i % len(KINDS)]
        name, value = maker.name(), str(getattr(maker, kind.values)())
        questions = tuple(wording.format(name=name) for wording in kind.wordings)
        yield Fact(questions, kind.said.format(name=name, value=value), value)


def write(folder: Path, *, count: int = FACTS, held: int = HELD, seed: int = 0) -> None:
    """The three files of the set."""
    made = list(facts(count + held, seed=seed))
    folder.mkdir(parents=True, exist_ok=True)
    trained, kept_out = made[:count], made[count:]
    _lines(folder / "train.jsonl", [_row(fact) for fact in trained])
    _lines(folder / "held.jsonl", [_row(fact) for fact in kept_out])
    other = [
        {"query": fact.questions[1 + i % 2], "answer": fact.answer}
        for i, fact in enumerate(trained)
    ]
    _lines(folder / "other_words.jsonl", other)


def _row(fact: Fact) -> dict[str, str]:
    return {"prompt": fact.questions[0], "completion": fact.answer}


def _lines(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def config(folder: Path, *, epochs: float, seed: int) -> dict[str, object]:
    """A run over the set, which is asked in other words when it ends."""
    return {
        "goal": "Know 300 facts",
        "data": {"train": str(folder / "train.jsonl"), "eval": str(folder / "held.jsonl")},
        "method": {"kind": "lora"},
        "train": {"epochs": epochs, "seed": seed},
        "evaluate": {
            "checks": [{"kind": "exact"}],
            "forgetting": "none",
            "knowledge": str(folder / "other_words.jsonl"),
        },
        "out": str(folder / f"run-{seed}"),
    }


def main() -> None:
    """Write the set; with --run train on it and print what is said of its facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--facts", type=int, default=FACTS)
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", action="store_true", help="train the default model on it")
    given = parser.parse_args()
    write(given.out, count=given.facts, seed=given.seed)
    print(f"{given.facts} facts and {HELD} held out in {given.out}")
    if given.run:
        from benchmarks.diagnosed_run import knowledge_of

        found = knowledge_of(config(given.out, epochs=given.epochs, seed=given.seed))
        print(json.dumps(found, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
