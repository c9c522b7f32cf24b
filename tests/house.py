"""Is the house in order? `python -m tests.house` prints the figures of the source tree.

`--src /path/to/another/checkout/src` measures that one, `--verbose` names the places, `--static`
leaves out what takes a run (about 15 seconds). Each figure's rule is the docstring of its function
in house_figures.py or, for what a run shows, of house_run.py.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests import house_figures as figures
from tests.source import PACKAGE, ROOT, SRC, Module, modules


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, what it counts, and the places that it counts."""

    key: str
    value: int
    about: str
    places: tuple[str, ...] = ()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.house", description=__doc__)
    parser.add_argument("--src", type=Path, default=SRC, help="folder that holds tunesmith/")
    parser.add_argument("--json", action="store_true", help="one JSON document, places included")
    parser.add_argument("--verbose", action="store_true", help="name the places")
    parser.add_argument("--static", action="store_true", help="without the tiny run")
    options = parser.parse_args()
    src = options.src.resolve()
    if not (src / PACKAGE).is_dir():
        parser.error(f"{src} holds no {PACKAGE}/. Give the folder src of a checkout.")
    found = static_figures(modules(src))
    if not options.static:
        found += run_figures(src)
    if options.json:
        text = json.dumps({figure.key: asdict(figure) for figure in found}, indent=2)
    else:
        text = "\n".join(lines_of(found, verbose=options.verbose))
    print(text)  # noqa: T201


def static_figures(sources: Sequence[Module]) -> list[Figure]:
    """What the files alone show."""
    bare = tuple(m.where for m in sources if figures.is_bare(m))
    short = _with_lines(figures.short_modules(sources))
    long = _with_lines(figures.long_files(sources))
    lora = figures.lora_files(sources)
    named = figures.kinds_named(sources)
    outside = figures.outside_exporters(named)
    cycles = tuple(" <-> ".join(group) for group in figures.cycles(sources))
    share = f"{figures.share_of_short(sources):.1%}"
    return [
        Figure("modules", len(sources), "modules, every file counted"),
        Figure("lines", sum(m.lines for m in sources), "lines of src"),
        Figure("bare", len(bare), "modules that are the root or only a docstring", bare),
        Figure("short", len(short), f"of the other modules under 50 lines ({share})", short),
        _of_places("one_importer", "modules with one importer", figures.with_one_importer(sources)),
        _of_places(
            "classes", "class names defined twice or more", figures.repeated_classes(sources)
        ),
        Figure("long", len(long), "files over 350 lines", long),
        Figure("cycles", len(cycles), "import cycles", cycles),
        _of_places("kinds", "files outside methods/ and config/ that name kinds", named),
        _of_places(
            "kinds_outside_exporters", "of them, those that export no kind's format", outside
        ),
        Figure("lora_files", len(lora), "files that lora.py leads a reader to", _with_lines(lora)),
        Figure("lora_lines", sum(m.lines for m in lora), "lines of them"),
    ]


def run_figures(src: Path) -> list[Figure]:
    """What a tiny run shows, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.house_run"],
        cwd=ROOT,
        env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(src)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"The tiny run ended with {done.returncode}:\n{done.stderr[-3000:]}")
    ran = {key: tuple(names) for key, names in json.loads(done.stdout).items()}
    row, step = ran["row to backward"], ran["row to the step's backward"]
    answer = ran["answer to verdict"]
    lora = [module for module in modules(src) if module.name in ran["lora"]]
    return [
        Figure("row", len(row), "modules from reading a row to backward", row),
        Figure("row_to_step", len(step), "the same to the step's own, not a measuring one", step),
        Figure("answer", len(answer), "modules from an answer to its verdict", answer),
        Figure("lora_ran", len(lora), "files that attach and compute LoRA", _with_lines(lora)),
        Figure("lora_ran_lines", sum(m.lines for m in lora), "lines of them"),
    ]


def lines_of(found: Sequence[Figure], *, verbose: bool) -> list[str]:
    """The table, with the places under each figure where they are asked for."""
    lines = []
    for figure in found:
        lines.append(f"{figure.value:>7,}  {figure.about}")
        lines += [f"           {place}" for place in figure.places if verbose]
    return lines


def _with_lines(sources: Sequence[Module]) -> tuple[str, ...]:
    return tuple(f"{module.where}: {module.lines} lines" for module in sources)


def _of_places(key: str, about: str, places: figures.Places) -> Figure:
    named = tuple(f"{name}: {', '.join(found)}" for name, found in places.items())
    return Figure(key, len(places), about, named)


if __name__ == "__main__":
    main()
