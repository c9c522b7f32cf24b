"""Reports of four purposes on real data: trained, judged and written by our commands.

    python -m benchmarks.reports.make --data DIR --out DIR [--purposes intents tone] [--rows 200]
        [--seeds 0 1 2]
    python -m benchmarks.reports.make --report

Each purpose and seed gets a folder with its rows, its config, its run and `run/report.html`; then
`recount.py` counts the answers again. A run that is there is not made again; one that was stopped
is resumed. What came out is kept, a line each, in RESULTS.
"""

import argparse
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.reports.purposes import DEMO, PURPOSES, write
from benchmarks.reports.recount import recount
from tunesmith.runs.folder import RunFolder

RESULTS = Path(__file__).with_name("results.jsonl")
PLACE = ("purpose", "seed", "retention")
WORDS = {True: "yes", False: "no"}


def main() -> None:
    """Make what is missing, and count it all again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--purposes", nargs="+", choices=(*PURPOSES, DEMO), default=[*PURPOSES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=200, help="held-out rows of each")
    parser.add_argument("--bare", action="store_true", help="without retention, and no probes")
    parser.add_argument("--report", action="store_true", help="print what came out")
    given = parser.parse_args()
    if given.report:
        print(table(_results()))
        return
    if given.data is None or given.out is None:
        parser.error("give --data and --out")
    for seed, name in product(given.seeds, given.purposes):
        place = {"purpose": name, "seed": seed, "retention": not given.bare}
        folder = given.out / f"{name}-{seed}{'-bare' * given.bare}"
        _make(folder / "run", write(name, given.data, folder, rows=given.rows, seed=seed), given)
        line = place | _outcome(folder / "run") | recount(name, folder / "run")
        print(json.dumps(line, ensure_ascii=False, indent=1), flush=True)
        others = [old for old in _results() if any(old[key] != line[key] for key in PLACE)]
        lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in (*others, line)]
        RESULTS.write_text("".join(lines), encoding="utf-8")


def _make(run: Path, config: Path, given: argparse.Namespace) -> None:
    """Train and evaluate what is missing of a run, and write its page."""
    bare = ("--train.retention", "none", "--evaluate.forgetting", "none") if given.bare else ()
    if not run.exists():
        _tunesmith("train", str(config), *bare)
    elif not (run / "evaluation.json").exists():
        _tunesmith("train", "--resume", str(run))
    _tunesmith("report", str(run))


def _tunesmith(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "tunesmith", *words], check=True)


def _outcome(run: Path) -> dict[str, Any]:
    """What a run's own documents say: steps, seconds of training and of all, the probes."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    found = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    keys = ("probe", "difference", "low", "high", "outcome")
    return {
        "skill": found["verdict"]["skill"]["answer"],
        "elsewhere": found["verdict"]["elsewhere"]["answer"],
        "steps": summary["steps"],
        "averaged": RunFolder(run).read_config().train.average_window > 0,
        "eval_loss": summary["eval_loss"],
        "training_seconds": round(summary["tokens"] / summary["tokens_per_second"]),
        "seconds": round(summary["seconds"]),
        "probes": [{key: each[key] for key in keys} for each in found["forgetting"] or ()],
    }


def _results() -> list[dict[str, Any]]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def table(lines: list[dict[str, Any]]) -> str:
    """A row for each run: what passes, against what, the probes, the verdict."""
    head = "purpose, seed | retention | averaged weights | score | difference | "
    head += "wikitext | all questions | verdict"
    rows = [f"| {head} |", "|---" * (head.count("|") + 1) + "|"]
    for line in sorted(lines, key=lambda line: [line[key] for key in PLACE]):
        probes = {each["probe"]: each for each in line["probes"]}
        mean, low, high = (100 * value for value in line["difference"])
        cells = [
            f"{line['purpose']}, {line['seed']}",
            *(WORDS[bool(line.get(key))] for key in ("retention", "averaged")),
        ]
        cells.append(f"{100 * line['shares']['tuned']:.1f} %")
        cells.append(f"{mean:+.1f} ({low:+.1f} to {high:+.1f}), {line['against']}")
        for name in ("wikitext", "all questions"):
            change = probes.get(name)
            cells.append(f"{100 * change['difference']:+.1f}" if change else "")
        rows.append(f"| {' | '.join(cells)} | {line['verdict']} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
