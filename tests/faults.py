"""Do the tests notice faults? `python -m tests.faults` makes those of faults.yaml, one by one.

A fault replaces one piece of text in one file of a copy of `src`. The tests that it names must then
fail. Prints a line for each; exit status 1 where one was not noticed, or where its text is not in
the file just once. `--only WORD` takes those whose file or text has the word.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.source import PACKAGE, ROOT, SRC

FILE = Path(__file__).with_name("faults.yaml")
NOTICED, PASSED = 1, 0  # what pytest ends in


@dataclass(frozen=True, slots=True)
class Fault:
    """In ``file`` (from the package's root) ``find`` becomes ``replace``; ``tests`` are run."""

    file: str
    find: str
    replace: str
    tests: str

    def make_in(self, src: Path) -> None:
        """Put it into a copy of the sources; ValueError where its text is not there just once."""
        path = src / PACKAGE / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.find) != 1:
            raise ValueError(f"{text.count(self.find)} times in the file")
        path.write_text(text.replace(self.find, self.replace), encoding="utf-8")


def read_faults() -> list[Fault]:
    """All that are listed."""
    return [Fault(**each) for each in yaml.safe_load(FILE.read_text(encoding="utf-8"))]


def outcome(fault: Fault) -> str:
    """`noticed`, `NOT NOTICED`, or why nothing can be said."""
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder) / "src"
        shutil.copytree(SRC, src, ignore=shutil.ignore_patterns("__pycache__"))
        try:
            fault.make_in(src)
        except (OSError, ValueError) as error:
            return f"NOT MADE: {error}"
        words = [*("-x", "-q", "-n", "0", "-p", "no:cacheprovider"), "--basetemp", f"{folder}/temp"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *fault.tests.split()],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(src), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    if done.returncode == NOTICED:
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return f"noticed by {failed[0].split()[1].rpartition('::')[2]}" if failed else "noticed"
    return "NOT NOTICED" if done.returncode == PASSED else f"pytest ended in {done.returncode}"


def main() -> int:
    """Make all faults, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", help="faults whose file or text has this word")
    only = parser.parse_args().only
    faults = [each for each in read_faults() if only in each.file or only in each.find]
    found = []
    for fault in faults:
        found.append(outcome(fault))
        shown = " ".join(fault.replace.split())
        print(f"{fault.file}: {shown[:70]}: {found[-1]}", flush=True)  # noqa: T201
    noticed = sum(each.startswith("noticed") for each in found)
    print(f"{noticed} of {len(faults)} noticed")  # noqa: T201
    return 0 if noticed == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
