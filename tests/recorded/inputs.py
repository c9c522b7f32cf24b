"""The files that the scenario's commands read, all below one folder and named relatively."""

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from tests.recorded.base import LETTERS, NAMES, write_base, write_embedder

RUN = {
    "goal": "answer in letters",
    "model": "base",
    "dtype": "float32",
    "device": "cpu",
    "data": {"train": "rows.jsonl", "eval": 0.25},
    "method": {"kind": "lora", "rank": 2, "alpha": 4},
    "train": {
        "steps": 5,
        "rows_per_step": 4,
        "lr": 0.01,
        "tokens_per_micro_batch": 4096,
        "recompute": "none",
        "checkpoint_steps": 2,
        "threads": 1,
        "retention": "none",  # which came later
    },
    "evaluate": {
        "checks": [{"kind": "regex", "name": "has_b", "pattern": "b"}, {"kind": "exact"}],
        "max_new_tokens": 8,
        "timed_rows": 2,
        "forgetting": {"probes": ["probe.jsonl", "texts.jsonl"]},
        "consistency": {"samples": 2, "rows": 4, "paraphrases": 2},
        "knowledge": {"questions": "knowledge.jsonl", "max_new_tokens": 8},
    },
}

METHODS = [
    {"name": "small", "kind": "lora", "rank": 2},
    {"name": "virtual", "kind": "prompt", "tokens": 3},
    {"name": "whole", "kind": "full"},
]


def _without(values: Mapping[str, object], *keys: str) -> dict[str, object]:
    return {key: value for key, value in values.items() if key not in keys}


PLAIN = _without(RUN, "evaluate", "method")  # without checks nothing is evaluated


def write_inputs(root: Path) -> Path:
    """Everything that is read, in ``root``, which is made."""
    root.mkdir(parents=True, exist_ok=True)
    write_base(root / "base")
    write_embedder(root / "embedder")
    _write_configs(root)
    _write_rows(root)
    _write_documents(root)
    return root


def _write_configs(root: Path) -> None:
    configs = {
        "run.yaml": RUN,
        "plain.yaml": PLAIN,
        "methods.yaml": {**_without(RUN, "method"), "methods": METHODS},
        "wrong.yaml": {**RUN, "trian": {"steps": 3}},
    }
    for name, values in configs.items():
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        (root / name).write_text(text, encoding="utf-8")


def _answer(number: int) -> str:
    return "".join(LETTERS[(number * k + k * k) % len(LETTERS)] for k in range(1, 4 + number % 3))


def _write_rows(root: Path) -> None:
    rows = [{"prompt": f"say {i}", "completion": _answer(i)} for i in range(40)]
    _write_lines(root / "rows.jsonl", rows)
    _write_lines(root / "held.jsonl", rows[:6])
    _write_lines(root / "second.jsonl", [{**r, "completion": "b" * 4} for r in rows[10:34]])
    chats = [
        {
            "messages": [
                {"role": "system", "content": "Answer in letters."},
                {"role": "user", "content": f"speak {i}"},
                {"role": "assistant", "content": _answer(i + 3)},
            ]
        }
        for i in range(8)
    ]
    _write_lines(root / "chats.jsonl", chats)
    faulty = [*map(json.dumps, rows[:4]), '{"prompt": "no answer"}', "not json", "", rows[1]]
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in faulty)
    (root / "faulty.jsonl").write_text(text + "\n", encoding="utf-8")
    table = "".join(f"{r['prompt']};{r['completion']};{i % 2}\n" for i, r in enumerate(rows[:12]))
    (root / "table.csv").write_text("instruction;output;half\n" + table, encoding="utf-8")
    probe = [
        {"query": f"After {a} comes", "choices": [b, a, "z"], "gold": 0}
        for a, b in itertools.pairwise(LETTERS)
    ]
    _write_lines(root / "probe.jsonl", probe)
    texts = [{"text": " ".join(_answer(i * k) for k in range(1, 30))} for i in range(12)]
    _write_lines(root / "texts.jsonl", texts)
    asked = [{"query": f"what do you say to {i}?", "answer": _answer(i)} for i in range(4)]
    _write_lines(root / "knowledge.jsonl", asked)
    (root / "instruction.txt").write_text("Speak as a bee would, and keep it short.\n")
    _write_lines(root / "questions.jsonl", [{"prompt": f"tell {name}"} for name in NAMES])


def _write_documents(root: Path) -> None:
    folder = root / "documents"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        text = f"The {name} room is on floor {i} and was painted by {name}son in 19{i}0."
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    leave = "# Leave\n\nEvery room has thirty days.\n\n## Pets\n\nA fern may come in.\n"
    (folder / "leave.md").write_text(leave, encoding="utf-8")
    (folder / "picture.png").touch()
    facts: list[dict[str, object]] = []
    for i, name in enumerate(NAMES):
        facts.append({"question": f"Who painted the {name} room?", "answer": f"{name}son"})
        year = {"text": [f"19{i}0"], "answer_start": [0]}
        question = f"When was the {name} room painted?"
        facts.append({"question": question, "answers": year, "source": f"{name}.txt"})
    _write_lines(root / "facts.jsonl", facts)


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
