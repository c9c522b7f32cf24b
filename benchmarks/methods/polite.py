"""What a polite instruction costs and gives as a prompt, and what is left of both after training.

    python -m benchmarks.methods.polite --data DIR --out DIR [--inputs 400] [--samples 8]
        [--seeds 0 1 2] [--threads 2]

Customers' questions of banking77 (CC BY 4.0). `data distill` lets the base answer some under the
instruction and keeps what passes the rule; soft prompts and LoRA train on these rows without it.
All then answer other questions: share that passes the rule, and the tokens of a prompt. Distilling
goes on where it was stopped.
"""

import argparse
import csv
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer

import tunesmith as ts
from benchmarks.asked import texts
from benchmarks.methods.measure import MODEL, UNTOLD
from benchmarks.methods.table import percent
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.distill import DistillSettings
from tunesmith.config.evaluate import EvaluateSettings
from tunesmith.config.load import load_run_config
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.distillation.instruction import distill
from tunesmith.evaluation.answers import Question
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.intervals import mean_interval
from tunesmith.models.resolve import resolve

INSTRUCTION = (
    "You answer customers of a bank in a very polite business tone, in one or two short sentences. "
    'End every answer with "Kind regards, your bank." For example: "Please open the app and choose '
    'Cards to see where your card is. Kind regards, your bank."'
)
SHORT = 'Answer politely and end with "Kind regards, your bank."'
CHECK = {"kind": "ends_with", "endings": ["Kind regards, your bank"], "ignore_punctuation": True}
METHODS: list[dict[str, object]] = [
    {"name": "prompt, P = 20", "kind": "prompt", "tokens": 20, "init_text": SHORT},
    {"name": "prompt, its tokens", "kind": "prompt", "init_text": INSTRUCTION},
    {"name": "p-tuning", "kind": "p-tuning"},
    {"name": "lora", "kind": "lora"},
]
INSTRUCTED = "base with the instruction"
HELD_ROWS, MAX_NEW_TOKENS = 100, 80
EVALUATE = {"checks": [CHECK], "max_new_tokens": MAX_NEW_TOKENS, "rows": HELD_ROWS, **UNTOLD}
LONGEST_QUESTION = 120  # characters


def main() -> None:
    """Distil, train, answer, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--inputs", type=int, default=400)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    inputs, held = write_questions(given.data, given.out, given.inputs)
    rows = distilled(inputs, given)
    found: dict[str, list[float]] = defaultdict(list)
    virtual: dict[str, int] = {}
    found.update(asked_plainly(held, given.threads))
    for seed in given.seeds:
        for name, scores, count in trained(rows, held, seed, given):
            found[name] += scores
            virtual[name] = count
    tokens = prompt_tokens(held)
    print("| | passes | tokens of a prompt | virtual tokens |\n|---|---|---|---|")
    for name, scores in found.items():
        length = tokens[name == INSTRUCTED]
        text = percent(mean_interval(scores, seed=0))
        print(f"| {name} | {text} | {length:.0f} | {virtual.get(name, 0)} |")


def write_questions(data: Path, out: Path, count: int) -> tuple[Path, Path]:
    """Questions to distil from, and others that are held out, each with an empty answer."""
    with (data / "banking77" / "test.csv").open(encoding="utf-8", newline="") as file:
        texts = dict.fromkeys(row["text"].strip() for row in csv.DictReader(file))
    short = [text for text in texts if len(text) < LONGEST_QUESTION and "\n" not in text]
    random.Random(0).shuffle(short)
    inputs, held = out / "inputs.txt", out / "held.jsonl"
    inputs.write_text("\n".join(short[HELD_ROWS : HELD_ROWS + count]) + "\n", encoding="utf-8")
    lines = [json.dumps({"prompt": text, "completion": "-"}) for text in short[:HELD_ROWS]]
    held.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return inputs, held


def distilled(inputs: Path, given: argparse.Namespace) -> Path:
    """Rows that the base made under the instruction and that pass the rule."""
    folder: Path = given.out
    instruction, rows = folder / "instruction.txt", folder / "rows.jsonl"
    instruction.write_text(INSTRUCTION + "\n", encoding="utf-8")
    asked = DistillSettings(
        prompt=str(instruction), inputs=str(inputs), out=str(rows), samples=given.samples
    )
    values = {"model": MODEL, "data": {"train": str(rows)}, "evaluate": EVALUATE}
    config = load_run_config(None, values)
    done = distill(config, asked, resume=rows.exists())
    print(f"{done.rows} rows of {done.inputs} inputs, {done.draws} answers drawn", flush=True)
    return rows


def _questions(held: Path, *, instructed: bool) -> list[Question]:
    system = (Message("system", INSTRUCTION),) if instructed else ()
    rows = map(json.loads, held.read_text(encoding="utf-8").splitlines())
    return [Question((*system, Message("user", row["prompt"])), "") for row in rows]


def asked_plainly(held: Path, threads: int) -> Iterator[tuple[str, list[float]]]:
    """The base without training, without the instruction and with it."""
    torch.set_num_threads(threads)
    loaded = open_base(MODEL)
    for name, with_it in (("base", False), (INSTRUCTED, True)):
        questions = _questions(held, instructed=with_it)
        yield name, _scores(texts(loaded, questions, adapter=None, limit=MAX_NEW_TOKENS))


def prompt_tokens(held: Path) -> tuple[float, float]:
    """Mean tokens of a prompt without the instruction, and with it."""
    tokenizer = AutoTokenizer.from_pretrained(resolve(MODEL))
    without, with_it = (
        statistics.mean(
            len(render_prompt(tokenizer, question.messages))
            for question in _questions(held, instructed=instructed)
        )
        for instructed in (False, True)
    )
    return without, with_it


def trained(
    rows: Path, held: Path, seed: int, given: argparse.Namespace
) -> Iterator[tuple[str, list[float], int]]:
    """Every method trained on the rows: its name, its scores, its virtual tokens."""
    found = ts.compare(
        str(rows),
        methods=METHODS,
        eval=str(held),
        seed=seed,
        settings={"train": {"threads": given.threads}, "evaluate": EVALUATE},
        out=given.out / f"run-{seed}-{time.time_ns()}",
        progress=False,
    )
    for row in found.found.rows:
        if row.error is not None:
            raise row.error
        lines = (row.folder.path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
        answers = [json.loads(line)["answers"][TUNED] for line in lines]
        settings = json.loads((row.folder.path / "adapter" / "adapter_config.json").read_bytes())
        yield row.name, _scores(answers), settings.get("num_virtual_tokens", 0)


def _scores(texts: Sequence[str]) -> list[float]:
    (check,) = build_checks(EvaluateSettings.model_validate(EVALUATE).checks)
    return [check.score(text, "") for text in texts]


if __name__ == "__main__":
    main()
