"""Reports of four purposes on real data: trained, judged and written by our commands.

    python -m benchmarks.reports.make --data DIR --out DIR [--purposes intents tone] [--rows 200]

Each purpose gets a folder with its rows, its config, its run and `run/report.html`; then
`recount.py` counts the answers again. A run that is there is not made again; one that was stopped
goes on.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.reports.purposes import PURPOSES, write


def main() -> None:
    """Make what is missing, and count it all again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--purposes", nargs="+", choices=PURPOSES, default=list(PURPOSES))
    parser.add_argument("--rows", type=int, default=200, help="held-out rows of each")
    given = parser.parse_args()
    for name in given.purposes:
        run = given.out / name / "run"
        if not run.exists():
            _tunesmith("train", str(write(name, given.data, given.out / name, rows=given.rows)))
        elif not (run / "evaluation.json").exists():
            _tunesmith("train", "--resume", str(run))
        _tunesmith("report", str(run))
        recount = Path(__file__).with_name("recount.py")
        subprocess.run([sys.executable, str(recount), name, str(run)], check=True)


def _tunesmith(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "tunesmith", *words], check=True)


if __name__ == "__main__":
    main()
