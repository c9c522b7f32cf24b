"""Rows for tests: written by hand, drawn from open data sets, and edited lightly."""

import json
import random
from pathlib import Path
from typing import Any

from tests.data.tiny import talk
from tunesmith.data.quality.text import see
from tunesmith.data.rows import Conversation

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> list[Conversation]:
    """The rows of a sample; of multiple choice, the right answer."""
    rows = []
    for line, text in enumerate((SAMPLES / name).read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(text)
        if "query" in row:
            rows.append(talk(row["query"], row["choices"][row["gold"]], line=line))
        else:
            rows.append(talk(row["prompt"], row["completion"], line=line))
    return rows


def asked(*pairs: tuple[str, str]) -> list[Conversation]:
    """A conversation for each question and answer, on the lines 1, 2, ..."""
    return [talk(*pair, line=line) for line, pair in enumerate(pairs, start=1)]


def found(observer: Any, rows: list[Conversation]) -> list[tuple[str, list[int]]]:
    """Codes and rows of what an observer says of these rows."""
    for row in rows:
        observer.observe(see(row))
    return [(finding.code, finding.rows.tolist()) for finding in observer.findings()]


def in_other_case(text: str, rng: random.Random) -> str:
    return rng.choice([text.upper(), text.title(), text.capitalize()])


def in_other_punctuation(text: str, rng: random.Random) -> str:
    return rng.choice([f"{text}?", f"{text}!", f"{text}.", f'"{text}"', text.replace(" ", ", ", 1)])


def with_another_word(text: str, rng: random.Random) -> str:
    """One word replaced, misspelt, left out or added."""
    words = text.split()
    place, kind = rng.randrange(len(words)), rng.choice(["other", "typo", "less", "more"])
    word = words[place]
    if kind == "other":
        words[place] = rng.choice(["something", "quickly", "blue", "thing", "perhaps"])
    elif kind == "typo" and len(word) > 2:
        cut = rng.randrange(len(word) - 1)
        words[place] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    elif kind == "less" and len(words) > 2:
        del words[place]
    else:
        words.insert(place, rng.choice(["please", "just", "now", "really"]))
    return " ".join(words)


EDITS = (in_other_case, in_other_punctuation, with_another_word)


def edited_copies(rows: list[Conversation], *, seed: int, first_line: int) -> list[Conversation]:
    """Each row with one light edit of its question, each kind in turn."""
    rng = random.Random(seed)
    return [
        talk(
            EDITS[i % len(EDITS)](row.messages[0].content, rng),
            row.messages[1].content,
            line=first_line + i,
        )
        for i, row in enumerate(rows)
    ]
