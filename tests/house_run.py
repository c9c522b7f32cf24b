"""Which modules does a row pass on its way to backward, and an answer on its way to the verdict?

`python -m tests.house_run` trains LoRA on a tiny random llama through the command line: two rows,
one step, two held-out rows with one check. A profiling hook notes every function that runs, and
the modules are printed as JSON. The moments are told by what lies outside the package, so that
they hold for any layout of it: the opening of a data file, torch's backward, the tokenizer's
decoding of an answer, the opening of evaluation.json.
"""

import contextlib
import inspect
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.models.tiny import tiny_folder
from tests.source import PACKAGE

OPENING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
DATA, VERDICT = ("train.jsonl", "held.jsonl"), "evaluation.json"
# The layers around the way: they are asked by, or told of, everything.
NOT_COUNTED = frozenset({"api", "cli", "config"})
METHODS, LORA = f"{PACKAGE}.methods", f"{PACKAGE}.methods.lora"


@dataclass(slots=True)
class Segment:
    """What ran from one mark to the next: the modules of its functions."""

    mark: str
    text: str = ""
    modules: set[str] = field(default_factory=set)


class Recorder:
    """The hooks, and what they noted.

    A module counts in a segment if one of its functions is called there, or is running when it
    begins; what an import executes does not count. What a dataclass generates counts as its own.
    """

    def __init__(self) -> None:
        self.segments = [Segment("start")]
        self.lora: set[str] = set()  # of LoRA's installation and forward
        self._installing = self._in_forward = 0
        self._computed = False

    def profile(self, frame: FrameType, event: str, result: object) -> None:
        """For sys.setprofile."""
        if event not in ("call", "return"):
            return
        name = frame.f_globals.get("__name__", "")
        function = frame.f_code.co_name
        if name.startswith(f"{PACKAGE}."):
            self._ours(frame, called=event == "call")
        elif event == "call" and function == "backward" and name.startswith("torch."):
            self.mark(function, frame)
        elif event == "return" and function == "decode" and name.startswith("transformers."):
            self.mark(function, frame, str(result))

    def audit(self, event: str, values: tuple[object, ...]) -> None:
        """For sys.addaudithook; marks the opening of the run's own files."""
        name = Path(str(values[0])).name if event == "open" else ""
        if name in DATA or VERDICT in name:
            self.mark("data" if name in DATA else "verdict", sys._getframe(1))

    def mark(self, mark: str, frame: FrameType, text: str = "") -> None:
        """Begin a segment; what is running then belongs to it."""
        running = {_module(each) for each in _stack(frame) if _is_function(each)}
        self.segments.append(Segment(mark, text, running))

    def between(self, start: int, stop: int) -> list[str]:
        """The counted modules of the segments from ``start`` to before ``stop``."""
        return counted(set().union(*(s.modules for s in self.segments[start:stop])))

    def _ours(self, frame: FrameType, *, called: bool) -> None:
        name, step = frame.f_globals["__name__"], 1 if called else -1
        if frame.f_code.co_name == "forward" and hasattr(frame.f_locals.get("self"), "in_features"):
            self._computed = True
            self._in_forward += step
        if not self._computed and name.startswith(LORA) and _is_counted(frame):
            if not self._installing and called:  # the table that chose it is read as well
                self.lora |= {m for f in _stack(frame) if (m := _module(f)).startswith(METHODS)}
            self._installing += step
        if not called:
            return
        modules = self.segments[-1].modules
        if name not in modules and _is_counted(frame):
            modules.add(name)
        installs = self._installing and not self._computed
        if (installs or self._in_forward) and name not in self.lora and _is_counted(frame):
            self.lora.add(name)


def counted(modules: Iterable[str]) -> list[str]:
    """Those that count, in order."""
    return sorted(m for m in modules if m.split(".")[1] not in NOT_COUNTED)


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__", "")
    return name if isinstance(name, str) else ""


def _stack(frame: FrameType | None) -> Iterable[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_function(frame: FrameType) -> bool:
    """Whether this is one of ours; bodies of modules and classes are none."""
    has_locals = frame.f_code.co_flags & inspect.CO_NEWLOCALS
    return bool(has_locals) and _module(frame).startswith(f"{PACKAGE}.")


def _is_counted(frame: FrameType) -> bool:
    """Whether this is a function of ours that no import of ours executes."""
    importing = (_module(f) for f in _stack(frame) if f.f_code.co_name == "<module>")
    return _is_function(frame) and not any(name.startswith(PACKAGE) for name in importing)


def write_inputs(folder: Path) -> list[str]:
    """A tiny base and its rows in ``folder``; the command line that trains on them."""
    base = tiny_folder(folder / "base", max_position_embeddings=256)
    template = base / "chat_template.jinja"
    template.write_text(template.read_text() + OPENING)
    for name in DATA:
        rows = [{"prompt": f"say {i}", "completion": f"it is {i * 7}"} for i in range(2)]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {
        "model": base,
        "dtype": "float32",
        "data": folder / DATA[0],
        "data.eval": folder / DATA[1],
        "method": "lora",
        "train.steps": 1,
        "train.rows_per_step": 2,
        "evaluate.checks": "[{kind: exact}]",
        "evaluate.max_new_tokens": 4,
        "evaluate.forgetting": "none",
        "evaluate.consistency": "none",
        "evaluate.knowledge": "none",
        "evaluate.timed_rows": 0,
        "out": folder / "run",
    }
    return ["train", *(str(word) for k, v in options.items() for word in (f"--{k}", v))]


def recorded(words: list[str]) -> Recorder:
    """Run a command line under the hooks; SystemExit where it fails."""
    from tunesmith.cli.main import main  # of the tree that PYTHONPATH names

    recorder = Recorder()
    sys.addaudithook(recorder.audit)
    threading.setprofile(recorder.profile)
    sys.setprofile(recorder.profile)
    try:
        status = main(words)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if status:
        raise SystemExit(f"The tiny run ended with {status}: tunesmith {' '.join(words)}")
    return recorder


def found(recorder: Recorder, answers: Path) -> dict[str, list[str]]:
    """The modules of each part of the way; ``answers`` is the run's file of answers."""
    marks = [segment.mark for segment in recorder.segments]
    row, measured = marks.index("data"), marks.index("backward")
    trained = max(i for i, mark in enumerate(marks) if mark == "backward")
    rows = map(json.loads, answers.read_text(encoding="utf-8").splitlines())
    texts = {text for row in rows for text in row["answers"].values() if text.strip()}
    after = enumerate(recorder.segments[trained:], start=trained)
    answer = next(i for i, s in after if s.mark == "decode" and any(t in s.text for t in texts))
    verdict = marks.index("verdict", answer)
    return {
        "row to backward": recorder.between(row, measured),
        "row to the step's backward": recorder.between(row, trained),
        "answer to verdict": recorder.between(answer, verdict),
        "lora": counted(recorder.lora),
    }


def main() -> None:
    """Make the inputs, run, print the JSON line."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["TUNESMITH_HOME"] = str(folder / "home")  # no tokens, no answers of before
        words = write_inputs(folder)
        with contextlib.redirect_stdout(sys.stderr):
            recorder = recorded(words)
        document = found(recorder, folder / "run" / "answers.jsonl")
    print(json.dumps(document))  # noqa: T201


if __name__ == "__main__":
    main()
