"""What the bytes of a run's result depend on besides its config: `lock.json`, and what differs now.

Versions, Python, processor, threads, the settings that the plan is made from, and the SHA-256 of
the base, the data and other files that the config names. Of each as few lines as suffice: what
cannot change a tensor is in environment.json.
"""

import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import tunesmith
from tunesmith import __version__
from tunesmith.config import RunConfig
from tunesmith.config.methods import init_path
from tunesmith.config.run import TrainSettings
from tunesmith.core import files, host_memory
from tunesmith.core.errors import RunError
from tunesmith.core.extras import version_of
from tunesmith.core.ranks import size
from tunesmith.data.rows import HUB
from tunesmith.engine.device import describe
from tunesmith.methods import table
from tunesmith.models.hashes import COMBINED, file_sha256, hash_folder
from tunesmith.models.names import hub_id_of, portable_name
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.history import read_records
from tunesmith.runs.result import data_sha256

# What computes, renders, tokenizes, reads rows, drops some of them, or scores answers, by which the
# adapter's scale is chosen. A test lists the other dependencies, and why they change no tensor.
PACKAGES = (
    *("torch", "transformers", "tokenizers", "safetensors", "bitsandbytes", "numpy"),
    *("jinja2", "pyarrow", "charset-normalizer", "phonenumberslite", "py3langid", "jsonschema"),
)
# The same of extras, where they are installed.
OF_EXTRAS = ("datasets", "python-calamine", "rapidfuzz", "sacrebleu", "scikit-learn", "sentencex")
# Parts of this package that only call those that compute, and words for people.
CALLERS = (
    *("api", "cli", "server", "report", "exports", "studies", "setup", "conversation"),
    *("distillation", "retrieval", "messages", "words"),
)
# Of the processor: what libraries choose their kernels by.
FEATURES = ("avx", "amx", "fma", "f16c", "sse4", "asimd", "sve", "smef", "smei", "bf16", "i8mm")
# Variables by which libraries choose other kernels; only those that are set are kept.
VARIABLES = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
THREADS = "threads"
SETTINGS = "settings"
ABSENT = "none"
SHOWN_HASH = 12

Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Differing:
    """Something that a result depends on and that is not as it was: what, then and now.

    ``remedy`` makes it so again, where that is one command.
    """

    what: str
    then: str
    now: str
    remedy: str = ""

    def text(self) -> str:
        """All of it in one line."""
        return f"{self.what}: {self.then} then, {self.now} now"


def lock_of(
    config: RunConfig, base: Path, *, device: torch.device, dtype: torch.dtype
) -> dict[str, object]:
    """The lock of a run of this config in this process, over the base in a folder."""
    return {
        "tunesmith": __version__,
        "source_sha256": source_sha256(),
        "python": platform.python_version(),
        "packages": {
            name: found for name in (*PACKAGES, *OF_EXTRAS) if (found := version_of(name))
        },
        "processor": processor(),
        **({"variables": set_} if (set_ := _variables()) else {}),
        THREADS: torch.get_num_threads(),
        **({"ranks": size()} if table.of(config.method).trains_base else {}),
        **describe(device),
        "dtype": str(dtype).removeprefix("torch."),
        "base": hash_folder(base)[COMBINED],
        "base_name": hub_id_of(config.model, base) or portable_name(config.model),
        "data": data_hashes(config),
        **({"date": time.strftime("%Y-%m-%d")} if _is_dated(config, base) else {}),
        "files": named_files(config),
        SETTINGS: _planned_by(config.train),
    }


def _planned_by(train: TrainSettings) -> dict[str, object]:
    """Settings that a plan is made from: of those that exclude each other the one that rules."""
    length = "steps" if train.steps else "minutes" if train.minutes else "epochs"
    size = "rows_per_step" if train.rows_per_step else "tokens_per_step"
    keys = (length, size, "lr", "warmup_steps")
    return {f"train.{key}": getattr(train, key) or ABSENT for key in keys}


def _is_dated(config: RunConfig, base: Path) -> bool:
    """Whether the base's chat template writes the day on which rows are rendered."""
    if "date_string" in config.data.template_options:  # of Llama 3.2
        return False
    places = [*base.glob("chat_template*"), *base.glob("tokenizer_config.json")]
    return any(b"strftime_now" in path.read_bytes() for path in places if path.is_file())


def write_lock(folder: RunFolder, lock: Values) -> list[Differing]:
    """Write the lock beside a new run; a resumed run keeps its first, and adds what differed.

    Gives what differs now. Raises RunError where its lock has other rows, or another base.
    """
    kept, has_lock = read_lock(folder), folder.lock.is_file()
    if kept is None:
        files.write_json(folder.lock, lock)
        return []
    lock = {**lock, "data": named_as(kept.get("data"), lock.get("data"))}
    if has_lock:
        _require_planned(folder, kept, lock)
    found = differing(kept, lock)
    changed, known = [each.text() for each in found], kept.get("resumed", [])
    assert isinstance(known, list)
    if changed and changed not in known:
        files.write_json(
            folder.lock, {**(kept if has_lock else lock), "resumed": [*known, changed]}
        )
    elif not has_lock:
        files.write_json(folder.lock, lock)
    return found


CHANGED = "changed"
_ORIGIN = ("base", "data")


def _require_planned(folder: RunFolder, then: Values, now: Values) -> None:
    """Raise RunError where the plan of a run was made for other settings, rows or another base."""
    remedies = {
        (SETTINGS,): "Put them back: a run is planned once. A new one continues from an adapter "
        "with method.init.",
        _ORIGIN: "Put back what it began with, or train anew into another folder. To resume it "
        f"over what is here now, remove {folder.lock}: rows that it was trained on may then be "
        "scored as held out.",
    }
    for keys, remedy in remedies.items():
        old, new = ({key: each[key] for key in keys if key in each} for each in (then, now))
        if found := differing(old, new):
            texts = "; ".join(each.text() for each in found)
            raise RunError(
                f"{folder.path}: the run began with something else: {texts}.",
                remedy=remedy,
                code=CHANGED,
            )


def changed_rows(folder: RunFolder, config: RunConfig) -> list[Differing]:
    """What is not as it was of the rows that a run was trained on, by its config or another."""
    then = {"data": (read_lock(folder) or {}).get("data") or {}}
    return differing(then, {"data": named_as(then["data"], data_hashes(config))})


def named_as(old: object, new: object) -> object:
    """Hashes under the names that they had, wherever the files lie now; where they are as many."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping) or len(old) != len(new):
        return new
    return {name: named_as(old[name], each) for name, each in zip(old, new.values(), strict=True)}


def read_lock(folder: RunFolder) -> dict[str, Any] | None:
    """The lock of a run; of one of an earlier version what environment.json has. None: neither."""
    try:
        found = json.loads(folder.lock.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else None
    except (OSError, ValueError):
        known = read_records(folder.path).environment
    if not known:
        return None
    same = ("tunesmith", "python", "packages", THREADS, "dtype", "data")
    return {
        **{key: known[key] for key in same if key in known},
        "processor": {"capability": known.get("capability", ABSENT)},
        **(known.get("accelerator") or {"device": known.get("device", ABSENT)}),
        "base": (known.get("base") or {}).get(COMBINED, ABSENT),
    }


def differing(then: Values, now: Values) -> list[Differing]:
    """Everything that the lock ``then`` has, or could have, and that is another value now."""
    old, new = _flat(then), _flat(now)
    added = (place for place in new if place not in old and place[0] in GROWING & then.keys())
    return [
        Differing(
            _title(*place),
            _shown(old.get(place, ABSENT)),
            _shown(new.get(place, ABSENT)),
            f"--{THREADS} {old[place]}" if place == (THREADS, "") else "",
        )
        for place in (*old, *added)
        if old.get(place, ABSENT) != new.get(place, ABSENT)
    ]


GROWING = frozenset({"variables", "files", "data"})  # groups whose members depend on the run
NOT_COMPARED = ("resumed",)
_TITLES = {
    "source_sha256": "Tunesmith's own code",
    "tunesmith": "Tunesmith",
    "python": "Python",
    "base_name": "the base's name",
    "processor": "processor's",
}


def _flat(values: Values) -> dict[tuple[str, str], object]:
    """Each value by its key and its name in that group; the files of a folder of data singly."""
    found: dict[tuple[str, str], object] = {}
    for key, value in values.items():
        if not isinstance(value, Mapping):
            found |= {} if key in NOT_COMPARED else {(key, ""): value}
            continue
        for name, inner in value.items():
            members = inner if isinstance(inner, Mapping) else {name: inner}
            found |= {(key, str(each)): digest for each, digest in members.items()}
    return found


def _title(key: str, name: str) -> str:
    """For people."""
    known = _TITLES.get(key, "" if name else key)
    return " ".join(filter(None, (known, name)))


def _shown(value: object) -> str:
    """A hash by its beginning."""
    text = str(value)
    is_hash = len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)
    return f"SHA-256 {text[:SHOWN_HASH]}..." if is_hash else text


def unknown(then: Values) -> Sequence[str]:
    """Data whose content the lock does not know: what a hub holds is read by its name."""
    data = then.get("data")
    names = data if isinstance(data, Mapping) else {}
    return [str(name) for name, digest in names.items() if str(name).startswith(HUB) and not digest]


def pip_line(then: Values, now: Values) -> str:
    """The command that installs the versions that differ; empty where none does."""
    before, here = then.get("packages"), now.get("packages")
    if not isinstance(before, Mapping) or not isinstance(here, Mapping):
        return ""
    others = [f"{name}=={old}" for name, old in before.items() if here.get(name) != old]
    return f"pip install {' '.join(others)}" if others else ""


def data_hashes(config: RunConfig) -> dict[str, str | dict[str, str]]:
    """SHA-256 of each source of the rows; of a folder those of its files, of a hub's none."""
    data = config.data
    sources = [*data.sources, *([data.held] if data.held else [])]
    return {each.path: data_sha256(each, data) for each in sources}


def named_files(config: RunConfig) -> dict[str, str]:
    """SHA-256 of the other files that the config names: schemas, prompts, what it starts from."""
    settings = config.model_dump(mode="json", exclude={"data", "model", "out", "goal", "mirror"})
    found = {name: file_sha256(Path(name).expanduser()) for name in _paths(settings)}
    start = init_path(config.method)
    if start and not table.of(config.method).trains_base:
        for path in sorted(Path(start).expanduser().glob("*")):
            if path.suffix in (".safetensors", ".json") and path.is_file():
                found[str(Path(start) / path.name)] = file_sha256(path)
    return found


def _paths(values: object) -> Iterator[str]:
    """Every text in the settings that is the path of a file."""
    if isinstance(values, Mapping | list):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _paths(value)
    elif isinstance(values, str):
        try:
            is_file = Path(values).expanduser().is_file()
        except (OSError, ValueError, RuntimeError):  # a text, and no name of a file
            is_file = False
        if is_file:
            yield values


@functools.cache
def source_sha256() -> str:
    """Of the code that computes: versions between releases have one number."""
    root, digest = Path(str(tunesmith.__file__)).parent, hashlib.sha256()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.suffix in (".py", ".yaml") and not {*name.parts} & {*CALLERS}:
            digest.update(f"{name.as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def processor() -> dict[str, str]:
    """The processor as libraries see it, when they choose the kernels that they compute with."""
    described = host_memory.processor()
    flags = (described.get("flags") or described.get("Features") or "").split()
    return {
        "machine": platform.machine(),
        "model": described.get("model name") or platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "features": " ".join(sorted(flag for flag in flags if flag.startswith(FEATURES))),
    }


def _variables() -> dict[str, str]:
    return {name: value for name in VARIABLES if (value := os.environ.get(name))}
