"""Kinds of task as chats, from the sets in a folder of data: training rows and held-out ones.

Nothing is drawn anew: rows are taken in an order that a fixed seed shuffled, so that every run
trains and is judged on the same ones.
"""

import csv
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

Row = dict[str, list[dict[str, str]]]
INTENTS, ALL_INTENTS, BANKING_INTENTS, ALL_BANKING_INTENTS = 30, 150, 20, 77
LOW, HIGH = (1, 4), (9, 10)  # ratings that are negative and positive, as NSMC's authors cut them
CLEAR = 2.0  # of 4: a rating that is clearly on one side
ABSTRACT_WORDS = 180


@dataclass(frozen=True, slots=True)
class Task:
    """How a task's rows are read, how many there are, and the check that decides.

    ``beside`` are further training rows.
    """

    read: Callable[[Path], tuple[list[Row], list[Row]]]
    check: dict[str, object]
    train_rows: int
    held_rows: int
    max_new_tokens: int
    credit: str
    beside: Callable[[Sequence[Row]], Sequence[Row]] = lambda _: ()  # the training rows


def _chat(question: str, answer: str, system: str) -> Row:
    """A row; ``system`` "" leaves its message out."""
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    return {"messages": messages if system else messages[1:]}


def _shuffled(rows: Sequence[Row]) -> list[Row]:
    mixed = list(rows)
    random.Random(0).shuffle(mixed)
    return mixed


def intent_pairs(
    data: Path, count: int = INTENTS
) -> tuple[list[str], dict[str, list[tuple[str, str]]]]:
    """CLINC150: the first intents by name of those within scope, and each part's messages."""
    sets = json.loads((data / "clinc150_small" / "data_small.json").read_text(encoding="utf-8"))
    names = sorted({intent for _, intent in sets["train"]})[:count]
    wanted = set(names)
    return names, {
        part: [(text, intent) for text, intent in sets[part] if intent in wanted]
        for part in ("train", "test")
    }


def classification(data: Path, count: int = INTENTS) -> tuple[list[Row], list[Row]]:
    """CLINC150: a message to its intent."""
    system = "Name the intent of the message."
    _, parts = intent_pairs(data, count)
    train, test = (
        _shuffled([_chat(text, intent, system) for text, intent in parts[part]])
        for part in ("train", "test")
    )
    return train, test


def sentiment(data: Path) -> tuple[list[Row], list[Row]]:
    """NSMC's raw reviews, as many negative as positive; films of the two halves differ."""
    system = "Is this film review positive or negative?"
    halves: tuple[list[Row], list[Row]] = ([], [])
    files = sorted((data / "nsmc_raw_ko" / "raw").glob("*.json"))
    for half, part in zip(halves, (files[::3] + files[1::3], files[2::3]), strict=True):
        found: dict[str, list[Row]] = {"negative": [], "positive": []}
        for path in part:
            for review in json.loads(path.read_text(encoding="utf-8")):
                rating = int(review["rating"])
                for label, (low, high) in (("negative", LOW), ("positive", HIGH)):
                    if low <= rating <= high and review["review"].strip():
                        found[label].append(_chat(review["review"].strip(), label, system))
        count = min(map(len, found.values()))
        half += _shuffled([row for rows in found.values() for row in _shuffled(rows)[:count]])
    return halves


def english_reviews(data: Path) -> tuple[list[Row], list[Row]]:
    """Sentences of English film reviews, rated by people from -4 to 4, in the form of `sentiment`.

    The file is in hutto_ICWSM_2014.tar.gz of github.com/cjhutto/vaderSentiment (MIT): it belongs
    into the folder `movie_reviews`. It tells a method's limits from those of a base that knows
    English better than Korean.
    """
    system = "Is this film review positive or negative?"
    path = data / "movie_reviews" / "movieReviewSnippets_GroundTruth.txt"
    found: dict[str, list[Row]] = {"negative": [], "positive": []}
    for line in path.read_text(encoding="utf-8").splitlines():
        _, rating, text = line.split("\t")
        if abs(float(rating)) >= CLEAR:
            label = "positive" if float(rating) > 0 else "negative"
            found[label].append(_chat(text.strip(), label, system))
    count = min(map(len, found.values()))
    rows = _shuffled([row for rows in found.values() for row in _shuffled(rows)[:count]])
    return rows[count:], rows[:count]


def summary(data: Path) -> tuple[list[Row], list[Row]]:
    """SciTLDR: the beginning of an abstract to one sentence; the shortest of the given ones."""

    def rows(part: str) -> list[Row]:
        lines = (data / "scitldr" / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        found = []
        for line in map(json.loads, lines):
            words = " ".join(line["source"]).split()[:ABSTRACT_WORDS]
            answer = min(line["target"], key=len)
            found.append(_chat(" ".join(words), answer, "Summarise the abstract in one sentence."))
        return _shuffled(found)

    return rows("dev"), rows("test")


def polite_pairs(data: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """songys: casual Korean questions with polite replies; no reply is in both halves."""
    path = data / "songys_chatbot_ko" / "ChatbotData.csv"
    with path.open(encoding="utf-8", newline="") as file:
        pairs = [(row["Q"], row["A"]) for row in csv.DictReader(file)]
    polite = [(q, a) for q, a in pairs if a.rstrip(".!?~ ").endswith("요")]
    answers = sorted({a for _, a in polite})
    random.Random(0).shuffle(answers)
    held = set(answers[: len(answers) // 5])
    return [p for p in polite if p[1] not in held], [p for p in polite if p[1] in held]


def banking(data: Path, count: int = BANKING_INTENTS) -> tuple[list[Row], list[Row]]:
    """banking77: a message to one of the first intents by name."""
    halves = []
    for part in ("train", "test"):
        with (data / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        wanted = sorted({row["category"] for row in rows})[:count]
        pairs = [(" ".join(r["text"].split()), r["category"]) for r in rows]
        system = "Name the intent of the message."
        halves.append(_shuffled([_chat(*pair, system) for pair in pairs if pair[1] in wanted]))
    return halves[0], halves[1]


def structure(data: Path) -> tuple[list[Row], list[Row]]:
    """E2E NLG, reversed: a sentence to its facts, one sentence for each set of facts.

    The two halves share no set of facts.
    """
    halves = []
    for name in ("devset.csv", "testset_w_refs.csv"):
        with (data / "e2e_nlg" / name).open(encoding="utf-8", newline="") as file:
            facts = {row["mr"]: row["ref"] for row in csv.DictReader(file)}
        system = "List the facts of the text as name[value]."
        halves.append(_shuffled([_chat(text, fact, system) for fact, text in facts.items()]))
    return halves[0], halves[1]


def shop(_data: Path) -> tuple[list[Row], list[Row]]:
    """The shop's workbook of `examples/shop_ko` without its faults; a quarter is held out."""
    from openpyxl import load_workbook  # type: ignore[import-untyped]

    sheet = load_workbook("examples/shop_ko/shop.xlsx").active
    names, *lines = sheet.iter_rows(values_only=True)
    answers: dict[str, str] = {}
    for line in lines:
        row = dict(zip(names, line, strict=True))
        if row["고객 문의"] and row["상담 답변"]:
            answers.setdefault(" ".join(row["고객 문의"].split()), row["상담 답변"].strip())
    rows = _shuffled([_chat(question, text, "") for question, text in answers.items()])
    return rows[len(rows) // 4 :], rows[: len(rows) // 4]


def tone(data: Path) -> tuple[list[Row], list[Row]]:
    """songys: casual Korean questions to polite replies."""
    system = "너는 친절한 상담원이다."
    train, test = (
        _shuffled([_chat(q, a, system) for q, a in pairs]) for pairs in polite_pairs(data)
    )
    return train, test


TASKS = {
    "classification": Task(classification, {"kind": "label"}, 900, 200, 12, "CLINC150, CC BY 3.0"),
    # all of them need more than one direction: what a low rank cannot hold shows here
    "intents-150": Task(
        partial(classification, count=ALL_INTENTS),
        {"kind": "label"},
        3000,
        400,
        16,
        "CLINC150, CC BY 3.0",
    ),
    "sentiment": Task(sentiment, {"kind": "label"}, 500, 200, 8, "NSMC, CC0"),
    "english-reviews": Task(
        english_reviews, {"kind": "label"}, 500, 200, 8, "VADER (Hutto and Gilbert, 2014), MIT"
    ),
    # ROUGE-L is scored behind the run; a check makes the run answer
    "summary": Task(summary, {"kind": "exact"}, 400, 100, 60, "SciTLDR, Apache 2.0"),
    "tone": Task(
        tone,
        {"kind": "ends_with", "endings": ["요"], "ignore_punctuation": True},
        900,
        200,
        100,  # the longest answer of the data has 89 tokens
        "songys Chatbot_data, MIT",
    ),
    # those by which the choice of step sizes is judged: it was not made on them
    "banking": Task(banking, {"kind": "label"}, 500, 200, 16, "banking77, CC BY 4.0"),
    "banking-77": Task(
        partial(banking, count=ALL_BANKING_INTENTS),
        {"kind": "label"},
        10_000,
        400,
        16,
        "banking77, CC BY 4.0",
    ),
    "structure": Task(structure, {"kind": "slots"}, 500, 200, 80, "E2E NLG, CC BY-SA 4.0"),
    "shop": Task(
        shop, {"kind": "ends_with", "endings": ["온담공방 드림"]}, 40, 14, 160, "Apache-2.0"
    ),
}

FOUR = ("classification", "sentiment", "summary", "tone")


def write(task: Task, data: Path, folder: Path) -> tuple[Path, Path]:
    """The task's training and held-out rows as JSONL files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = task.read(data)
    paths = (folder / "train.jsonl", folder / "held.jsonl")
    for path, rows, count in zip(paths, parts, (task.train_rows, task.held_rows), strict=True):
        chosen = rows[:count]
        chosen += task.beside(chosen) if path.stem == "train" else ()
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        path.write_text(text, encoding="utf-8")
    return paths


if __name__ == "__main__":
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        for name, task in TASKS.items():
            for path in write(task, Path(sys.argv[1]), Path(scratch) / name):
                lines = path.read_text(encoding="utf-8").splitlines()
                print(name, path.name, len(lines), lines[0][:300])
