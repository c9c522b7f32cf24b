"""What is known of an adapter without its base: kind, size, purpose, score, files, next steps."""

import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tunesmith.adapters import store
from tunesmith.adapters.folder import (
    CONFIG,
    Origin,
    StoredTensors,
    read_config,
    read_origin,
    read_own,
)
from tunesmith.core.errors import AdapterError, ModelError, TunesmithError
from tunesmith.methods import table
from tunesmith.models.cache import folder_bytes
from tunesmith.runs.history import read_run
from tunesmith.runs.locate import RUNS
from tunesmith.runs.result import token_texts

Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Score:
    """What the tuned model reached in the first check, with its 95 % interval over n rows."""

    check: str
    score: float
    low: float | None
    high: float | None
    n: int | None


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One adapter as its folder and its run show it.

    ``rank`` is the largest of a LoRA's, ``virtual_tokens`` P of a prompt or prefix; ``data`` what
    it was trained on; ``origin`` where it comes from, for people. An adapter that cannot be read
    has a ``fault`` in place of most of it.
    """

    name: str
    folder: Path
    origin: str
    kind: str = "?"
    base: str = "?"
    base_sha256: str | None = None
    rank: int | None = None
    virtual_tokens: int | None = None
    parameters: int = 0
    bytes: int = 0
    dtype: str | None = None
    goal: str | None = None
    data: str | None = None
    score: Score | None = None
    system: str | None = None
    template_options: Values = field(default_factory=dict)
    run: Path | None = None
    fault: str | None = None

    def to_json(self) -> dict[str, object]:
        """The record as one JSON object."""
        return {
            "name": self.name,
            "adapter": str(self.folder),
            "kind": self.kind,
            "base": {"name": self.base, "sha256": self.base_sha256},
            "rank": self.rank,
            "virtual_tokens": self.virtual_tokens,
            "parameters": self.parameters,
            "bytes": self.bytes,
            "dtype": self.dtype,
            "goal": self.goal,
            "data": self.data,
            "system": self.system,
            **({"template_options": dict(options)} if (options := self.template_options) else {}),
            "score": self.score and asdict(self.score),
            "run": self.run and str(self.run),
            "from": self.origin,
            "fault": self.fault,
        }


def list_adapters(root: Path, folders: Iterable[Path] = ()) -> list[AdapterRecord]:
    """The adapter of every run below ``root``, comparisons' included, then those of ``folders``.

    A folder of ``folders`` is an adapter's, a run's, or one that holds some. Raises AdapterError
    for one without adapters.
    """
    found = list(_below(root))
    for folder in folders:
        inside = list(_below(folder.expanduser()))
        if not inside:
            raise AdapterError(
                f"{folder}: there is not an adapter in it, nor right below it.",
                remedy="Name an adapter's folder, a run's, or one that holds some.",
            )
        found += inside
    unique = {folder.resolve(): folder for folder in found}
    return [record_of(folder, root) for folder in unique.values()]


def _below(folder: Path) -> Iterator[Path]:
    """An adapter's folder itself, a run's adapter, or those of the runs and folders in it."""
    if (folder / CONFIG).is_file():
        yield folder
        return
    patterns = ("adapter", "*", "*/adapter", "*/*/adapter")
    paths = (path for each in patterns for path in sorted(folder.glob(f"{each}/{CONFIG}")))
    yield from dict.fromkeys(path.parent for path in paths)


def record_of(folder: Path, root: Path = RUNS) -> AdapterRecord:
    """What is known of the adapter in ``folder``; ``fault`` names what is damaged.

    A run below ``root`` has the name by which it is found there.
    """
    run = folder.resolve().parent
    is_run = folder.resolve().name == "adapter" and (run / "config.yaml").is_file()
    whole = run if is_run else folder.resolve()
    is_below = whole.is_relative_to(root.resolve()) and whole != root.resolve()
    name = str(whole.relative_to(root.resolve())) if is_below else whole.name
    source = _source(folder, folder.parent if is_run else None, read_own(folder))
    try:
        facts = _facts(folder, read_origin(folder))
    except TunesmithError as error:
        return AdapterRecord(name, folder, source, fault=error.message)
    purpose = _purpose(folder.parent) if is_run else {}
    return AdapterRecord(name, folder, source, **{**facts, **purpose})  # type: ignore[arg-type]


def _facts(folder: Path, origin: Origin | None) -> dict[str, object]:
    config, tensors = read_config(folder), StoredTensors(folder)
    settings = store.settings_of(folder)
    facts = table.of(settings).facts(settings)
    return {
        "kind": origin.kind if origin else settings.kind,
        "base": origin.base if origin else str(config.get("base_model_name_or_path") or "?"),
        "base_sha256": origin.sha256 if origin else None,
        "system": origin.system if origin else None,
        "template_options": origin.template_options if origin else {},
        "rank": facts.get("rank"),
        "virtual_tokens": facts.get("virtual_tokens"),
        "parameters": sum(math.prod(tensors.shape(name)) for name in tensors),
        "bytes": folder_bytes(folder),
        "dtype": str(tensors[next(iter(tensors))].dtype).removeprefix("torch."),
    }


def _purpose(run: Path) -> dict[str, object]:
    """Goal, data and score, as the run has them."""
    record = read_run(run)
    data = record.config.get("data")
    train = data.get("train") if isinstance(data, Mapping) else None
    return {
        "goal": record.config.get("goal"),
        "data": None if train is None else _shown_data(train),
        "score": _score(run),
        "run": run,
    }


def _shown_data(train: object) -> str:
    sources = train if isinstance(train, list) else [train]
    paths = [each.get("path") if isinstance(each, Mapping) else each for each in sources]
    return ", ".join(Path(str(path)).name for path in paths)


def _score(run: Path) -> Score | None:
    try:
        found = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
        checks = found["arms"]["tuned"]["checks"]
        name, values = next(iter(checks.items()))
        limits = (values.get(key) for key in ("low", "high", "n"))
        return Score(name, float(values["score"]), *limits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None


def _source(folder: Path, run: Path | None, own: Values) -> str:
    """Where an adapter comes from: a run, other adapters, another program."""
    combined = own.get("combined")
    if isinstance(combined, Mapping):
        parts = combined.get("adapters")
        parts = parts if isinstance(parts, list) else []
        names = (str(each.get("name") or each.get("folder")) for each in parts)
        return f"combined of {', '.join(names)}"
    if run is not None:
        return f"run {run}"
    if own:
        return f"Tunesmith {own.get('tunesmith')}"
    try:
        version = read_config(folder).get("peft_version")
    except AdapterError:
        version = None
    return f"PEFT {version}" if version else "elsewhere"


def settings_of(record: AdapterRecord) -> dict[str, object]:
    """The method's settings in its folder that the record lacks; nothing for a damaged one."""
    if record.fault is not None:
        return {}
    settings = store.settings_of(record.folder)
    method = table.of(settings)
    tokens = _new_tokens(record.folder) if method.own_tokens else []
    return {**method.facts(settings), **({"new_tokens": tokens} if tokens else {})}


def _new_tokens(folder: Path) -> list[object]:
    """Its own tokens as texts; as ids where no tokenizer came with it."""
    try:
        return list(token_texts(folder))
    except ModelError:
        return list(store.token_ids(folder))


def files_of(record: AdapterRecord) -> dict[str, int]:
    """Its files with their bytes."""
    paths = sorted(path for path in record.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(record.folder)): path.stat().st_size for path in paths}


def next_commands(record: AdapterRecord) -> list[str]:
    """The exact commands that can be typed next."""
    if record.fault is not None:
        return []
    name = shlex.quote(str(record.run or record.folder))
    method = table.row(record.kind)
    kind = method.exports[0] if method and method.exports else table.PEFT
    out = shlex.quote(f"{record.name}-{kind}")
    return [
        f"tunesmith adapters verify {name}",
        f"tunesmith chat {name}",
        f"tunesmith adapters export {name} --to {kind} --out {out}",
    ]
