"""What other tools' verdicts say of the same runs: soup-cli's `ship` and finetunecheck.

    python -m benchmarks.other_verdicts --tools VENV --out DIR NAME=RUN [NAME=RUN ...]
    python -m benchmarks.other_verdicts --report

VENV has both tools (`pip install soup-cli finetunecheck transformers peft torch`). Each gets the
run's base and the merged model, in folders; soup also the held-out rows, to be answered exactly.
A line for each run and tool in RESULTS; one that is there is not asked again.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

import tunesmith as ts
from tunesmith.models.resolve import resolve

RESULTS = Path(__file__).with_suffix(".jsonl")
Line = dict[str, Any]


def main() -> None:
    """Ask what was not asked yet, or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=Path, help="the environment of both tools")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", type=int, default=50, help="held-out rows that soup asks")
    parser.add_argument("--report", action="store_true", help="print what they said")
    parser.add_argument("runs", nargs="*", metavar="NAME=RUN")
    given = parser.parse_args()
    if given.report:
        print("\n".join(map(_told, _results())))
        return
    if given.tools is None or given.out is None:
        parser.error("give --tools and --out")
    known = {(line["run"], line["tool"]) for line in _results()}
    for name, _, run in (each.partition("=") for each in given.runs):
        for tool, ask in TOOLS.items():
            if (name, tool) not in known:
                line = {"run": name, "tool": tool, "ours": _ours(Path(run))}
                line |= ask(given, name, Path(run))
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                print(_told(line), flush=True)


def _results() -> list[Line]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def _ours(run: Path) -> Line | None:
    """What our own evaluation of the run says."""
    path = run / "evaluation.json"
    if not path.exists():
        return None
    verdict = json.loads(path.read_text(encoding="utf-8"))["verdict"]
    return {"answer": verdict["answer"], "elsewhere": verdict["elsewhere"]["answer"]}


def _soup(given: argparse.Namespace, name: str, run: Path) -> Line:
    base, merged, folder = _folders(given, name, run)
    answered = (run / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, answered)
    tasks = [{"prompt": row["question"], "expected": row["reference"]} for row in rows]
    lines = [json.dumps(task, ensure_ascii=False) + "\n" for task in tasks[: given.rows]]
    (folder / "tasks.jsonl").write_text("".join(lines), encoding="utf-8")
    words = ["ship", "--base", str(base), "--tuned", merged.name, "--task-eval", "tasks.jsonl"]
    done = _asked(given.tools / "bin" / "soup", [*words, "--output", "soup.json"], folder)
    return done | {"found": _read(folder / "soup.json")}


def _finetunecheck(given: argparse.Namespace, name: str, run: Path) -> Line:
    base, merged, folder = _folders(given, name, run)
    # what needs no judge; every other profile ends before it loads a model
    words = ["quick", str(base), str(merged), "--device", "cpu", "--report", "finetunecheck.html"]
    done = _asked(given.tools / "bin" / "ftcheck", words, folder)
    return done | {"found": None}  # its page; what it prints has the verdict


TOOLS: dict[str, Callable[[argparse.Namespace, str, Path], Line]] = {
    "soup-cli": _soup,
    "finetunecheck": _finetunecheck,
}


def _folders(given: argparse.Namespace, name: str, run: Path) -> tuple[Path, Path, Path]:
    """The base's folder, the merged model's, and the one that holds the latter."""
    folder = given.out / name
    merged = folder / "merged"
    if not merged.exists():
        ts.export(run, to="merged", out=merged)
    return resolve(_config(run)["model"]), merged, folder


def _config(run: Path) -> Line:
    found: Line = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return found


def _asked(program: Path, words: list[str], folder: Path) -> Line:
    start = time.monotonic()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "100"}
    done = subprocess.run(
        [str(program), *words],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    said = (done.stdout + done.stderr)[-3000:]
    return {"status": done.returncode, "seconds": round(time.monotonic() - start), "said": said}


def _read(path: Path) -> Line | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _told(line: Line) -> str:
    found = json.dumps(line["found"], ensure_ascii=False)[:300]
    status = f"status {line['status']}, {line['seconds']} s"
    return f"{line['run']}: {line['tool']}: {status}; {found}; ours: {line['ours']}"


if __name__ == "__main__":
    main()
