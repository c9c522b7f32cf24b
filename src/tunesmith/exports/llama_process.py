"""llama.cpp in a process of its own: find it, run jobs in it, and call its quantizer."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from tunesmith.core import files
from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.exports.gguf_model import REMEDY, GgufFile, write_model

PYTHON = "TUNESMITH_LLAMA_PYTHON"  # environment: a Python that has llama-cpp-python
SHOWN_LINES = 5  # of the output of a process that failed
WORKER = Path(__file__).with_name("llama_worker.py")
KQuant = Literal["q4_k", "q5_k", "q6_k"]
TYPES: dict[KQuant, str] = {"q4_k": "Q4_K_M", "q5_k": "Q5_K_M", "q6_k": "Q6_K"}


def find_python(given: Path | None = None) -> Path | None:
    """A Python that has llama-cpp-python: ``given``, `TUNESMITH_LLAMA_PYTHON`, or this one."""
    named = os.environ.get(PYTHON)
    if given is not None:
        return given
    if named:
        return Path(named)
    return Path(sys.executable) if importlib.util.find_spec("llama_cpp") else None


def require_python(given: Path | None = None) -> Path:
    """``find_python``; TunesmithError with the way to get one where there is none."""
    found = find_python(given)
    if found is None or shutil.which(found) is None:
        raise TunesmithError(
            f"{found} is no Python that can be run."
            if found
            else "llama.cpp is not installed: this Python has no llama-cpp-python.",
            remedy="Run `pip install llama-cpp-python` (it compiles for some minutes), or name a "
            f"Python that has it in {PYTHON}.",
            code="llama_cpp",
        )
    return found


def ask(python: Path, job: Mapping[str, object]) -> dict[str, object]:
    """The worker's answer to a job; RunError with its last lines where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "job.json"), Path(folder, "answer.json")
        question.write_text(json.dumps(job), encoding="utf-8")
        done = subprocess.run(
            [str(python), str(WORKER), str(question), str(answer)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
        if done.returncode or not answer.is_file():
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-SHOWN_LINES:])
            raise RunError(
                f"llama.cpp failed ({python}, status {done.returncode}): {last}",
                remedy="Is the file whole, and llama-cpp-python new enough for its family?",
                code="llama_cpp",
            )
        found: dict[str, object] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def write_k_quant(
    folder: Path,
    path: Path,
    kind: KQuant,
    *,
    python: Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: Progress = SILENT,
) -> GgufFile:
    """Write the base in ``folder`` as a GGUF file in a k-quant, by way of a 16-bit one beside it.

    llama.cpp chooses the format of each tensor: important layers, and rows that its blocks do not
    divide, get finer ones. ``tokenizer`` is that of ``write_model``. Raises TunesmithError where
    llama.cpp is missing, and what ``write_model`` raises. The 16-bit file is always removed.
    """
    found = require_python(python)
    stage = path.with_name(f"{files.TEMPORARY}16-bit-{path.name}")

    def fill(temporary: Path) -> None:
        files.require_space(path.parent, stage.stat().st_size, what=path.name, remedy=REMEDY)
        job = {
            "do": "quantize",
            "source": str(stage),
            "target": str(temporary),
            "type": TYPES[kind],
            "threads": torch.get_num_threads(),
        }
        if ask(found, job)["status"] != 0:
            raise RunError(f"{folder}: llama.cpp's quantizer rejects it.", code="llama_cpp")

    try:
        write_model(folder, stage, number_format="bf16", tokenizer=tokenizer, progress=progress)
        progress.phase(f"Quantizing to {TYPES[kind]} with llama.cpp.")
        files.publish_file(path, fill, remedy=REMEDY)
    finally:
        stage.unlink(missing_ok=True)
    return GgufFile(path)
