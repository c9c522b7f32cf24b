"""How fast is training beside busy processes? Two settings, or two checkouts, in pairs.

    python -m benchmarks.busy                                  # GOMP_SPINCOUNT unset and 3000
    python -m benchmarks.busy --before OLD/src --after NEW/src # each as it is

Each measurement is a fresh `tunesmith train` on W1's rows, without an evaluation, beside 0, 1 and 2
processes that spin; the two of a pair follow each other, the other one first in every second pair.
The process inherits no setting of threads, so what is not given here is the checkout's own choice.
A line of JSON is kept for each measurement, and one that is there is not measured again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import UNCOUNTED_STEPS
from benchmarks.workload import ROWS_PER_STEP, chats

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "busy.jsonl"
SPIN, SPINS = "GOMP_SPINCOUNT", "3000"
THREAD_SETTINGS = ("OMP_", "GOMP_", "KMP_", "MKL_")
# Ends with the process that started it, however that ends.
BUSY = "import os\nwhile os.getppid() == {parent}:\n    for _ in range(10**6): pass"
ERROR_CHARACTERS = 3000

Arms = Mapping[str, Mapping[str, str]]
Pair = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is measured; equal ones are the same measurement."""

    arm: str
    src: str
    busy: int
    pair: int
    steps: int
    model: str


def main() -> None:
    """Measure what is missing, then print the tables."""
    given = _options()
    arms = _arms(given)
    done = read(given.out)
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch) / "rows.jsonl"
        rows.write_text("".join(json.dumps(chat) + "\n" for chat in chats()), encoding="utf-8")
        for wanted in plan(arms, given):
            if wanted in done:
                continue
            speed, seconds = measured(wanted, arms[wanted.arm], rows)
            done[wanted] = speed
            _keep(given.out, wanted, speed, seconds)
            print(f"{wanted.arm}, {wanted.busy} busy: {speed:.0f}", file=sys.stderr, flush=True)
    print(tables(list(arms), [(each, done[each]) for each in plan(arms, given)]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=3, help="pairs for each number of processes")
    parser.add_argument("--steps", type=int, default=5, help="optimizer steps of 8 rows")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="busy processes")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="name or folder")
    parser.add_argument("--src", type=Path, default=ROOT / "src", help="for the two settings")
    parser.add_argument("--before", type=Path, help="folder src of a checkout")
    parser.add_argument("--after", type=Path, help="folder src of another one")
    parser.add_argument("--out", type=Path, default=RESULT, help="lines of JSON")
    given = parser.parse_args()
    if given.steps <= UNCOUNTED_STEPS:
        parser.error(f"--steps must be above {UNCOUNTED_STEPS}: these first ones do not count")
    if given.pairs < 1 or min(given.busy) < 0:
        parser.error("--pairs must be at least 1, --busy at least 0")
    if (given.before is None) != (given.after is None):
        parser.error("--before and --after go together")
    for folder in (given.src, given.before, given.after):
        if folder is not None and not (folder / "tunesmith").is_dir():
            parser.error(f"{folder} holds no tunesmith/. Give the folder src of a checkout.")
    if Path(given.model).exists():  # the training runs in another folder
        given.model = str(Path(given.model).resolve())
    return given


def _arms(given: argparse.Namespace) -> Arms:
    """The two that are compared, each with what it adds to the environment."""
    if given.before is not None:
        folders = {"before": given.before, "after": given.after}
        return {arm: {"PYTHONPATH": str(src.resolve())} for arm, src in folders.items()}
    path = {"PYTHONPATH": str(given.src.resolve())}
    return {f"{SPIN} unset": path, f"{SPIN}={SPINS}": {**path, SPIN: SPINS}}


def plan(arms: Arms, given: argparse.Namespace) -> Iterator[Measurement]:
    """All measurements in their order: pair by pair, the numbers of busy processes within."""
    for pair in range(given.pairs):
        for busy in given.busy:
            for arm in list(arms)[:: -1 if pair % 2 else 1]:
                src = arms[arm]["PYTHONPATH"]
                yield Measurement(arm, src, busy, pair, given.steps, given.model)


def measured(wanted: Measurement, added: Mapping[str, str], rows: Path) -> tuple[float, float]:
    """Tokens per second of the counted steps, and seconds of the whole process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(THREAD_SETTINGS)}
    with tempfile.TemporaryDirectory() as scratch, beside(wanted.busy):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tunesmith", *_words(wanted, rows, Path(scratch) / "run")],
            cwd=scratch,
            env={**inherited, **added},
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        why = (done.stderr + done.stdout)[-ERROR_CHARACTERS:]
        raise SystemExit(f"{wanted.arm}: tunesmith train ended with {done.returncode}:\n{why}")
    return float(json.loads(done.stdout)["tokens_per_second"]), seconds


def _words(wanted: Measurement, rows: Path, out: Path) -> Iterator[str]:
    """The command line."""
    options = {
        "model": wanted.model,
        "dtype": "bfloat16",
        "data": rows,
        "method": "lora",
        "train.steps": wanted.steps,
        "train.rows_per_step": ROWS_PER_STEP,
        "train.retention": "none",
        "out": out,
    }
    yield "train"
    for key, value in options.items():
        yield from (f"--{key}", str(value))
    yield "--json"


@contextmanager
def beside(count: int) -> Iterator[None]:
    """While so many other processes spin."""
    command = [sys.executable, "-c", BUSY.format(parent=os.getpid())]
    spinning = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def read(path: Path) -> dict[Measurement, float]:
    """Tokens per second of the measurements that were kept."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [json.loads(line) for line in lines]
    return {Measurement(**line["measurement"]): line["tokens_per_second"] for line in kept}


def _keep(path: Path, done: Measurement, speed: float, seconds: float) -> None:
    line = {
        "measurement": asdict(done),
        "tokens_per_second": speed,
        "seconds": seconds,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def tables(arms: Sequence[str], found: Sequence[tuple[Measurement, float]]) -> str:
    """Medians over pairs, then every pair, in tokens per second; ratios are second to first."""
    first, second = arms
    pairs: dict[tuple[int, int], dict[str, float]] = {}
    for each, speed in found:
        pairs.setdefault((each.busy, each.pair), {})[each.arm] = speed
    head = f"| busy processes | {{}}{first} | {second} | ratio |"
    lines = [head.format(""), "|---|---|---|---|"]
    for busy in dict.fromkeys(busy for busy, _ in pairs):
        own = [pair for (count, _), pair in pairs.items() if count == busy]
        medians = (statistics.median(pair[arm] for pair in own) for arm in arms)
        ratios = [_ratio(pair, arms) for pair in own]
        span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        lines.append(f"| {busy} | {' | '.join(f'{speed:.0f}' for speed in medians)} | {span} |")
    lines += ["", head.format("pair | "), "|---|---|---|---|---|"]
    for (busy, number), pair in sorted(pairs.items()):
        speeds = " | ".join(f"{pair[arm]:.0f}" for arm in arms)
        lines.append(f"| {busy} | {number + 1} | {speeds} | {_ratio(pair, arms):.2f} |")
    return "\n".join(lines)


def _ratio(pair: Pair, arms: Sequence[str]) -> float:
    return pair[arms[1]] / pair[arms[0]]


if __name__ == "__main__":
    main()
