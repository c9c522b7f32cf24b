"""Which answers must be found degenerate, and which must not? Runs of answers with known truth.

Clean ones are of sound fine-tunes (`degeneration_runs.py`), of other writers of the same data (E2E
and SciTLDR have several answers to a question), of the most similar other question, of another row
(tables and code), or labels with a classifier's errors. Planted ones are clean ones of which some
answers loop, copy the question or are one sentence for all.
"""

import argparse
import ast
import csv
import inspect
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.degeneration_runs import QUESTION_WORDS
from benchmarks.quality_sets import READERS, Pairs

LIMIT = 640  # bytes of an answer that runs to its token limit, or thrice those of a sound one
SHARES, ROWS = (0.2, 0.3, 0.4, 0.6), (40, 60, 100)
POOL = 600  # other questions, of which the most similar one is looked for
LABELS = ("clinc", "banking77", "nsmc")
WRONG = 0.2  # of a classifier's labels
SORRY = {
    "songys": "죄송하지만 잘 모르겠어요.",
    "nsmc": "좋은 영화입니다.",
    "table": "[]",
    "code": "def f(x):\n    return x",
}
SENTENCE = "I'm sorry, but I can't help with that."


@dataclass(frozen=True, slots=True)
class AnsweredRun:
    """Answers to questions, the data's own, and whether they degenerated."""

    name: str
    planted: bool
    questions: Sequence[str]
    references: Sequence[str]
    answers: Sequence[str]


Row = tuple[str, str, str]  # question, reference, another sound answer
Half = tuple[str, ...]
CHOOSING: Half = ("songys", "clinc", "e2e", "scitldr", "piqa", "arc easy", "table")
JUDGING: Half = ("songys b", "banking77", "snips", "gsm8k", "nsmc", "xquad", "openbook qa", "code")


def clean(task: str, number: int, data: Path) -> AnsweredRun:
    """Sound answers to so many rows of a task as `ROWS` has at this number."""
    rng = random.Random(f"{task} {number}")
    rows = ROWS[number % len(ROWS)]
    questions, references, answers = zip(*_rows(task, rows, rng, data), strict=True)
    return AnsweredRun(f"{task} {rows}", False, questions, references, answers)


def planted(task: str, kind: str, number: int, data: Path) -> AnsweredRun:
    """The clean run of this number, with a share of degenerate answers at random places."""
    sound, share = clean(task, number, data), SHARES[number % len(SHARES)]
    rng = random.Random(f"{task} {kind} {number}")
    spoil, answers = KINDS[kind], list(sound.answers)
    for i in rng.sample(range(len(answers)), round(share * len(answers))):
        answers[i] = spoil(Place(answers[i], sound.questions[i], _sorry(task), rng))
    name = f"{sound.name}: {share:.0%} {kind}"
    return AnsweredRun(name, True, sound.questions, sound.references, answers)


def _sorry(task: str) -> str:
    return SORRY.get(task.removesuffix(" b"), SENTENCE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a degenerate answer is planted: over a sound answer to a question."""

    answer: str
    question: str
    one: str  # sentence for all questions
    rng: random.Random

    def looped(self, start: str, unit: str) -> str:
        """The start, and then the unit until the limit."""
        limit = max(LIMIT, 3 * len(self.answer.encode()))
        return f"{start}{unit * limit}".encode()[:limit].decode(errors="ignore")


Spoil = Callable[[Place], str]


def _sentence_loop(at: Place) -> str:
    return at.looped("", f"{at.answer} ")


def _word_loop(at: Place) -> str:
    words = at.answer.split() or ["the"]
    half = max(1, len(words) // 2)
    unit = words[max(0, half - at.rng.randint(1, 4)) : half]
    return at.looped(" ".join(words[:half]) + " ", " ".join(unit) + " ")


def _character_loop(at: Place) -> str:
    start = at.answer[: len(at.answer) // 2 + 1].rstrip()
    return at.looped(start, start[-1:])


def _numbered_loop(at: Place) -> str:
    return at.looped("", "\n".join(f"{i}. {at.answer}" for i in range(1, 12)))


def _doubled(at: Place) -> str:
    return f"{at.answer} {at.answer} {at.rng.choice(['😊', '!', ''])}"


def _question(at: Place) -> str:
    return at.question + at.rng.choice(["", "?", " Yes.", " 네."])


def _one(at: Place) -> str:
    return at.one


def _mixed(at: Place) -> str:
    loops = (_sentence_loop, _word_loop, _character_loop, _numbered_loop)
    return at.rng.choice((*loops, _question, _one))(at)


KINDS: dict[str, Spoil] = {
    "loop by sentences": _sentence_loop,
    "loop by words": _word_loop,
    "loop by a character": _character_loop,
    "say it twice": _doubled,
    "loop in a numbered list": _numbered_loop,
    "copy the question": _question,
    "are one sentence": _one,
    "loop, copy or are one": _mixed,
}


def _rows(task: str, count: int, rng: random.Random, data: Path) -> list[Row]:
    name = task.removesuffix(" b")
    if name in SEVERAL:
        return _of_writers(SEVERAL[name](data), count, rng)
    pairs = _pairs(name, data)
    if name == "songys":  # other rows for each half
        half = len(pairs) // 2
        pairs = pairs[half:] if task.endswith(" b") else pairs[:half]
    rng.shuffle(pairs)
    rows, pool = pairs[:count], pairs[count : count + POOL]
    if name in LABELS:
        labels = [answer for _, answer in pool]
        return [(q, a, rng.choice(labels) if rng.random() < WRONG else a) for q, a in rows]
    if name in MADE:
        return [(q, a, other) for (q, a), (_, other) in zip(rows, pool, strict=False)]
    return [(q, a, _nearest(q, pool)) for q, a in rows]


def _pairs(name: str, data: Path) -> Pairs:
    if name in MADE:
        return MADE[name](data)
    return list(dict(READERS[name](data)).items())


def _nearest(question: str, pool: Pairs) -> str:
    """The answer to the question whose three-letter pieces are most alike."""
    own = _pieces(question)
    return max(pool, key=lambda pair: len(own & (of := _pieces(pair[0]))) / len(own | of))[1]


def _pieces(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


Written = dict[str, list[str]]  # question -> answers


def _of_writers(written: Written, count: int, rng: random.Random) -> list[Row]:
    several = [(q, answers) for q, answers in written.items() if len(set(answers)) > 1]
    chosen = [(q, rng.sample(sorted(set(answers)), 2)) for q, answers in rng.sample(several, count)]
    return [(q, reference, other) for q, (reference, other) in chosen]


def _e2e(data: Path) -> Written:
    found: Written = defaultdict(list)
    with (data / "e2e_nlg" / "devset.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["mr"]].append(row["ref"])
    return found


def _scitldr(data: Path) -> Written:
    lines = (data / "scitldr" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    return {" ".join(" ".join(r["source"]).split()[:QUESTION_WORDS]): r["target"] for r in rows}


SEVERAL: dict[str, Callable[[Path], Written]] = {"e2e": _e2e, "scitldr": _scitldr}


def _table(data: Path) -> Pairs:
    """Three rows of a table of numbers as a JSON list: long keys, each repeated."""
    with (data / "messy_tables" / "example.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    first = [row["hour"] for row in rows[:-3]]
    return [(f"From {hour}", json.dumps(rows[i : i + 3])) for i, hour in enumerate(first)]


def _code(_: Path) -> Pairs:
    """Functions of Python's own library, by their names and first lines of documentation."""
    found: Pairs = []
    for module in (argparse, ast, csv, inspect, json.decoder, random):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.FunctionDef) and (said := ast.get_docstring(node)):
                found.append((f"{node.name}: {said.splitlines()[0]}", ast.unparse(node)))
    return found


MADE: dict[str, Callable[[Path], Pairs]] = {"table": _table, "code": _code}


def clean_runs(half: Half, data: Path, count: int) -> Iterator[AnsweredRun]:
    """So many, over the tasks of a half in turn."""
    yield from (clean(half[i % len(half)], i, data) for i in range(count))


def planted_runs(half: Half, data: Path, count: int) -> Iterator[AnsweredRun]:
    """So many, over tasks, kinds, shares and numbers of rows in turn."""
    kinds = tuple(KINDS)
    for i in range(count):
        yield planted(half[i % len(half)], kinds[(i + i // len(half)) % len(kinds)], i, data)
