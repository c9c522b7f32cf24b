"""Does PEFT learn the same from our start and learning rate, and how long does it take?

    python -m benchmarks.methods.peers --data DIR --out DIR [--tasks tone] [--methods lora ...]
        [--seeds 0 1 2] [--threads 2]

For each task, method and seed: Tunesmith's own run, with its defaults; then transformers' Trainer
with PEFT from the adapter that the run started from, over the same rows in the same order, with the
same learning rate in each step. PEFT's adapter is answered and scored as ours is. A line for each
pair in OUT/peers.jsonl, with the seconds of training steps and every row's score; a pair that is
there is not made again. `--report` prints what is there.
"""

import argparse
import itertools
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import tunesmith as ts
from benchmarks.methods.measure import METHODS, scores_of, settings_of
from benchmarks.methods.table import percent
from benchmarks.methods.tasks import FOUR, TASKS, write
from benchmarks.run import run_module
from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import LoadedBase, attach_folder, open_base
from tunesmith.config.run import RunConfig
from tunesmith.data.dataset import Dataset
from tunesmith.data.thinking import text_of
from tunesmith.evaluation.answering import AnswerCache, answer_arms
from tunesmith.evaluation.answers import questions_of, with_answer_length
from tunesmith.evaluation.arms import arm_of
from tunesmith.evaluation.intervals import mean_interval, paired_difference
from tunesmith.generation.sampling import Sampling
from tunesmith.methods import table as methods
from tunesmith.runs import result
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.rows import load_rows
from tunesmith.training import steps as schedule
from tunesmith.training.steps import endless_steps

SIDES = ("tunesmith", "peft")


def main() -> None:
    """Measure what is not measured yet, or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=FOUR)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["lora"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="print what was measured")
    given = parser.parse_args()
    found = given.out / "peers.jsonl"
    if given.report:
        print(report(_read(found)))
        return
    known = {(line["task"], line["method"], line["seed"]) for line in _read(found)}
    wanted = itertools.product(given.tasks, given.methods, given.seeds)
    for task, method, seed in wanted:
        if (task, method, seed) in known:
            continue
        line = pair(task, method, seed, given)
        with found.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pair(task: str, method: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Both sides of one task, method and seed."""
    train, held = write(TASKS[task], given.data, given.out / "data" / task)
    with tempfile.TemporaryDirectory() as scratch:
        run = ts.train(
            str(train),
            method=METHODS[method],
            eval=str(held),
            checks=[TASKS[task].check],
            seed=seed,
            settings=settings_of(TASKS[task], {"threads": given.threads}),
            out=Path(scratch) / "run",
            progress=False,
        )
        line: dict[str, Any] = {"task": task, "method": method, "seed": seed}
        line["steps"] = run.summary.steps
        line["ours"] = _ours(run, task)
        line["theirs"] = _theirs(run, Path(scratch), task)
    print(f"{task} {method} {seed}", {k: _short(line[k]) for k in ("ours", "theirs")}, flush=True)
    return line


def _ours(run: ts.Run, task: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = run.metrics
    tokens = [b - a for a, b in itertools.pairwise([0, *(s["tokens"] for s in steps)])]
    seconds = [n / s["tokens_per_second"] for n, s in zip(tokens, steps, strict=True)]
    scores = scores_of(TASKS[task], run.folder)["tuned"]
    return {"losses": [s["loss"] for s in steps], "step_seconds": seconds, "scores": scores}


def _theirs(run: ts.Run, scratch: Path, task: str) -> dict[str, Any]:
    """The Trainer over the run's steps; the config of its folder says how large they were."""
    config = RunFolder(run.folder).read_config()
    loaded = open_base(config.model)
    start = result.attach(loaded, config)
    rows = load_rows(config.data, loaded.base.tokenizer, context=loaded.base.context, seed=0)
    store.save(scratch / "start", start, loaded.engine, base=str(loaded.base.folder))
    start.detach()
    work = scratch / "work.json"
    steps = run.summary.steps
    work.write_text(json.dumps(_work(config, rows.train, loaded, steps)), encoding="utf-8")
    threads = config.train.threads or 2
    arguments = [str(loaded.base.folder), str(work), str(scratch / "start"), str(scratch / "end")]
    done = run_module(["benchmarks.sides.hf_rows", *arguments, "--threads", str(threads)], threads)
    adapter = attach_folder(loaded, scratch / "end", name="peft")
    tokenizer = loaded.base.tokenizer
    questions = questions_of(rows.held_conversations, tokenizer, limit=config.evaluate.rows)
    arms = {"peft": arm_of(loaded, "peft", questions, adapter=adapter.name)}
    said = answer_arms(
        loaded.engine,
        arms,
        {"peft": AnswerCache(scratch / "said.jsonl")},
        sampling=Sampling(
            max_new_tokens=with_answer_length(config, rows.held).evaluate.longest_answer
        ),
        stop_ids=loaded.base.stop_ids,
    )
    assert said is not None
    texts = [text_of(tokenizer, each.ids) for each in said["peft"]]
    answers = scratch / "answers"
    answers.mkdir()
    with (answers / "answers.jsonl").open("w", encoding="utf-8") as file:
        for question, text in zip(questions, texts, strict=True):
            row = {"answers": {"peft": text}, "reference": question.reference}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    scores = scores_of(TASKS[task], answers)["peft"]
    return {"losses": done["losses"], "step_seconds": done["step_seconds"], "scores": scores}


def _work(config: RunConfig, rows: Dataset, loaded: LoadedBase, count: int) -> dict[str, Any]:
    """Rows and learning rate of every step, as the run has them."""
    settings = config.train
    width = loaded.engine.model.config.hidden_size
    lr = methods.learning_rate(config.method.kind, width) if settings.lr == "auto" else settings.lr
    warmup = schedule.warmup_of(settings, count)
    order = itertools.islice(endless_steps(rows.lengths.tolist(), settings), count)
    return {
        "steps": [
            [{"ids": rows[i].ids.tolist(), "weights": rows[i].weights.tolist()} for i in step]
            for step in order
        ],
        "rates": [
            lr * schedule.factor(i, steps=count, warmup=warmup, schedule=settings.schedule)
            for i in range(count)
        ],
        "clip": settings.max_grad_norm,
    }


def report(lines: list[dict[str, Any]]) -> str:
    """A row for each task and method: scores, the paired difference, the ratio of times."""
    by_pair = defaultdict(list)
    for line in lines:
        by_pair[line["task"], line["method"]].append(line)
    out = [
        "| task | method | seeds | Tunesmith | PEFT | difference | PEFT's time to ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for (task, method), each in by_pair.items():
        ours, theirs = ([s for line in each for s in line[k]["scores"]] for k in ("ours", "theirs"))
        times = [
            statistics.median(line["theirs"]["step_seconds"])
            / statistics.median(line["ours"]["step_seconds"])
            for line in each
        ]
        out.append(
            f"| {task} | {method} | {len(each)} | {percent(mean_interval(ours, seed=0))} | "
            f"{percent(mean_interval(theirs, seed=0))} | "
            f"{percent(paired_difference(ours, theirs, seed=0), sign='+')} | "
            f"{statistics.median(times):.2f}x |"
        )
    return "\n".join(out)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _short(side: dict[str, Any]) -> str:
    return (
        f"score {statistics.mean(side['scores']):.3f}, last loss {side['losses'][-1]:.3f}, "
        f"{sum(side['step_seconds']):.0f} s"
    )


if __name__ == "__main__":
    main()
