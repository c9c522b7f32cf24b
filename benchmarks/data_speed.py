"""How fast are rows checked and tokenised beside `datasets.map`, and how much memory does it take?

python -m benchmarks.data_speed [--rows 50000] [--pairs 3] [--folder FOLDER] [--whole]

Each side runs in a process of its own, ours and theirs in turn, over the same rows and with the
same tokeniser; a busy machine slows both. Memory is that of all processes of a side.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import data_rows

OURS, THEIRS = "benchmarks.sides.data_tunesmith", "benchmarks.sides.data_map"
SIDES = {
    "Tunesmith": (OURS,),
    "datasets.map, row by row": (THEIRS,),
    "datasets.map, row by row, with prompts": (THEIRS, "--prompts"),
    "datasets.map, batched": (THEIRS, "--batched"),
}
WHOLE = {"Tunesmith": (OURS,), "Tunesmith, rows compared as well": (OURS, "--compare")}
SECONDS_BETWEEN_LOOKS = 0.25


def main() -> None:
    """Print a line for each run, then the document of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--pairs", type=int, default=3, help="times that every side runs")
    parser.add_argument("--folder", type=Path, help="where the rows are kept for another time")
    parser.add_argument("--whole", action="store_true", help="our side alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"rows-{given.rows}.jsonl"
        if not file.exists():
            data_rows.write(file, given.rows)
        sides = WHOLE if given.whole else SIDES
        found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(given.pairs):
            for name, words in sides.items():
                found[name].append(measured(words, file, folder))
                print(name, json.dumps(found[name][-1]), file=sys.stderr, flush=True)
    print(json.dumps(summary(found), indent=2))


def measured(words: tuple[str, ...], file: Path, folder: Path) -> dict[str, float]:
    """One run of a side over the file, with a cache of its own: its result and its memory."""
    home = folder / "home"
    shutil.rmtree(home / "tokens", ignore_errors=True)
    home.mkdir(exist_ok=True)
    theirs = Path(os.environ.get("TUNESMITH_HOME", Path.home() / ".cache" / "tunesmith"))
    if not (home / "models").exists():
        (home / "models").symlink_to((theirs / "models").resolve())
    command = [sys.executable, "-m", words[0], str(file), *words[1:]]
    environment = {**os.environ, "TUNESMITH_HOME": str(home)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    resident = divided = 0
    while process.poll() is None:
        now = [memory(pid) for pid in family(process.pid)]
        resident = max(resident, sum(one for one, _ in now))
        divided = max(divided, sum(one for _, one in now))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    result = json.loads(process.stdout.read().splitlines()[-1])
    shutil.rmtree(home / "tokens", ignore_errors=True)
    speed = result["rows"] / result["seconds"]
    return {**result, "rows_per_second": speed, "peak_rss": resident, "peak_pss": divided}


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        try:
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except OSError:
            continue
    return found


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process, and the same with shared pages divided among their users."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines[1:]}
    return sizes.get("Rss", 0), sizes.get("Pss", 0)


def summary(found: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """Medians of each side, and how many times as fast ours was beside it in the same turn."""
    ours = found["Tunesmith"]
    return {
        name: {
            "rows_per_second": statistics.median(run["rows_per_second"] for run in runs),
            "ours_beside_it": sorted(
                round(one["rows_per_second"] / run["rows_per_second"], 2)
                for one, run in zip(ours, runs, strict=True)
            ),
            "peak_rss": max(run["peak_rss"] for run in runs),
            "peak_pss": max(run["peak_pss"] for run in runs),
        }
        for name, runs in found.items()
    }


if __name__ == "__main__":
    main()
