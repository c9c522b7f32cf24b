"""How does Tunesmith compare with its peers here and now? All sides in turn, a process each.

Ratios of one run are what counts: a machine's speed drifts, so figures of two runs do not compare.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from benchmarks import gemma_shape
from benchmarks.flops import read_shape, step_flops
from benchmarks.plan import T1, WORKS, Side, Work
from benchmarks.table import Round, Run, markdown, summarise
from benchmarks.workload import DOCUMENTS, Encoded
from tunesmith.core.progress import Progress
from tunesmith.models.resolve import resolve

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "LATEST.json"
LIBRARIES = ("tunesmith", "torch", "transformers", "peft", "trl", "accelerate")


def main() -> int:
    """Measure, print tables, write the result; 1 if a side failed."""
    options = _options()
    chosen = [work for work in WORKS if not options.only or work.key in options.only]
    smollm2 = resolve("smollm2-135m-instruct", progress=Progress(lambda event: _say(str(event))))
    result: dict[str, Any] = {"environment": _environment(options.threads), "works": {}}
    for work in chosen:
        model = smollm2 if work.model == "smollm2" else gemma_shape.make(smollm2)
        try:
            summary = measure(work, model, options)
        except SideFailed as failure:
            print(f"{work.title}: {failure}", file=sys.stderr)
            return 1
        result["works"][work.key] = summary
        print(markdown(summary) + "\n", flush=True)
        _write(options.out, result)
    _say(f"Written: {options.out}")
    return 0


def _options() -> argparse.Namespace:
    keys = [work.key for work in WORKS]
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=keys, help="workloads; default: all")
    parser.add_argument("--repeats", type=int, default=3, help="rounds, each with every side once")
    parser.add_argument("--steps", type=int, default=10, help="optimizer steps of 8 documents")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tuned", action="store_true", help="also TRL tuned, padded and packed")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if min(options.repeats, options.steps, options.threads) < 1:
        parser.error("--repeats, --steps and --threads must be at least 1")
    return options


class SideFailed(Exception):
    """A side's process did not end well, or its batches were not those of the others."""


def measure(work: Work, model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of a workload: the machine's matrix rate, then every side, again and again."""
    steps = work.steps or options.steps
    sides = work.sides + (T1 if options.tuned and work.key == "w1" else ())
    tokenizer = AutoTokenizer.from_pretrained(model)
    documents = DOCUMENTS[work.documents](tokenizer, steps)
    common = ["--threads", str(options.threads)]
    rounds: list[Round] = []
    for i in range(min(options.repeats, work.repeats or options.repeats)):
        rate = ["benchmarks.matrix_rate", str(model), *common]
        one: Round = {"matrix rate": run_module(rate, options.threads)}
        for side in sides:
            _say(f"{work.key}, round {i + 1}: {side.name}")
            arguments = [str(model), "--steps", str(steps), "--documents", work.documents]
            one[side.name] = _run(side, [*arguments, *common], options.threads)
            _check_rows(side, one[side.name], documents)
        rounds.append(one)
    shape = read_shape(model)
    flops = [step_flops(shape, step, work.method).total for step in documents]
    return summarise(work, sides, rounds, flops)


def _run(side: Side, arguments: Sequence[str], threads: int) -> Run:
    free = _available_bytes()
    if free < side.needs_bytes:
        need = f"needs about {side.needs_bytes / 1e9:.0f} GB, {free / 1e9:.0f} GB are free"
        return {"skipped": need}
    return run_module([f"benchmarks.sides.{side.script}", *arguments, *side.options], threads)


def run_module(command: Sequence[str], threads: int) -> Run:
    """Run a module in a fresh process; the JSON of the last line that it prints."""
    with tempfile.TemporaryDirectory() as scratch:  # trainers leave their output folders there
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": scratch,
        }
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        why = "killed, probably for memory" if done.returncode == -9 else done.stderr[-3000:]
        raise SideFailed(f"{command[0]} ended with {done.returncode}: {why}")
    result: Run = json.loads(done.stdout.splitlines()[-1])
    return result


def _check_rows(side: Side, run: Run, documents: Sequence[Sequence[Encoded]]) -> None:
    tokens = [sum(len(d.ids) for d in step) for step in documents]
    if "skipped" not in run and not side.own_rows and run["step_tokens"] != tokens:
        raise SideFailed(f"{side.name} trained on {run['step_tokens']} tokens, not on {tokens}")


def _environment(threads: int) -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or None,
        "threads": threads,
        "processor": next((c.partition(": ")[2] for c in cpu if c.startswith("model name")), None),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable:"))


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
