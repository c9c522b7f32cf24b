"""Open data sets, as they come, as questions with answers: a reader for each layout."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tunesmith.data.rows import Conversation, Message

Pairs = list[tuple[str, str]]


def conversations(pairs: Sequence[tuple[str, str]], *, file: str = "rows") -> list[Conversation]:
    """A row for each question with its answer, on the lines 1, 2, ..."""
    return [
        Conversation((Message("user", asked), Message("assistant", answer)), file, line)
        for line, (asked, answer) in enumerate(pairs, start=1)
    ]


def read_sets(data: Path) -> dict[str, Pairs]:
    """Every set by name."""
    return {name: list(read(data)) for name, read in READERS.items()}


def _table(path: str, question: str, answer: str) -> Callable[[Path], Iterator[tuple[str, str]]]:
    def read(data: Path) -> Iterator[tuple[str, str]]:
        with (data / path).open(encoding="utf-8", newline="") as file:
            yield from ((row[question], row[answer]) for row in csv.DictReader(file))

    return read


def _json_lines(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _choices(name: str) -> Callable[[Path], Iterator[tuple[str, str]]]:
    def read(data: Path) -> Iterator[tuple[str, str]]:
        for row in _json_lines(data / "forgetting_probes" / name):
            choices, gold = row["choices"], row["gold"]
            assert isinstance(choices, list)
            assert isinstance(gold, int)
            yield str(row["query"]), choices[gold]

    return read


def _clinc(part: str) -> Callable[[Path], Iterator[tuple[str, str]]]:
    def read(data: Path) -> Iterator[tuple[str, str]]:
        parts = json.loads((data / "clinc150_small" / "data_small.json").read_text())
        yield from ((text, intent) for text, intent in parts[part])

    return read


def _snips(data: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((data / "snips_slots").glob("train_*.json")):
        intents: Mapping[str, list[Mapping[str, list[Mapping[str, str]]]]]
        intents = json.loads(path.read_text(encoding="latin-1"))
        for intent, utterances in intents.items():
            for chunks in (utterance["data"] for utterance in utterances):
                slots = {c["entity"]: c["text"] for c in chunks if "entity" in c}
                answer = json.dumps({"intent": intent, "slots": slots}, ensure_ascii=False)
                yield "".join(c["text"] for c in chunks), answer


def _gsm8k(data: Path) -> Iterator[tuple[str, str]]:
    for row in _json_lines(data / "gsm8k" / "train_first2000.jsonl"):
        yield str(row["question"]), str(row["answer"])


def _scitldr(data: Path) -> Iterator[tuple[str, str]]:
    for row in _json_lines(data / "scitldr" / "dev.jsonl"):
        source, target = row["source"], row["target"]
        assert isinstance(source, list)
        assert isinstance(target, list)
        yield " ".join(source), target[0]


def _xquad(*, passage: bool) -> Callable[[Path], Iterator[tuple[str, str]]]:
    def read(data: Path) -> Iterator[tuple[str, str]]:
        articles = json.loads((data / "xquad" / "xquad.en.json").read_text())["data"]
        for each in (paragraph for article in articles for paragraph in article["paragraphs"]):
            before = f"{each['context']}\n\n" if passage else ""
            for asked in each["qas"]:
                yield f"{before}{asked['question']}", asked["answers"][0]["text"]

    return read


def _nsmc(data: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((data / "nsmc_raw_ko" / "raw").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            rating = int(row["rating"])
            if not 4 < rating < 9:
                yield row["review"], "부정" if rating <= 4 else "긍정"


READERS: dict[str, Callable[[Path], Iterator[tuple[str, str]]]] = {
    "songys": _table("songys_chatbot_ko/ChatbotData.csv", "Q", "A"),
    "clinc": _clinc("train"),
    "clinc test": _clinc("test"),
    "banking77": _table("banking77/train.csv", "text", "category"),
    "banking77 test": _table("banking77/test.csv", "text", "category"),
    "e2e": _table("e2e_nlg/devset.csv", "mr", "ref"),
    "snips": _snips,
    "gsm8k": _gsm8k,
    "scitldr": _scitldr,
    "nsmc": _nsmc,
    "xquad with passage": _xquad(passage=True),
    "xquad": _xquad(passage=False),
    "arc easy": _choices("arc_easy_first500.jsonl"),
    "arc easy, leaked": _choices("LEAK_finetune_example_train.jsonl"),
    "openbook qa": _choices("openbook_qa.jsonl"),
    "piqa": _choices("piqa_first500.jsonl"),
    "copa": _choices("copa.jsonl"),
}
