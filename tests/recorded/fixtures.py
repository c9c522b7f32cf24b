"""Folders that were left at the starting commit: runs, adapters and caches, to go on with.

Every path in them is relative to the folder that commands run in, but for the base that an
adapter's config names: there the folder was, and is not any more, `/recorded`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.recorded.command import run, run_well, workplace
from tests.recorded.inputs import write_inputs
from tests.recorded.normal import ROOT, normal
from tests.recorded.trained import LORA, QLORA, VARIANTS, Trained, read_folder, read_trained

FIXTURES = Path(__file__).parent / "fixtures"
MORE_STEPS = ("--train.steps", 240, "--train.keep_checkpoints", 1, "--train.checkpoint_steps", 20)
# Config, flags, and what interrupts the run: a Ctrl-C, or a kill that leaves it no time.
INTERRUPTED = {
    "interrupted-lora": ("run.yaml", (*LORA, "--train.lr", "0.002"), signal.SIGINT),
    "interrupted-qlora": ("plain.yaml", QLORA, signal.SIGKILL),
    "interrupted-full": ("plain.yaml", VARIANTS["full"], signal.SIGKILL),
}
CACHES = ("tokens", "answers")
_WAIT_SECONDS = 60


def place(root: Path) -> None:
    """The scenario's input with the fixtures, in ``root``, which is made."""
    write_inputs(root)
    for name in ("runs", "adapters", "home"):
        shutil.copytree(FIXTURES / name, root / name)


# What is asked of the fixtures.


def resumed(name: str) -> tuple[Trained, object]:
    """Finish an interrupted run: what it trained, and the command's document."""
    ended = run_well(("train", "--resume", f"runs/{name}", "--json"))
    return read_trained(Path.cwd() / "runs" / name), normal(ended.document, Path.cwd())


def finished() -> dict[str, object]:
    """The documents of evaluating, reporting and showing the finished run."""
    commands = {
        "evaluate": ("evaluate", "runs/finished"),
        "report": ("report", "runs/finished"),
        "show": ("runs", "show", "finished"),
    }
    return {
        name: normal(run_well((*words, "--json")).document, Path.cwd())
        for name, words in commands.items()
    }


def loaded(name: str) -> dict[str, object]:
    """Whether an adapter fits its base, and what it answers."""
    folder = f"adapters/{name}"
    if read_folder(Path(folder)).file.name == "model.safetensors":
        verified = None  # a model is no adapter
    else:
        verified = run(("adapters", "verify", folder, "--model", "base", "--json")).document
    words = ("chat", folder, "--max-new-tokens", 8, "--json", "--force")
    answers = run_well(words, lines="say 1\n/reset\nsay 27\n").document
    return {
        "verified": normal(verified, Path.cwd()),
        "answers": normal(answers, Path.cwd()),
    }


def cached(root: Path) -> dict[str, dict[str, bytes]]:
    """By cache and file: the bytes that are kept, locks left out."""
    return {
        cache: {
            str(file.relative_to(root / "home" / cache)): file.read_bytes()
            for file in sorted((root / "home" / cache).rglob("*"))
            if file.is_file() and not file.name.startswith(".")
        }
        for cache in CACHES
    }


# How they are made.


def make_fixtures(trained: Path, scratch: Path) -> dict[str, object]:
    """Write the fixtures; ``trained`` is a scenario's folder with a run of every variant.

    What the interrupted runs must give once they are resumed comes back: what unbroken ones gave.
    """
    shutil.rmtree(FIXTURES, ignore_errors=True)
    for name in VARIANTS:
        run_folder = trained / "runs" / name
        result = next(run_folder / n for n in ("adapter", "model") if (run_folder / n).is_dir())
        _keep(result, FIXTURES / "adapters" / name, trained)
    first = write_inputs(scratch / "first")
    with workplace(first):
        run_well(("train", "run.yaml", "--out", "runs/finished", "--json"))
        expected = {name: _interrupt_and_finish(name) for name in INTERRUPTED}
        for name in INTERRUPTED:
            unbroken = read_trained(Path("runs") / f"unbroken-{name}")
            _keep(unbroken.folder, FIXTURES / "resumed" / name, first)
    for name in ("finished", *INTERRUPTED):
        _keep(first / "runs" / name, FIXTURES / "runs" / name, first)
    (FIXTURES / "home").mkdir()
    second = scratch / "second"
    place(second)
    with workplace(second):  # as what `tuned` answers belongs to the config as it is kept
        run_well(("evaluate", "runs/finished", "--json"))
    for cache in CACHES:
        _keep(second / "home" / cache, FIXTURES / "home" / cache, second)
    return expected


def _interrupt_and_finish(name: str) -> dict[str, str]:
    """Leave an interrupted run; the hashes of the same run when nothing interrupts it."""
    config, flags, number = INTERRUPTED[name]
    words = ("train", config, *flags, *MORE_STEPS)
    _interrupt((*words, "--out", f"runs/{name}"), Path("runs") / name, number)
    run_well((*words, "--out", f"runs/unbroken-{name}", "--json"))
    return read_trained(Path("runs") / f"unbroken-{name}").to_json()


def _interrupt(words: tuple[object, ...], run_folder: Path, number: signal.Signals) -> None:
    """Start the run in a process of its own, and end it after its second checkpoint."""
    command = [sys.executable, "-m", "tunesmith", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + _WAIT_SECONDS
    second = run_folder / "checkpoints" / "step-00000040"
    while not second.is_dir() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    os.kill(process.pid, number)
    said, _ = process.communicate(timeout=_WAIT_SECONDS)
    assert not (run_folder / "summary.json").exists() or number == signal.SIGINT, said
    assert not any((run_folder / each).exists() for each in ("adapter", "model")), said


def _keep(folder: Path, into: Path, root: Path) -> None:
    """Copy a folder without locks and pages, texts with the name that ``root`` has in fixtures."""
    skipped = shutil.ignore_patterns(".*", "report.html")
    shutil.copytree(folder, into, ignore=skipped)
    for path in (each for each in into.rglob("*") if each.is_file()):
        data = path.read_bytes().replace(str(root.resolve()).encode(), ROOT.encode())
        if path.name == "environment.json":
            values = {**json.loads(data), "system": ROOT.strip("/"), "available_bytes": 0}
            data = (json.dumps(values, indent=2) + "\n").encode()
        path.write_bytes(data)
