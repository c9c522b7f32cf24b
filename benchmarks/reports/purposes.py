"""Four purposes as rows and a config: intents, form of an answer, tone, facts that must be said."""

import csv
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.methods.tasks import intent_pairs, polite_pairs
from tunesmith.setup.demo import demo_config

Row = dict[str, list[dict[str, str]]]
Rows = tuple[list[Row], list[Row]]


@dataclass(frozen=True, slots=True)
class Purpose:
    """What is wanted, the rule, what would be sent instead, and the rows that teach it."""

    goal: str
    checks: Sequence[dict[str, Any]]
    baseline_prompt: Callable[[Path], str]
    read: Callable[[Path], Rows]
    train_rows: int
    max_new_tokens: int


def _chat(question: str, answer: str) -> Row:
    turns = (("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def intents(data: Path) -> Rows:
    """CLINC150 (CC BY 3.0): the first intents by name."""
    _, parts = intent_pairs(data)
    return [_chat(*pair) for pair in parts["train"]], [_chat(*pair) for pair in parts["test"]]


def intents_prompt(data: Path) -> str:
    """Every intent by name."""
    names, _ = intent_pairs(data)
    return (
        "Name the intent of the user's message. Answer with exactly one of these names and nothing "
        f"else: {', '.join(names)}."
    )


def working(data: Path) -> Rows:
    """GSM8K (MIT): steps, then `#### number`; its calculator marks are left out."""

    def rows(name: str) -> list[Row]:
        lines = (data / "gsm8k" / name).read_text(encoding="utf-8").splitlines()
        found = []
        for line in map(json.loads, lines):
            parts = line["answer"].split("<<")
            plain = parts[0] + "".join(part.partition(">>")[2] for part in parts[1:])
            found.append(_chat(line["question"], plain))
        return found

    return rows("train_first2000.jsonl"), rows("test.jsonl")


def tone(data: Path) -> Rows:
    """songys Chatbot_data (MIT): polite replies to casual Korean."""
    train, held = polite_pairs(data)
    return [_chat(*pair) for pair in train], [_chat(*pair) for pair in held]


def restaurants(data: Path) -> Rows:
    """E2E NLG (CC BY-SA 4.0): facts to a sentence; meanings of the two halves differ."""

    def rows(name: str) -> dict[str, str]:
        with (data / "e2e_nlg" / name).open(encoding="utf-8", newline="") as file:
            return {row["mr"]: row["ref"] for row in csv.DictReader(file)}

    train, test = rows("devset.csv"), rows("testset_w_refs.csv")
    return (
        [_chat(mr, ref) for mr, ref in train.items()],
        [_chat(mr, ref) for mr, ref in test.items() if mr not in train],
    )


PURPOSES = {
    "intents": Purpose(
        "Answer with the customer's intent, one of thirty names",
        [{"kind": "label"}],
        intents_prompt,
        intents,
        900,
        12,
    ),
    "working": Purpose(
        "Show the steps, and end with a line of #### and the number",
        [{"kind": "regex", "name": "form", "pattern": r"\n#### -?[\d.,]+\s*$"}, {"kind": "number"}],
        lambda _: (
            "Solve the problem in short steps, one in each line. The last line is #### and then "
            "the final number alone, for example: #### 12"
        ),
        working,
        500,
        256,
    ),
    "tone": Purpose(
        "Reply to casual Korean politely, in sentences that end in 요",
        [{"kind": "ends_with", "endings": ["요"], "ignore_punctuation": True}],
        lambda _: (
            "너는 친절한 상담원이다. 언제나 존댓말로 한두 문장으로 짧게 대답하고, "
            "모든 문장을 '요'로 끝낸다."
        ),
        tone,
        900,
        100,
    ),
    "restaurants": Purpose(
        "Say all given facts of a restaurant in one or two sentences",
        [
            {
                "kind": "slots",
                "source": "question",
                "leave_out": ["familyFriendly", "priceRange", "customer rating"],
            }
        ],
        lambda _: (
            "Write one or two sentences about the restaurant that say all the given facts in the "
            "given words, and nothing else. For example, for name[Aromi], eatType[pub], "
            "food[Thai]: Aromi is a pub that serves Thai food."
        ),
        restaurants,
        540,
        80,
    ),
}


DEMO = "demo"  # what `tunesmith demo` trains, on the rows that the package brings


def write(name: str, data: Path, folder: Path, *, rows: int, seed: int) -> Path:
    """A purpose's rows and its config in a folder; ``rows`` are held out. The config comes back.

    ``seed`` draws the rows and is the run's own; the demo has rows of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tunesmith.yaml"
    if name == DEMO:
        made = demo_config(folder / "run").model_dump(mode="json", by_alias=True)
        made["train"]["seed"] = seed
        path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path
    purpose = PURPOSES[name]
    parts = purpose.read(data)
    for part, kind, count in zip(parts, ("train", "held"), (purpose.train_rows, rows), strict=True):
        random.Random(seed).shuffle(part)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in part[:count]]
        (folder / f"{kind}.jsonl").write_text("".join(lines), encoding="utf-8")
    config = {
        "goal": purpose.goal,
        "model": "smollm2-135m-instruct",
        "data": {"train": str(folder / "train.jsonl"), "eval": str(folder / "held.jsonl")},
        "method": {"kind": "lora"},
        "train": {"seed": seed},
        "evaluate": {
            "checks": list(purpose.checks),
            "baseline_prompt": purpose.baseline_prompt(data),
            "rows": rows,
            "max_new_tokens": purpose.max_new_tokens,
        },
        "out": str(folder / "run"),
    }
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
